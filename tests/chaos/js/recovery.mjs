// Stock JavaScript clients that write down what comes to them: `node recovery.mjs URL FILE FIRST COUNT`.
// One line on stdin at a time. "drop" breaks all connections at once. "away N" breaks those of the clients below N, who
// stay away until "back". After "back slowly" each of these reads nothing for 3 s once it has a number of the stream
// "few". "leave" ends all. Prints "in" once all were let in.
//
// Lines of FILE, with CLOCK_MONOTONIC in µs:
//
//     o t client sid recovered        it was let in; `recovered`: 1 where the server gave it its session back
//     p t client sid reason           its connection is gone
//     v t client sid stream n         an event came: the n-th of that stream (tests/chaos/recovery_app.py)
//     h t client sid room round       it was told something in this room (tests/chaos/rooms.py)

import { openSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

import { goodbye } from "./goodbye.mjs";

const [url, path, first, count] = process.argv.slice(2);
const file = openSync(path, "a");
const sockets = [];
let letIn = 0;
let leaving = false;
const slow = new Set();

let lines = [];
const flush = () => {
  if (lines.length) writeSync(file, lines.join(""));
  lines = [];
};
setInterval(flush, 50);

function note(letter, ...fields) {
  lines.push(`${letter} ${process.hrtime.bigint() / 1000n} ${fields.join(" ")}\n`);
}

function open(client) {
  const transports = client % 10 ? ["websocket"] : ["polling", "websocket"];
  // Over WebSocket alone, nothing tells this client from others that run in Node.js.
  const query = transports.length === 1 ? { recovery: 1 } : {};
  const delays = { reconnectionDelay: 100, reconnectionDelayMax: 500 };
  const socket = io(url, { forceNew: true, transports, query, ...delays, auth: { client } });
  let sid = "";
  socket.on("connect", () => {
    letIn += sid ? 0 : 1;
    sid = socket.id;
    note("o", client, sid, socket.recovered ? 1 : 0);
    if (letIn === Number(count)) console.log("in");
  });
  socket.on("disconnect", (reason) => {
    if (!leaving) note("p", client, sid, reason.replaceAll(" ", "_"));
  });
  socket.on("to", (stream, n) => {
    note("v", client, sid, stream, n);
    if (stream.endsWith(":few") && slow.delete(socket)) stopReading(socket.io.engine?.transport?.ws);
  });
  socket.on("roll", (room, round) => note("h", client, sid, room, round));
  socket.on("bytes", (stream, n, data) => {
    if (data.length === 3 && data[0] === 1) note("v", client, sid, stream, n);
  });
  sockets.push(socket);
}

for (let number = 0; number < Number(count); number += 1) open(Number(first) + number);

const drop = (socket) => socket.io.engine?.transport?.ws?.terminate?.() ?? socket.io.engine?.close();

function stopReading(ws) {
  flush();
  ws?.pause();
  setTimeout(() => ws?.resume(), 3000);
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, how] = line.split(" ");
  if (word === "drop") {
    sockets.forEach(drop);
  } else if (word === "away") {
    for (const socket of sockets.filter(({ auth }) => auth.client < Number(how))) {
      socket.io.reconnection(false);
      drop(socket);
    }
  } else if (word === "back") {
    for (const socket of sockets.filter((socket) => !socket.io.reconnection())) {
      if (how === "slowly") slow.add(socket);
      socket.io.reconnection(true);
      socket.connect();
    }
  } else if (word === "leave") {
    leaving = true;
    Promise.all(sockets.map(goodbye)).then(() => setTimeout(() => { flush(); process.exit(0); }, 500));
  }
}).on("close", () => { flush(); process.exit(0); });
