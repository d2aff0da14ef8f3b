// Everything that goes over the Socket.IO connection. The page hears of it through the callbacks in `on`.
//
// A message stays in `waiting` until the application has answered it, and is sent again after a reconnection. It keeps its
// id, and a page shows each id once. So no message is lost or doubled, whatever restarts.
//
// What others wrote while the connection was lost comes right after the reconnection: the server gives the session back,
// and everything that was missed, before it answers anything.

export function openTalk({ name, rooms, transports, on }) {
  const socket = io({ auth: { name }, ...(transports && { transports }) });
  const joined = new Set();
  const waiting = new Map();
  let state = "here";
  let missed = 0; // messages since the last reconnection

  socket.on("connect", () => {
    joined.clear();
    on.connected(nodeOf(socket.io.engine.id), socket.id, socket.recovered);
    if (socket.recovered) catchUp();
    for (const room of rooms) enter(room);
  });
  socket.on("disconnect", (reason) => on.disconnected(reason));
  socket.on("connect_error", (error) => {
    // Active: it was a network problem, and the client tries again by itself. Otherwise the application has refused us.
    if (!socket.active) on.refused(error.message);
  });
  socket.io.on("open", () => {
    on.transport(transport());
    socket.io.engine.on("upgrade", () => on.transport(transport()));
  });

  socket.on("restarted", (news) => on.appNode(news.app_node));
  socket.on("presence_state", (all, audience) => on.presenceState(roomOf(audience), all));
  socket.on("presence_diff", (diff, audience) => on.presenceDiff(roomOf(audience), diff));
  socket.on("typing", on.typing);
  socket.on("delivered", on.delivered);
  socket.on("message", (news) => {
    missed += 1;
    on.message(news);
    socket.emit("received", { id: news.id, to: news.sid });
  });

  /** The answer comes behind everything that was missed. */
  async function catchUp() {
    missed = 0;
    if ((await ask("pulse", null)) !== null) on.caughtUp(missed);
  }

  async function enter(room) {
    const sid = socket.id;
    const answer = await ask("join", { room, state });
    if (answer === null || sid !== socket.id) return;
    if (answer.error) return on.notEntered(room, answer.error);
    joined.add(room);
    on.entered(room);
    for (const message of waiting.values()) if (message.room === room) transmit(message);
  }

  async function transmit(message) {
    if (!joined.has(message.room)) return;
    const answer = await ask("message", message);
    if (answer === null) return;
    waiting.delete(message.id);
    if (answer.error) on.failed(message, answer.error);
    else on.sent(message, answer.at);
  }

  /** Resolves to the application's answer, however long it takes, or to null if the connection was lost before it came. */
  async function ask(event, data) {
    if (!socket.connected) return null;
    try {
      const answer = await socket.emitWithAck(event, data);
      if (answer?.app_node) on.appNode(answer.app_node);
      return answer ?? {};
    } catch {
      return null;
    }
  }

  /** The id of a connection begins with the name of the io-node that holds it. */
  const nodeOf = (id) => (id.includes(".") ? id.split("-")[0] : "this server");
  /** The application's Socket.IO rooms are called `room:lobby` and the like. */
  const roomOf = (audience) => audience.slice("room:".length);
  const transport = () => socket.io.engine?.transport?.name ?? "";

  return {
    get sid() { return socket.id; },
    get connected() { return socket.connected; },
    pulse: () => ask("pulse", null),
    count: () => ask("count", null),
    join(room) {
      rooms.add(room);
      return enter(room);
    },
    send(message) {
      waiting.set(message.id, message);
      transmit(message);
    },
    typing(room, typing) {
      if (joined.has(room)) socket.emit("typing", { room, typing });
    },
    setState(next) {
      state = next;
      if (socket.connected) socket.emit("look", { state });
    },
    close: () => socket.disconnect(),
  };
}
