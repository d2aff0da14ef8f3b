//! The script of README.md, with a client in Rust, as far as that client goes. It sends one attachment at most, and an
//! event with both attachment and ack under the wrong packet type. On a WebSocket it loses the attachments that it gets.
//! It reads questions of the server, and cannot answer them.

use rust_socketio::client::Client;
use rust_socketio::{ClientBuilder, Payload, TransportType};
use serde_json::{json, Value};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(10);

fn builder(url: &str, transport: &str) -> ClientBuilder {
    ClientBuilder::new(url)
        .reconnect_delay(100, 500)
        .transport_type(match transport {
            "polling" => TransportType::Polling,
            "websocket" => TransportType::Websocket,
            _ => TransportType::Any,
        })
}

/// A sender for a callback of the client, which may be called from any thread.
fn queue() -> (impl Fn(Payload) + Clone + Send + Sync, Receiver<Payload>) {
    let (sender, receiver): (Sender<Payload>, Receiver<Payload>) = channel();
    (move |payload| sender.send(payload).unwrap_or(()), receiver)
}

fn next(arrived: &Receiver<Payload>) -> Payload {
    arrived.recv_timeout(WAIT).expect("nothing came")
}

fn values(payload: Payload) -> Vec<Value> {
    match payload {
        Payload::Text(values) => values,
        other => panic!("no text: {other:?}"),
    }
}

/// The arguments of the answer. This client hands them over as one list.
fn ask(socket: &Client, event: &str, arguments: Vec<Value>) -> Value {
    let (put, answers) = queue();
    socket
        .emit_with_ack(event, Payload::Text(arguments), WAIT, move |payload, _| put(payload))
        .expect("not sent");
    Value::Array(values(next(&answers)))
}

fn check(step: &str, good: bool) {
    assert!(good, "{step}");
    println!("{step}");
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (url, transport) = (&arguments[1], arguments[2].as_str());
    let (opened, opens) = queue();
    let (backed, backs) = queue();
    let (burst, bursts) = queue();
    let (question, questions) = queue();
    let socket = builder(url, transport)
        .on("open", move |payload, _| opened(payload))
        .on("message-back", move |payload, _| backed(payload))
        .on("burst", move |payload, _| burst(payload))
        .on("question", move |payload, _| question(payload))
        .connect()
        .expect("no connection");
    next(&opens);
    check("connect", true);

    let text = ask(&socket, "echo", vec![json!("ü€😀"), json!({"a": [1, null, true]})]);
    check("text", text.to_string().contains(r#""ü€😀",{"a":[1,null,true]}"#));

    if transport == "polling" {
        let octets: Vec<u8> = (0..300_000).map(|at| at as u8).collect();
        socket.emit("message", octets.clone()).expect("not sent");
        check("binary event", matches!(next(&backs), Payload::Binary(found) if found == octets));
    }

    socket.emit("ask", json!("why")).expect("not sent");
    check("question", values(next(&questions)) == vec![json!("why")]);

    socket.emit("burst", json!(200)).expect("not sent");
    check("order", (0..200).all(|number| values(next(&bursts)) == vec![json!(number)]));

    let (authed, auths) = queue();
    let custom = builder(url, transport)
        .namespace("/custom")
        .auth(json!({"token": "abc"}))
        .on("auth", move |payload, _| authed(payload))
        .connect()
        .expect("no connection");
    check("namespace", values(next(&auths)) == vec![json!({"token": "abc"})]);
    custom.disconnect().expect("not sent");

    let who = ask(&socket, "who", vec![]).to_string();
    let sid = who.split(r#""sid":""#).nth(1).and_then(|rest| rest.split('"').next()).expect("no sid");
    println!("kill {sid}");
    next(&opens);
    check("reconnect", ask(&socket, "echo", vec![json!("again")]).to_string().contains("again"));
    socket.disconnect().expect("not sent");
}
