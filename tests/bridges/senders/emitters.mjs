// Services in Node.js that send to Socket.IO clients, each with Socket.IO's own library. The tests run:
//   node emitters.mjs REDIS_URL redis-emitter SID      says everything that the emitter can, to the client SID
//   node emitters.mjs REDIS_URL selections SID         the same of the streams emitter, as far as it chooses clients
//   node emitters.mjs REDIS_URL server                 `serverSideEmit` of a server with the streams adapter
//   node emitters.mjs REDIS_URL stream FIRST LAST      numbers into the stream, by the streams emitter if it is
//                                                      installed (or is at STREAMS_EMITTER), else by a server with the streams adapter
import { Redis } from "ioredis";

const [url, what, ...rest] = process.argv.slice(2);
const redis = new Redis(url);

if (what === "redis-emitter") {
  const { Emitter } = await import("@socket.io/redis-emitter");
  const emitter = new Emitter(redis);
  const [sid] = rest;
  emitter.emit("news", 1, { two: [2] }, null);
  emitter.to(sid).emit("news", "to a sid");
  emitter.in(sid).socketsJoin("lounge");
  emitter.to("lounge").emit("news", "to a room");
  emitter.to(["lounge", sid]).emit("news", Buffer.from([255, 0]), new Date(0), undefined);
  const { buffer } = Uint8Array.of(1, 2);
  emitter.to(sid).compress(false).emit("news", [buffer], { toJSON: () => "by toJSON" });
  emitter.except(sid).emit("news", "not to that one");
  emitter.in(sid).socketsLeave("lounge");
  emitter.to("lounge").emit("news", "to nobody");
  choose(emitter, sid);
  emitter.of("/other").serverSideEmit("reload", "refused");
  emitter.of("/other").emit("news", "elsewhere");
  emitter.emit("news", "ümlaut 🎈");
  emitter.in(sid).disconnectSockets();
} else if (what === "selections") {
  const emitter = await streamsEmitter();
  const [sid] = rest;
  choose(emitter, sid);
  emitter.in(sid).except("nobody").disconnectSockets(true);
} else if (what === "server") {
  const { createAdapter } = await import("@socket.io/redis-streams-adapter");
  serverWith(createAdapter).serverSideEmit(["reload", 1, { two: [2] }]);
  await redis.ping();
} else {
  const [first, last] = rest.map(Number);
  const emitter = await streamsEmitter();
  for (let number = first; number < last; number++) {
    const binary = number % 10 === 3;
    emitter.emit("number", number, ...(binary ? [Buffer.from([number % 256])] : []));
    if (number % 20 === 0) await redis.ping();      // else all of it would leave at once
  }
}
await redis.quit();
process.exit();                                     // the adapter would go on reading

// Everything that concerns all who are in some rooms and not in others, and `serverSideEmit`.
function choose(emitter, sid) {
  emitter.socketsJoin(["all", "both"]);
  emitter.in([sid, "nobody"]).except("none").socketsJoin("lounge");
  emitter.except("lounge").emit("news", "not in the lounge");
  emitter.to(["lounge", "all", sid]).emit("news", "once");
  emitter.in("all").except(sid).socketsJoin("garden");
  emitter.in("all").except("garden").socketsLeave("both");
  emitter.to("both").emit("news", "in the garden");
  emitter.in("lounge").socketsLeave("lounge");
  emitter.to("lounge").emit("news", "to nobody");
  emitter.serverSideEmit("reload", 1, { two: [2] });
}

async function streamsEmitter() {
  try {
    const { Emitter } = await import(process.env.STREAMS_EMITTER ?? "@socket.io/redis-streams-emitter");
    return new Emitter(redis);
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  }
  const { createAdapter } = await import("@socket.io/redis-streams-adapter");
  return ofAdapter(serverWith(createAdapter));
}

function serverWith(createAdapter) {
  return createAdapter(redis)({ name: "/", server: { encoder: {}, opts: {} }, sockets: new Map() });
}

// As the emitter's own: what it writes is made by the adapter.
function ofAdapter(adapter, to = [], but = []) {
  const list = { rooms: to, except: but, flags: {} };
  const opts = { rooms: new Set(to), except: new Set(but), flags: {} };
  const within = (rooms) => ofAdapter(adapter, to.concat(rooms), but);
  return {
    to: within,
    in: within,
    except: (rooms) => ofAdapter(adapter, to, but.concat(rooms)),
    emit: (...data) => adapter.publish({ type: 3, data: { packet: { type: 2, data, nsp: "/" }, opts: list } }),
    socketsJoin: (rooms) => adapter.addSockets(opts, [].concat(rooms)),
    socketsLeave: (rooms) => adapter.delSockets(opts, [].concat(rooms)),
    disconnectSockets: (close = false) => adapter.disconnectSockets(opts, close),
    serverSideEmit: (...packet) => {             // a server says this on a channel, the emitter in the stream
      const entry = adapter.encode({ uid: "emitter", nsp: "/", type: 9, data: { packet } });
      return redis.xadd("socket.io", "*", ...Object.entries(entry).flat());
    },
  };
}
