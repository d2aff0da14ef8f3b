// Official JavaScript clients that write down what they see: `node crowd.mjs URL FILE FIRST COUNT RATE`.
// One line on stdin at a time: "stop" ends the sending, "leave" disconnects all and ends the process.
// Prints "in" once all were let in. tests/chaos/records.py explains the lines of FILE.

import { openSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

import { goodbye } from "./goodbye.mjs";

const [url, path, first, count, rate] = process.argv.slice(2);
const TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]];
const file = openSync(path, "a");
const sockets = [];
let letIn = 0;
let leaving = false;

function note(letter, ...fields) {
  writeSync(file, `${letter} ${process.hrtime.bigint() / 1000n} ${fields.join(" ")}\n`);
}

function open(client) {
  const transports = TRANSPORTS[client % TRANSPORTS.length];
  const options = { forceNew: true, transports, reconnectionDelay: 100, reconnectionDelayMax: 1000 };
  const socket = io(url, { ...options, auth: { client } });
  let seq = 0;
  let sid = null;
  socket.on("connect", () => {
    sid = socket.id;
    note("o", client, sid, socket._pid ? 1 : 0, socket.recovered ? 1 : 0);
    letIn += 1;
    if (letIn === Number(count)) console.log("in");
  });
  socket.on("disconnect", () => {
    if (!leaving) note("p", client, sid);
  });
  socket.on("down", (number, origin, token, n) => note("v", client, sid, number, origin, token, n));
  socket.on("news", (origin, n) => note("n", client, sid, origin, n));
  socket.on("roll", (room, round) => note("h", client, sid, room, round));
  socket.sendNext = () => {
    if (!socket.connected) return;
    const number = seq;
    seq += 1;
    note(">", client, number, sid);
    socket.emit("up", client, number, () => note("a", client, number));
  };
  socket.leave = async () => {
    if (socket.connected) note("q", client, sid);
    await goodbye(socket);
  };
  sockets.push(socket);
}

for (let number = 0; number < Number(count); number += 1) open(Number(first) + number);
const sending = setInterval(() => {
  if (letIn >= Number(count)) sockets.forEach((socket) => socket.sendNext());
}, 1000 / Number(rate));

createInterface({ input: process.stdin }).on("line", (line) => {
  clearInterval(sending);
  if (line !== "leave") return;
  leaving = true;
  Promise.all(sockets.map((socket) => socket.leave())).then(() => setTimeout(() => process.exit(0), 300));
}).on("close", () => process.exit(0));
