// Services in Node.js that send to Socket.IO clients, each with Socket.IO's own library. The tests run:
//   node emitters.mjs REDIS_URL redis-emitter SID      says everything that the emitter can, to the client SID
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
  emitter.except(sid).emit("news", "not to that one");
  emitter.in(sid).socketsLeave("lounge");
  emitter.to("lounge").emit("news", "to nobody");
  emitter.except("lounge").emit("news", "refused");
  emitter.serverSideEmit("refused", 1);
  emitter.of("/other").volatile.emit("news", "elsewhere");
  emitter.emit("news", "ümlaut 🎈");
  emitter.in(sid).disconnectSockets();
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

async function streamsEmitter() {
  try {
    const { Emitter } = await import(process.env.STREAMS_EMITTER ?? "@socket.io/redis-streams-emitter");
    return new Emitter(redis);
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  }
  const { createAdapter } = await import("@socket.io/redis-streams-adapter");
  const adapter = createAdapter(redis)({ name: "/", server: { encoder: {}, opts: {} }, sockets: new Map() });
  return {
    emit: (...data) => adapter.publish({
      type: 3,
      data: { packet: { type: 2, data, nsp: "/" }, opts: { rooms: [], flags: {}, except: [] } },
    }),
  };
}
