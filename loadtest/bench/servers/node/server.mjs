// The benchmark's application on Socket.IO's own server: `node server.mjs PORT [redis|streams REDIS_URL]`.

import { createServer } from "node:http";
import { createAdapter as createRedisAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const PADDING = "x".repeat(64);
const [port, adapter, redisUrl] = process.argv.slice(2);

async function connect(url) {
  const client = createClient({ url });
  client.on("error", (error) => console.error(error));
  return client.connect();
}

async function adapterOf(kind, url) {
  if (kind === "streams") return createStreamsAdapter(await connect(url));
  return createRedisAdapter(await connect(url), await connect(url));
}

const http = createServer();
const io = new Server(http, {
  pingInterval: 300_000,
  ...(adapter ? { adapter: await adapterOf(adapter, redisUrl) } : {}),
});

const seconds = () => (performance.timeOrigin + performance.now()) / 1000;
const news = (i) => ({ ts: seconds(), i, pad: PADDING });
const pause = (s) => new Promise((resolve) => setTimeout(resolve, s * 1000));

async function blast({ bursts, burst, room, pause_s }) {
  let number = 0;
  for (let turn = 0; turn < bursts; turn++) {
    for (let one = 0; one < burst; one++) io.to(room).emit("news", news(number++));
    await pause(pause_s);
  }
}

io.on("connection", (socket) => {
  socket.on("join", (rooms, ack) => {
    socket.join(rooms);
    ack(true);
  });
  socket.on("echo", (value, ack) => ack(value));
  socket.on("say", (room, ack) => {
    io.to(room).emit("news", news(0));
    ack(true);
  });
  socket.on("volley", ({ burst, room }, ack) => {
    for (let one = 0; one < burst; one++) io.to(room).emit("news", news(one));
    ack(true);
  });
  socket.on("blast", (order, ack) => {
    blast(order);
    ack(true);
  });
});

http.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
