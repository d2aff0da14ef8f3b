// Scenarios with the official JavaScript client: `node scenarios.mjs URL`.
// Prints one JSON line for each: {"name", "ok", "error", "ms"}. test_js_client.py runs and judges them,
// and scenarios.txt lists their names.

import assert from "node:assert/strict";
import { io, Manager } from "socket.io-client";

const url = process.argv[2];
const LIMIT_MS = 30_000;
const PATIENCE_MS = 15_000; // a busy machine lets a test wait; what is lost never comes
const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
const PLAIN = { query: { recovery: 0 } };
const RECOVERED = { query: { recovery: 1 } };
const scenarios = new Map();
const alone = new Map(); // scenarios that say something to everybody
const opened = new Set();

function open(namespace = "/", options = {}) {
  const socket = io(url + namespace, { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100, ...options });
  opened.add(socket);
  return socket;
}

// The arguments of the next such event, as a list. Rejects after `ms`.
function next(emitter, event, ms = PATIENCE_MS) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} within ${ms} ms`)), ms);
    emitter.once(event, (...args) => {
      clearTimeout(timer);
      resolve(args);
    });
  });
}

// The arguments with which the server acked, as a list. What it says of a missing ack tells a lost one from that of a
// client whose connection ended: this client drops it.
function acked(socket, ...event) {
  return new Promise((resolve, reject) => {
    const ends = [];
    const ended = (reason) => ends.push(reason);
    socket.on("disconnect", ended);
    const timer = setTimeout(() => {
      const why = ends.length ? `disconnected meanwhile by: ${ends.join(", ")}` : "connected all the time";
      reject(new Error(`no ack of ${event[0]}, ${why}`));
    }, PATIENCE_MS);
    socket.emit(...event, (...answer) => {
      socket.off("disconnect", ended);
      clearTimeout(timer);
      resolve(answer);
    });
  });
}

async function joined(namespace, options) {
  const socket = open(namespace, options);
  await next(socket, "connect");
  return socket;
}

async function upgraded(options = {}) {
  const socket = open("/", { transports: TRANSPORTS.upgrade, ...options });
  const upgrade = new Promise((resolve) => socket.io.once("open", () => socket.io.engine.once("upgrade", resolve)));
  await next(socket, "connect");
  await upgrade;
  return socket;
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function room() {
  return `js-${Math.random()}`;
}

for (const [kind, transports] of Object.entries(TRANSPORTS)) {
  const options = { transports };

  scenarios.set(`connect over ${kind}`, async () => {
    const socket = await joined("/", options);
    assert.deepEqual(await acked(socket, "echo", "hello"), ["hello"]);
    const [who] = await acked(socket, "who");
    assert.equal(who.sid, socket.id);
    assert.notEqual(socket.id, socket.io.engine.id);
  });

  scenarios.set(`binary both ways over ${kind}`, async () => {
    const socket = await joined("/custom", options);
    const bytes = Buffer.from([0, 1, 2, 253, 254, 255]);
    const [value] = await acked(socket, "echo", { deep: [bytes], empty: Buffer.alloc(0), text: "ü" });
    assert.deepEqual(Buffer.from(value.deep[0]), bytes);
    assert.equal(value.empty.length, 0);
    assert.equal(value.text, "ü");
    socket.emit("message", bytes, 1, Uint8Array.of(9).buffer);
    const back = await next(socket, "message-back");
    assert.deepEqual(Buffer.from(back[0]), bytes);
    assert.equal(back[1], 1);
    assert.deepEqual(Buffer.from(back[2]), Buffer.from([9]));
  });

  scenarios.set(`500 events in one go over ${kind}, in order`, async () => {
    const socket = await joined("/", options);
    const got = [];
    const all = new Promise((resolve) =>
      socket.on("message-back", (number) => {
        got.push(number);
        if (got.length === 500) resolve();
      }),
    );
    for (let number = 0; number < 500; number++) socket.emit("message", number);
    await all;
    assert.deepEqual(got, [...Array(500).keys()]);
  });

  scenarios.set(`500 events buffered before connect over ${kind}, in order`, async () => {
    const socket = open("/", options);
    const acks = [];
    const all = new Promise((resolve) => {
      for (let number = 0; number < 500; number++)
        socket.emit("echo", number, (value) => {
          acks.push(value);
          if (acks.length === 500) resolve();
        });
    });
    await all;
    assert.deepEqual(acks, [...Array(500).keys()]);
  });

  scenarios.set(`a large message over ${kind}`, async () => {
    const socket = await joined("/", options);
    const text = "ä".repeat(300_000);
    const [value] = await acked(socket, "echo", text);
    assert.equal(value, text);
  });

  scenarios.set(`refusal over ${kind}`, async () => {
    const socket = open("/refusing", options);
    const [error] = await next(socket, "connect_error");
    assert.equal(error.message, "no entry");
    assert.deepEqual(error.data, { code: 7 });
    assert.equal(socket.active, false);
  });

  scenarios.set(`server-side disconnect of one namespace over ${kind}`, async () => {
    const manager = new Manager(url, { transports });
    const main = manager.socket("/");
    const custom = manager.socket("/custom");
    opened.add(main).add(custom);
    await Promise.all([next(main, "connect"), next(custom, "connect")]);
    custom.emit("leave_namespace");
    const [reason] = await next(custom, "disconnect");
    assert.equal(reason, "io server disconnect");
    assert.equal(main.connected, true);
    assert.deepEqual(await acked(main, "echo", 1), [1]);
    custom.connect();
    await next(custom, "connect");
    assert.deepEqual(await acked(custom, "echo", 2), [2]);
  });

  scenarios.set(`server-side close of the whole connection over ${kind}`, async () => {
    const socket = await joined("/", options);
    const gone = next(socket, "disconnect");
    socket.emit("hang_up");
    const [reason] = await gone;
    assert.ok(["io server disconnect", "transport close", "transport error"].includes(reason), reason);
  });

  scenarios.set(`reconnection without recovery over ${kind}`, async () => {
    const socket = await joined("/", { ...options, ...PLAIN });
    const before = socket.id;
    const back = next(socket, "connect");
    socket.io.engine.close();
    await back;
    assert.notEqual(socket.id, before);
    assert.deepEqual(await acked(socket, "echo", 1), [1]);
  });

  scenarios.set(`recovery over ${kind}`, async () => {
    const mine = room();
    const other = await joined("/", options);
    const socket = await joined("/", { ...options, ...RECOVERED });
    const before = socket.id;
    await acked(socket, "join", [mine]);
    await acked(socket, "remember", "a session");
    const first = next(socket, "told");
    await acked(other, "tell", [mine], [], 0);
    await first;
    const got = [];
    socket.on("told", (number) => got.push(number));
    const back = next(socket, "connect");
    const told = next(socket, "disconnect").then(() => Promise.all([1, 2, 3].map((n) => acked(other, "tell", [mine], [], n))));
    socket.io.engine.close();
    await Promise.all([told, back]);
    assert.equal(socket.id, before);
    assert.equal(socket.recovered, true);
    assert.deepEqual(await acked(socket, "recall"), ["a session"]);
    await acked(other, "tell", [mine], [], 4);
    assert.deepEqual(await acked(socket, "echo", 1), [1]);
    assert.deepEqual(got, [1, 2, 3, 4]);
  });
}

// What socket.io-redis-streams-adapter asks in its connection-state-recovery.ts. The client says nothing of recovery: it
// begins with polling, so that the server knows it.

async function returned(socket) {
  const back = next(socket, "connect");
  socket.io.engine.close();
  await back;
}

scenarios.set("a session is restored", async () => {
  const socket = open();
  assert.equal(socket.recovered, false);
  await next(socket, "auth"); // an event, which has an offset
  const before = socket.id;
  await returned(socket);
  assert.equal(socket.id, before);
  assert.equal(socket.recovered, true);
});

alone.set("missed events are restored, and nothing else", async () => {
  const [mine, others] = [room(), room()];
  const other = await joined("/");
  const elsewhere = await joined("/custom");
  const socket = open();
  await next(socket, "auth");
  await acked(socket, "join", [mine]);
  const before = socket.id;
  const got = [];
  const offsets = new Set();
  socket.on("told", (number) => {
    got.push(number);
    offsets.add(socket._lastOffset); // that of the event before: it is set when all listeners have run
  });
  const back = next(socket, "connect");
  const told = next(socket, "disconnect").then(async () => {
    await acked(other, "tell", [before], [], 1);
    await acked(other, "tell_all", 2);
    await acked(other, "tell", [mine], [], 3);
    await acked(other, "tell", [others], [], 4);
    await acked(other, "tell_except", null, [mine], 5);
    await acked(elsewhere, "tell_all", 6);
  });
  socket.io.engine.close();
  await Promise.all([told, back]);
  assert.equal(socket.id, before);
  assert.equal(socket.recovered, true);
  await acked(other, "tell", [mine], [], 7);
  await acked(socket, "echo");
  assert.deepEqual(got, [1, 2, 3, 7]);
  assert.equal(offsets.add(socket._lastOffset).size, 5);
});

for (const [what, field, value] of [
  ["a pid that is none", "_pid", "abc"],
  ["an offset that is none", "_lastOffset", "abc"],
]) {
  scenarios.set(`nothing is restored for ${what}`, async () => {
    const socket = open();
    await next(socket, "auth");
    const before = socket.id;
    socket[field] = value;
    await returned(socket);
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, before);
    assert.deepEqual(await acked(socket, "echo", 1), [1]);
  });
}

scenarios.set("upgrade under traffic keeps order", async () => {
  const socket = open("/", { transports: TRANSPORTS.upgrade });
  const got = [];
  let upgrades = 0;
  socket.io.once("open", () => socket.io.engine.on("upgrade", () => upgrades++));
  socket.on("message-back", (number) => got.push(number));
  let sent = 0;
  while (!upgrades || sent < 200) {
    socket.emit("message", sent++);
    await pause(1);
    assert.ok(sent < 5000, "no upgrade came");
  }
  await acked(socket, "echo");
  assert.deepEqual(got, [...Array(sent).keys()]);
});

scenarios.set("transport told to the application", async () => {
  const socket = await upgraded();
  assert.equal(socket.io.engine.transport.name, "websocket");
  const [who] = await acked(socket, "who");
  assert.equal(who.transport, "websocket");
  const polling = await joined("/", { transports: TRANSPORTS.polling });
  assert.equal((await acked(polling, "who"))[0].transport, "polling");
});

scenarios.set("namespaces of one connection keep their own pace", async () => {
  const manager = new Manager(url);
  const slow = manager.socket("/slow", { auth: { delay: 1.5 } });
  const main = manager.socket("/");
  const custom = manager.socket("/custom");
  opened.add(slow).add(main).add(custom);
  const arrival = next(slow, "connect");
  await Promise.all([next(main, "connect", 1200), next(custom, "connect", 1200)]);
  assert.deepEqual(await acked(main, "echo", 1), [1]);
  assert.equal(slow.connected, false);
  await arrival;
  assert.deepEqual(await acked(slow, "echo", 2), [2]);
});

scenarios.set("auth, query and headers", async () => {
  const socket = await joined("/custom", {
    auth: { token: "t", deep: { list: [1, null] } },
    query: { room: "a&b", ü: "ö" },
    extraHeaders: { "X-Wish": "yes" },
  });
  const [who] = await acked(socket, "who");
  assert.deepEqual(who.auth, { token: "t", deep: { list: [1, null] } });
  assert.equal(who.query.room, "a&b");
  assert.equal(who.query["ü"], "ö");
  assert.equal(who.query.EIO, "4");
  assert.equal(who.headers.HTTP_X_WISH, "yes");
  assert.equal(who.path, "/socket.io/");
  assert.equal(who.method, "GET");
});

scenarios.set("auth by a function, anew at each connect", async () => {
  let calls = 0;
  const socket = await joined("/", { auth: (give) => give({ call: ++calls }), ...PLAIN });
  const back = next(socket, "connect");
  socket.io.engine.close();
  await back;
  assert.deepEqual((await acked(socket, "who"))[0].auth, { call: 2 });
});

scenarios.set("acks of the server keep their arguments", async () => {
  const socket = await joined("/");
  for (const args of [[], [1], [1, 2], [null], [null, null], [[]], [[1, 2]], [{}], [false, 0, ""]]) {
    assert.deepEqual(await acked(socket, "echo", ...args), args);
  }
  assert.deepEqual(await acked(socket, "echo", undefined, 1), [null, 1]);
  assert.deepEqual(await acked(socket, "no_answer_value"), []);
  assert.equal((await acked(socket, "count", null, undefined))[0], 2);
  assert.equal((await acked(socket, "count"))[0], 0);
});

scenarios.set("acks of the client keep their arguments", async () => {
  const socket = await joined("/custom", PLAIN);
  for (const answer of [[], [1], [1, 2], [null], [null, null], [[]], [[1, 2]], [{ a: false }]]) {
    socket.once("question", (...args) => args.pop()(...answer));
    const told = next(socket, "answered");
    socket.emit("ask", "why");
    assert.deepEqual(await told, [answer.length, answer]);
  }
  socket.once("question", (give) => give(undefined, Buffer.from([7])));
  const told = next(socket, "answered");
  socket.emit("ask");
  const [count, [nothing, bytes]] = await told;
  assert.equal(count, 2);
  assert.equal(nothing, null);
  assert.deepEqual(Buffer.from(bytes), Buffer.from([7]));
});

scenarios.set("a call and its timeout", async () => {
  const socket = await joined("/");
  socket.once("question", (number, give) => give(number + 1));
  assert.deepEqual(await acked(socket, "call", 3, 41), ["answer", 42]);
  assert.deepEqual(await acked(socket, "call", 0.2, 41), ["timeout"]);
});

scenarios.set("a slow handler delays no other event of its client", async () => {
  const socket = await joined("/");
  const slow = acked(socket, "wait", 0.5, "slow");
  const order = [];
  await Promise.all([
    slow.then(() => order.push("slow")),
    acked(socket, "echo", 1).then(() => order.push("echo")),
  ]);
  assert.deepEqual(order, ["echo", "slow"]);
});

scenarios.set("several rooms at once without doubles, mixed transports, binary", async () => {
  const [a, b] = [room(), room()];
  const members = await Promise.all([
    joined("/", { transports: TRANSPORTS.polling }),
    joined("/", { transports: TRANSPORTS.websocket }),
    upgraded(),
    joined("/"),
  ]);
  const got = members.map(() => []);
  members.forEach((socket, index) => socket.on("told", (...args) => got[index].push(args)));
  await Promise.all([
    acked(members[0], "join", [a, b]),
    acked(members[1], "join", [a, b]),
    acked(members[2], "join", [b]),
  ]);
  const bytes = Buffer.from([0, 255]);
  members[3].emit("tell", [a, b], [], "all", { bytes });
  members[3].emit("tell", [a, b], [members[0].id], "all but one");
  members[3].emit("tell", [a], [], "a");
  await Promise.all(members.map((socket) => acked(socket, "echo")));
  await pause(300);
  for (const [index, rooms] of [["all", "all but one", "a"], ["all", "all but one", "a"], ["all", "all but one"], []].entries()) {
    const expected = index === 0 ? rooms.filter((name) => name !== "all but one") : rooms;
    assert.deepEqual(got[index].map(([name]) => name), expected);
    if (expected.length) assert.deepEqual(Buffer.from(got[index][0][1].bytes), bytes);
  }
});

scenarios.set("leaving a room, closing a room", async () => {
  const name = room();
  const [one, two, three] = await Promise.all([joined("/"), joined("/"), joined("/")]);
  for (const socket of [one, two, three]) assert.deepEqual(await acked(socket, "join", [name]), [[name]]);
  const got = [];
  for (const [index, socket] of [one, two, three].entries()) socket.on("told", (what) => got.push([index, what]));
  assert.deepEqual(await acked(one, "leave", [name]), [[]]);
  two.emit("tell", [name], [], 1);
  await Promise.all([next(two, "told"), next(three, "told")]);
  await acked(two, "close", name);
  two.emit("tell", [name], [], 2);
  await Promise.all([one, two, three].map((socket) => acked(socket, "echo")));
  await pause(200);
  assert.deepEqual(got.sort(), [[1, 1], [2, 1]]);
});

scenarios.set("an invalid namespace", async () => {
  const socket = open("/nobody/serves/this");
  const [error] = await next(socket, "connect_error");
  assert.equal(error.message, "Invalid namespace");
});

scenarios.set("a refused namespace leaves the others alone", async () => {
  const manager = new Manager(url);
  const main = manager.socket("/");
  const refused = manager.socket("/false");
  opened.add(main).add(refused);
  const [[error]] = await Promise.all([next(refused, "connect_error"), next(main, "connect")]);
  assert.equal(error.message, "Connection rejected by server");
  assert.deepEqual(await acked(main, "echo", 1), [1]);
});

scenarios.set("reconnection of all namespaces after the transport died", async () => {
  const manager = new Manager(url, { reconnectionDelay: 20, transports: TRANSPORTS.websocket });
  const main = manager.socket("/");
  const custom = manager.socket("/custom");
  opened.add(main).add(custom);
  await Promise.all([next(main, "connect"), next(custom, "connect")]);
  const back = Promise.all([next(main, "connect"), next(custom, "connect")]);
  const gone = next(main, "disconnect");
  manager.engine.transport.ws.terminate();
  assert.match((await gone)[0], /transport/);
  await back;
  assert.deepEqual(await acked(main, "echo", 1), [1]);
  assert.deepEqual(await acked(custom, "echo", 2), [2]);
});

scenarios.set("events emitted while away arrive after the reconnection", async () => {
  const socket = await joined("/");
  const gone = next(socket, "disconnect");
  socket.io.engine.close();
  await gone;  // an upgrade under way delays it, and what is emitted before is lost in the client
  assert.deepEqual(await acked(socket, "echo", "later"), ["later"]);
});

scenarios.set("an event and its answer survive heartbeats", async () => {
  const socket = await joined("/", { transports: TRANSPORTS.polling });
  let disconnects = 0;
  socket.on("disconnect", () => disconnects++);
  await pause(2500);
  assert.deepEqual(await acked(socket, "echo", 1), [1]);
  assert.equal(disconnects, 0);
});

scenarios.set("volatile events", async () => {
  const socket = await upgraded(PLAIN);
  await pause(50);
  const told = next(socket, "message-back");
  socket.volatile.emit("message", 1);
  assert.deepEqual(await told, [1]);
});

scenarios.set("excepted rooms", async () => {
  const [all, staff] = [room(), room()];
  const sockets = await Promise.all([0, 1, 2, 3].map(() => joined("/custom", PLAIN)));
  for (const socket of sockets) await acked(socket, "join", [all]);
  await acked(sockets[1], "join", [staff]);
  const told = sockets.map(() => []);
  sockets.forEach((socket, n) => socket.on("told", (value) => told[n].push(value)));
  await acked(sockets[0], "tell_except", [all, sockets[0].id, staff], [staff, sockets[2].id], "some");
  await acked(sockets[0], "tell_except", [all], [all], "nobody");
  const last = sockets.map((socket) => new Promise((resolve) => socket.on("told", (v) => v === "end" && resolve())));
  await acked(sockets[0], "tell", [all], [], "end");
  await Promise.all(last);
  assert.deepEqual(told, [["some", "end"], ["end"], ["end"], ["some", "end"]]);
});

scenarios.set("volatile emits reach who can be written to", async () => {
  const mine = room();
  const socket = await joined("/custom", { ...PLAIN, transports: TRANSPORTS.websocket });
  await acked(socket, "join", [mine]);
  const told = next(socket, "told");
  await acked(socket, "tell_volatile", [mine], "now");
  assert.deepEqual(await told, ["now"]);
});

scenarios.set("emitWithAck and retries", async () => {
  const socket = open("/", { retries: 2, ackTimeout: 5000 });
  assert.equal(await socket.emitWithAck("echo", 1), 1);
  assert.equal(await socket.emitWithAck("echo", 2), 2);
});

scenarios.set("catch-all handler", async () => {
  const socket = await joined("/any");
  assert.deepEqual(await acked(socket, "whatever", 1, null), ["whatever", 1, null]);
});

scenarios.set("a session remembers", async () => {
  const socket = await joined("/");
  await acked(socket, "remember", { list: [1, "ü"] });
  assert.deepEqual(await acked(socket, "recall"), [{ list: [1, "ü"] }]);
});

async function run(name, scenario) {
  const began = Date.now();
  const limit = new Promise((_, reject) => setTimeout(() => reject(new Error("took too long")), LIMIT_MS).unref());
  let error = null;
  try {
    await Promise.race([scenario(), limit]);
  } catch (reason) {
    error = String(reason?.stack ?? reason);
  }
  console.log(JSON.stringify({ name, ok: error === null, error, ms: Date.now() - began }));
}

// some at a time: together they are quick, and one does not drown the other on a small machine
const waiting = [...scenarios];
const worker = async () => {
  for (let entry; (entry = waiting.shift()); ) await run(...entry);
};
await Promise.all(Array.from({ length: 4 }, worker));
for (const [name, scenario] of alone) await run(name, scenario);
for (const socket of opened) socket.disconnect();
setTimeout(() => process.exit(0), 100);
