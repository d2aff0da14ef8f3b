// The chat page. It keeps what the page knows (`me`, `rooms`), and connects the other modules with each other.

import { openPanel } from "./cluster.js";
import { openComposer } from "./composer.js";
import { byId, element, paintAvatar } from "./elements.js";
import { closeSides, listenToFrame, notify } from "./frame.js";
import { forgetOldest, showEntry, showLog, toBottom, updateMessage } from "./messages.js";
import { showPeople } from "./people.js";
import { newPresence } from "./presence.js";
import { load, restored, save } from "./tab.js";
import { openTalk } from "./talk.js";

const OPEN_TO_ALL = ["lobby", "engineering", "design", "random"];
const ROOM = /^[\p{L}\p{N}_-]{1,32}$/u;
const MAX_LOG = 500;
const TYPING_ENDS_MS = 4000; // "is typing" ends by itself after this time, in case its end gets lost

const query = new URLSearchParams(location.search);
const kept = load();
const me = { name: "" };
const rooms = new Map(); // name -> {name, log, presence, typing: Map(person's name -> timer), unread}
let current = null;
let talk = null;
let panel = null;
let composer = null;

start();

function start() {
  for (const name of OPEN_TO_ALL) addRoom(name);
  for (const [name, log] of kept.logs ?? []) addRoom(name).log = log.map(restored);
  const asked = asRoomName(query.get("room") ?? "");
  current = addRoom(asked || kept.current || "lobby");
  composer = openComposer({ send, typing: (on) => talk?.typing(current.name, on), problem: notify });
  listen();
  showRoom(current);
  if (!window.io) return notify("The Socket.IO client is missing: npm install socket.io-client", "", 0);
  const name = (query.get("name") ?? kept.name ?? "").trim();
  if (name) enter(name);
  else welcome();
}

function enter(asked) {
  const name = asked.split(/\s+/).join(" "); // as the application does, so that we find ourselves in its lists
  me.name = name;
  byId("my-name").textContent = name;
  paintAvatar(byId("my-avatar"), name);
  const transport = query.get("transport");
  talk = openTalk({
    name,
    rooms: new Set(rooms.keys()),
    transports: ["polling", "websocket"].includes(transport) ? [transport] : null,
    on: {
      connected, caughtUp, disconnected, refused, entered, notEntered, presenceState, presenceDiff, typing, message, sent, failed, delivered,
      transport: (name) => panel.transport(name),
      appNode: (id) => panel.appNode(id),
    },
  });
  panel ??= openPanel({ pulse: () => talk.pulse(), count: () => talk.count(), announce, late: (late) => showState(late ? "late" : "up") });
  showRoom(current);
  composer.focus();
}

// --- called when something comes over the connection -----------------------------------------------------------------

function connected(node, sid, recovered) {
  byId("notice").hidden = true;
  panel.connected(node, sid, recovered);
  showState("up");
}

function caughtUp(missed) {
  panel.caughtUp(missed);
}

function disconnected(reason) {
  panel.disconnected();
  showState("down");
  if (reason !== "io client disconnect") notify("Connection lost. Trying again…", "", 0);
}

function refused(reason) {
  talk.close();
  welcome(reason);
}

function entered() {
  keep();
}

function notEntered(name, reason) {
  notify(`#${name}: ${reason}`);
}

function presenceState(name, all) {
  rooms.get(name)?.presence.state(all);
}

function presenceDiff(name, diff) {
  rooms.get(name)?.presence.diff(diff);
}

function typing({ room: name, name: who, typing: on }) {
  setTyping(rooms.get(name), who, on);
}

function message({ id, room: name, sid, name: who, text, at, image, mime, width, height }) {
  const room = rooms.get(name);
  if (!room || room.log.some((entry) => entry.id === id)) return; // it has come twice
  const entry = { kind: "message", id, sid, name: who, own: false, text, at };
  if (image) entry.image = { url: URL.createObjectURL(new Blob([image], { type: mime })), width, height };
  setTyping(room, who, false);
  append(room, entry);
  if (room !== current || document.hidden) {
    room.unread += 1;
    showRooms();
  }
}

function sent({ id, room }, at) {
  change(room, id, (entry) => {
    entry.at = at;
    if (entry.state === "sending") entry.state = "sent";
  });
}

function failed({ id, room }, error) {
  change(room, id, (entry) => Object.assign(entry, { state: "failed", error }));
}

function delivered({ id, by }) {
  for (const room of rooms.values()) {
    change(room.name, id, (entry) => {
      entry.state = "delivered";
      if (!entry.by.includes(by)) entry.by.push(by);
    });
  }
}

// --- called when the person does something ---------------------------------------------------------------------------

function send({ text, image }) {
  const id = newId();
  const entry = { kind: "message", id, sid: talk?.sid, name: me.name, own: true, text, at: Date.now(), state: "sending", by: [] };
  if (image) entry.image = { url: image.url, width: image.width, height: image.height };
  append(current, entry);
  const { bytes, width, height } = image ?? {};
  talk?.send({ id, room: current.name, text, ...(image && { image: bytes, width, height }) });
}

function openRoom(name) {
  const known = rooms.has(name);
  const room = addRoom(name);
  if (!known) talk?.join(name);
  showRoom(room);
  closeSides();
  composer.focus();
}

