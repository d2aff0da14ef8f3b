// The script of README.md, with an old version of the official JavaScript client.

import assert from "node:assert/strict";
import { io } from "socket.io-client";

const [url, transport] = process.argv.slice(2);
const transports = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] }[transport];
const WAIT_MS = 10_000;
// It polls as the newest one does, and must say that it cannot use offsets (docs/recovery.md, "Which clients").
const query = { recovery: 0 };

// What comes under this event, one list of arguments after the other.
function queueOf(socket, event) {
  const waiting = [];
  const takers = [];
  socket.on(event, (...args) => (takers.length ? takers.shift()(args) : waiting.push(args)));
  return () => (waiting.length ? waiting.shift() : within(new Promise((resolve) => takers.push(resolve)), event));
}

async function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what}`)), WAIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function ask(socket, event, ...args) {
  return within(new Promise((resolve) => socket.emit(event, ...args, (...answer) => resolve(answer))), event);
}

function bytes(size) {
  return Buffer.from(Array.from({ length: size }, (_, at) => at % 256));
}

function same(found, wanted) {
  assert.equal(Buffer.compare(Buffer.from(found), wanted), 0);
}

const socket = io(url, { transports, query, forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 500 });
const connected = queueOf(socket, "connect");
const back = queueOf(socket, "message-back");
const burst = queueOf(socket, "burst");
const answered = queueOf(socket, "answered");
socket.on("question", (...args) => args.pop()(...args));
await connected();
const carries = transport === "polling" ? "polling" : "websocket";
while ((await ask(socket, "who"))[0].transport !== carries) await new Promise((resolve) => setTimeout(resolve, 20));
console.log("connect");

assert.deepEqual(await ask(socket, "echo", "ü€😀", { a: [1, null, true] }), ["ü€😀", { a: [1, null, true] }]);
console.log("text");

const [small, [large], empty] = await ask(socket, "echo", bytes(256), [bytes(300_000)], Buffer.alloc(0));
same(small, bytes(256));
same(large, bytes(300_000));
same(empty, bytes(0));
console.log("binary ack");

socket.emit("message", bytes(1000), "between", bytes(57));
const [first, between, last] = await back();
same(first, bytes(1000));
assert.equal(between, "between");
same(last, bytes(57));
console.log("binary event");

socket.emit("ask", "why", bytes(100));
const [count, [why, answer]] = await answered();
assert.deepEqual([count, why], [2, "why"]);
same(answer, bytes(100));
console.log("question");

socket.emit("burst", 200);
for (let number = 0; number < 200; number += 1) assert.deepEqual(await burst(), [number]);
console.log("order");

const custom = socket.io.socket("/custom", { auth: { token: "abc" } });
const auth = queueOf(custom, "auth");
assert.deepEqual(await auth(), [{ token: "abc" }]);
assert.deepEqual(await ask(custom, "echo", 1), [1]);
custom.disconnect();
console.log("namespace");

const refusing = socket.io.socket("/refusing");
const refused = queueOf(refusing, "connect_error");
const [error] = await refused();
assert.deepEqual([error.message, error.data], ["no entry", { code: 7 }]);
console.log("refusal");

console.log(`kill ${socket.id}`);
await connected();
same((await ask(socket, "echo", bytes(100)))[0], bytes(100));
console.log("reconnect");
socket.disconnect();
process.exit();
