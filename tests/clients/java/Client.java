import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Socket;
import io.socket.engineio.client.transports.Polling;
import io.socket.engineio.client.transports.WebSocket;
import java.net.URI;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import org.json.JSONArray;
import org.json.JSONObject;

/** The script of README.md, with the official Java client. */
public final class Client {
    private static final int WAIT_S = 10;
    private final IO.Options options = new IO.Options();
    private final URI url;

    private Client(URI url, String[] transports) {
        this.url = url;
        options.forceNew = true;
        options.transports = transports;
        options.reconnectionDelay = 100;
        options.reconnectionDelayMax = 500;
    }

    public static void main(String[] args) throws Exception {
        String[] transports = switch (args[1]) {
            case "polling" -> new String[] {Polling.NAME};
            case "websocket" -> new String[] {WebSocket.NAME};
            default -> new String[] {Polling.NAME, WebSocket.NAME};
        };
        int status = 1;
        try {
            new Client(URI.create(args[0]), transports).run(args[1].equals("polling") ? "polling" : "websocket");
            status = 0;
        } catch (IllegalStateException failure) {
            failure.printStackTrace();
        }
        System.exit(status); // the client's own threads would go on
    }

    private void run(String transport) throws Exception {
        Socket socket = IO.socket(url, options);
        BlockingQueue<Object[]> connects = queueOf(socket, Socket.EVENT_CONNECT);
        BlockingQueue<Object[]> backs = queueOf(socket, "message-back");
        BlockingQueue<Object[]> bursts = queueOf(socket, "burst");
        BlockingQueue<Object[]> answered = queueOf(socket, "answered");
        socket.on("question", question -> {
            Ack ack = (Ack) question[question.length - 1];
            ack.call(Arrays.copyOf(question, question.length - 1));
        });
        socket.connect();
        next(connects);
        while (!ask(socket, "who")[0].toString().contains("\"transport\":\"" + transport + "\"")) {
            Thread.sleep(20);
        }
        say("connect");

        Object[] text = ask(socket, "echo", "ü€😀", new JSONObject("{\"a\":[1,null,true]}"));
        check("text", text[0].equals("ü€😀") && text[1].toString().equals("{\"a\":[1,null,true]}"));

        byte[] large = bytes(300_000);
        Object[] binary = ask(socket, "echo", bytes(256), new JSONArray().put(large), new byte[0]);
        check("binary ack", Arrays.equals((byte[]) binary[0], bytes(256))
            && Arrays.equals((byte[]) ((JSONArray) binary[1]).get(0), large)
            && ((byte[]) binary[2]).length == 0);

        socket.emit("message", bytes(1000), "between", bytes(57));
        Object[] back = next(backs);
        check("binary event", Arrays.equals((byte[]) back[0], bytes(1000)) && back[1].equals("between")
            && Arrays.equals((byte[]) back[2], bytes(57)));

        socket.emit("ask", "why", bytes(100));
        Object[] answer = next(answered);
        JSONArray values = (JSONArray) answer[1];
        check("question", answer[0].equals(2) && values.get(0).equals("why")
            && Arrays.equals((byte[]) values.get(1), bytes(100)));

        socket.emit("burst", 200);
        boolean inOrder = true;
        for (int number = 0; number < 200; number++) {
            inOrder &= next(bursts)[0].equals(number);
        }
        check("order", inOrder);

        options.auth = Map.of("token", "abc");
        Socket custom = socket.io().socket("/custom", options);
        BlockingQueue<Object[]> auths = queueOf(custom, "auth");
        custom.connect();
        check("namespace", ((JSONObject) next(auths)[0]).get("token").equals("abc")
            && ask(custom, "echo", 1)[0].equals(1));
        custom.disconnect();

        Socket refusing = socket.io().socket("/refusing");
        BlockingQueue<Object[]> errors = queueOf(refusing, Socket.EVENT_CONNECT_ERROR);
        refusing.connect();
        check("refusal", next(errors)[0] instanceof JSONObject);

        say("kill " + ((JSONObject) ask(socket, "who")[0]).get("sid"));
        next(connects);
        check("reconnect", Arrays.equals((byte[]) ask(socket, "echo", bytes(100))[0], bytes(100)));
        socket.disconnect();
    }

    private static BlockingQueue<Object[]> queueOf(Socket socket, String event) {
        BlockingQueue<Object[]> queue = new ArrayBlockingQueue<>(1000);
        socket.on(event, queue::add);
        return queue;
    }

    private static Object[] next(BlockingQueue<Object[]> queue) throws InterruptedException {
        Object[] found = queue.poll(WAIT_S, TimeUnit.SECONDS);
        if (found == null) {
            throw new IllegalStateException("nothing came");
        }
        return found;
    }

    private static Object[] ask(Socket socket, String event, Object... arguments) throws InterruptedException {
        BlockingQueue<Object[]> answers = new ArrayBlockingQueue<>(1);
        socket.emit(event, arguments, (Ack) answers::add);
        return next(answers);
    }

    private static byte[] bytes(int size) {
        byte[] bytes = new byte[size];
        for (int at = 0; at < size; at++) {
            bytes[at] = (byte) at;
        }
        return bytes;
    }

    private static void check(String step, boolean good) {
        if (!good) {
            throw new IllegalStateException(step);
        }
        say(step);
    }

    private static void say(String line) {
        System.out.println(line);
    }
}
