// The official client does what it is told: `node scripted.mjs JSON`. The steps are those of scripted.py.

import { io } from "socket.io-client";

const LIMIT_MS = 10_000;
const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };
const { url, options, steps } = JSON.parse(process.argv[2]);
const told = { events: [], connects: [], disconnects: [], errors: [], acks: [] };
let moved = () => {};
let upgraded = options.transport !== "upgrade";

const socket = io(url + (options.namespace ?? "/loadtest"), {
  autoConnect: false,
  transports: TRANSPORTS[options.transport],
  auth: options.auth,
  withCredentials: true, // Node's client keeps cookies only then
  reconnectionDelay: 1000 * (options.reconnection_delay_s ?? 1),
});
function note(list, value) {
  told[list].push(value);
  moved();
}
socket.onAny((...args) => note("events", args));
socket.on("connect", () => note("connects", {}));
socket.on("disconnect", (reason) => {
  upgraded = options.transport !== "upgrade";
  note("disconnects", reason);
});
socket.on("connect_error", (error) => note("errors", error.message));
socket.io.on("open", () =>
  socket.io.engine.once("upgrade", () => {
    upgraded = true;
    moved();
  }),
);

async function until(condition, what) {
  const end = setTimeout(() => {
    console.error(`no ${what}`);
    process.exit(1);
  }, LIMIT_MS);
  while (!condition()) await new Promise((resolve) => (moved = resolve));
  clearTimeout(end);
}

const actions = {
  connect: () => (socket.connect(), until(() => socket.connected && upgraded, "connect")),
  open: () => socket.connect(),
  emit: (...args) => socket.emit(...args),
  emit_many: (name, count, ...rest) => Array.from({ length: count }, (_, number) => socket.emit(name, number, ...rest)),
  call: async (...args) => note("acks", await new Promise((done) => socket.emit(...args, (...answer) => done(answer)))),
  await: (list, count) => until(() => told[list].length >= count && (list !== "connects" || upgraded), `${count} ${list}`),
  pause: (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds)),
  close: () => socket.close(),
};
for (const [name, ...args] of steps) await actions[name](...args);
await actions.pause(0.2);
console.log(JSON.stringify(told));
process.exit(0);
