// Stock clients in the lobby, each with Phoenix' own helper and with that of the chat's page: `node presence.mjs URL`.
// Orders come on stdin, a JSON list in each line, and each is answered by one line of JSON:
//
//     ["come", key, tab]    one client more. Answered when it was let in; its number is that of the order, from 0 on
//     ["show", client, tab] it shows another tab
//     ["leave", client]     it leaves the room, and stays connected
//     ["close", client]     it disconnects
//     ["see"]               for each client what it sees: Phoenix' list and the page's, and who came and went, in order

import { createInterface } from "node:readline";
import { Presence } from "phoenix";
import { io } from "socket.io-client";
import { newPresence } from "../../../examples/chat/page/presence.js";

const [url] = process.argv.slice(2);
const clients = [];

function open(key, tab) {
  // Over WebSocket alone, nothing tells this client from others that run in Node.js.
  const socket = io(url, { forceNew: true, transports: ["websocket"], query: { recovery: 1 }, reconnectionDelay: 100 });
  const client = { key, socket, presence: phoenix(socket), page: null, moves: [], pageMoves: [], recoveries: 0 };
  client.presence.onJoin((who, before) => { if (!before) client.moves.push(["came", who]); });
  client.presence.onLeave((who, after) => { if (after.metas.length === 0) client.moves.push(["went", who]); });
  const move = (what) => (who) => client.pageMoves.push([what, who]);
  client.page = newPresence({ came: move("came"), went: move("went"), changed() {} });
  socket.on("presence_state", (content) => client.page.state(content));
  socket.on("presence_diff", (content) => client.page.diff(content));
  socket.on("connect", () => {
    if (socket.recovered) client.recoveries += 1;
    else socket.emit("come", key, tab);
  });
  clients.push(client);
  return new Promise((resolve) => socket.once("connect", () => resolve(null)));
}

// As docs/server.md says.
function phoenix(socket) {
  return new Presence({
    on: (event, take) => socket.on(event, (content, room) => room === "lobby" && take(content)),
    joinRef: () => socket.id,
  });
}

const byKey = (entries) => Object.fromEntries(entries.sort());

const seen = ({ presence, page, moves, pageMoves, recoveries, socket }) => ({
  phoenix: byKey(presence.list((key, { metas }) => [key, metas.map(({ tab }) => tab).sort()])),
  page: byKey(page.list().map(({ name, windows }) => [name, windows])),
  moves,
  pageMoves,
  recoveries,
  sid: socket.id,
});

const orders = {
  come: open,
  show: (client, tab) => clients[client].socket.emit("show", clients[client].key, tab),
  leave: (client) => clients[client].socket.emit("leave"),
  close: (client) => clients[client].socket.disconnect(),
  see: () => clients.map(seen),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [order, ...how] = JSON.parse(line);
  const answer = await orders[order](...how);
  console.log(JSON.stringify(order === "see" ? answer : null));
}
process.exit(0);