function listen() {
  byId("new-room").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = asRoomName(byId("new-room-name").value);
    if (!name) return notify("The name of a room can have 1 to 32 letters, digits, - and _");
    byId("new-room-name").value = "";
    openRoom(name);
  });
  listenToFrame({ room: () => current.name });
  byId("welcome").addEventListener("cancel", (event) => event.preventDefault());
  byId("welcome-form").addEventListener("submit", () => {
    localStorage.setItem("chat.name", byId("nickname").value.trim());
    enter(byId("nickname").value.trim());
  });
  document.addEventListener("visibilitychange", () => {
    talk?.setState(document.hidden ? "away" : "here");
    if (!document.hidden) showRoom(current);
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") composer.hasImage() ? composer.dropImage() : closeSides();
    if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      const names = [...rooms.keys()];
      const step = event.key === "ArrowUp" ? -1 : 1;
      openRoom(names.at((names.indexOf(current.name) + step) % names.length));
    }
  });
  addEventListener("pagehide", keep);
}

function welcome(problem = "") {
  byId("welcome-problem").textContent = problem;
  byId("nickname").value = me.name || localStorage.getItem("chat.name") || "";
  byId("welcome").showModal();
}

// --- what is known and shown -----------------------------------------------------------------------------------------

function addRoom(name) {
  if (rooms.has(name)) return rooms.get(name);
  const room = { name, log: [], typing: new Map(), unread: 0 };
  room.presence = newPresence({
    changed: () => { if (room === current) showWho(); },
    came: (who) => { if (who !== me.name) append(room, line(" came in", "", who)); },
    went: (who) => {
      if (who !== me.name) append(room, line(" left", "", who));
      setTyping(room, who, false);
    },
  });
  rooms.set(name, room);
  return room;
}

const line = (text, tone = "", who = "") => ({ kind: "line", who, text, tone, at: Date.now() });

/** Writes a line into every room that has something in it, for instance after a restart of the application. */
function announce(text, tone) {
  for (const room of rooms.values()) if (room === current || room.log.length) append(room, line(text, tone));
}

function append(room, entry) {
  room.log.push(entry);
  if (room.log.length > MAX_LOG) {
    const oldest = room.log.shift();
    if (oldest.image) URL.revokeObjectURL(oldest.image.url);
    if (room === current) forgetOldest(oldest);
  }
  if (room === current) {
    showEntry(entry);
    showEmpty();
  }
}

function change(name, id, how) {
  const entry = rooms.get(name)?.log.findLast((one) => one.id === id && one.own);
  if (!entry) return;
  how(entry);
  if (current.name === name) updateMessage(entry);
}

function setTyping(room, who, on) {
  if (!room) return;
  clearTimeout(room.typing.get(who));
  room.typing.delete(who);
  if (on) room.typing.set(who, setTimeout(setTyping, TYPING_ENDS_MS, room, who, false));
  if (room === current) showTyping();
}

function showRoom(room) {
  if (room !== current || !byId("messages").childElementCount) showLog(room.log);
  current = room;
  room.unread = 0;
  byId("room-name").textContent = room.name;
  composer.inRoom(room.name);
  toBottom();
  showRooms();
  showWho();
  showTyping();
  showEmpty();
  keep();
}

function showRooms() {
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ""}#${current.name} · Cluster Chat`;
  byId("other-unread").hidden = unread === 0;
  byId("other-unread").textContent = unread > 99 ? "99+" : unread;
  byId("room-list").replaceChildren(...[...rooms.values()].map(roomItem));
}

function roomItem(room) {
  const button = element("button", { className: room.unread ? "unread" : "", data: { testid: "room" } });
  if (room === current) button.setAttribute("aria-current", "page");
  button.append(element("span", { className: "hash", ariaHidden: "true" }, "#"), element("bdi", {}, room.name));
  if (room.unread) button.append(element("i", { className: "badge", ariaLabel: `${room.unread} unread` }, room.unread > 99 ? "99+" : `${room.unread}`));
  button.addEventListener("click", () => openRoom(room.name));
  return element("li", {}, button);
}

function showWho() {
  const all = current.presence.list();
  if (me.name) showPeople(me.name, all);
  const others = all.filter(({ name }) => name !== me.name).length;
  byId("room-people").textContent = others === 0 ? "Only you are here" : `${others + 1} people are here`;
}

function showTyping() {
  const names = [...current.typing.keys()].map((name) => element("bdi", {}, name));
  byId("typing").replaceChildren();
  if (names.length === 0) return;
  const words = names.length > 2 ? ["Several people are typing"] : [names[0], ...(names[1] ? [" and ", names[1]] : []), names[1] ? " are typing" : " is typing"];
  byId("typing").append(element("i"), element("i"), element("i"), ...words.map((word) => (typeof word === "string" ? element("span", {}, word) : word)));
}

function showEmpty() {
  byId("empty").hidden = current.log.some((entry) => entry.kind === "message");
  byId("empty").querySelector("h3").textContent = `Nothing said in #${current.name} yet`;
  byId("empty").querySelector("p").textContent = "Write the first message, or open this room in a second window and talk to yourself.";
}

function showState(state) {
  const where = byId("io-node").textContent;
  byId("where-dot").className = `dot ${{ up: "up", late: "wait", down: "wait" }[state]}`;
  byId("where-text").textContent = { up: where, late: where, down: "Reconnecting" }[state];
  byId("my-state").textContent = { up: "Connected", late: "Waiting for the application", down: "Reconnecting…" }[state];
}

function keep() {
  if (me.name) save({ name: me.name, current: current.name, rooms });
}

/** 96 random bits as hex. crypto.randomUUID would need HTTPS. */
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function asRoomName(text) {
  const name = text.trim().replace(/^#/, "").replace(/\s+/g, "-").toLowerCase();
  return ROOM.test(name) ? name : "";
}
