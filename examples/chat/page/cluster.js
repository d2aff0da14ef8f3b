// The cluster panel shows which nodes serve this page, how fast the application answers, and what happened last.

import { byId, duration, element } from "./elements.js";

const PULSE_MS = 2000;
const LATE_MS = 1000;
const LOOK_MS = 3000;
const SAMPLES = 30;

/** `pulse()` asks the application for an answer. It resolves to the answer, or to null if the connection was lost. So does
 *  `count()`: its answer says how many clients there are.
 *  `announce(text, tone)` writes a line into the chat.
 *  `late(true)` is called when the application does not answer, `late(false)` when it answers again. */
export function openPanel({ pulse, count, announce, late }) {
  const trips = [];
  let askedAt = null; // when the pulse was sent that has no answer yet
  let excused = null; // the pulse that a restart of the application delayed: it does not count as late any more
  let isLate = false;
  let news = []; // the last event, shown again when the application answers again
  let appNode = null;
  let ioNode = null;
  let ioNodeBefore = null;
  let appNodes = 0;
  let counting = false;

  setInterval(beat, PULSE_MS);
  setInterval(watch, 100);
  setInterval(look, LOOK_MS);
  look();

  async function beat() {
    if (askedAt !== null) return;
    const asked = performance.now();
    askedAt = asked;
    const answer = await pulse();
    if (askedAt !== asked) return; // the connection is another one by now
    const took = performance.now() - asked;
    askedAt = null;
    setLate(false);
    if (answer === null) return;
    trips.push(took);
    if (trips.length > SAMPLES) trips.shift();
    showTrip(took);
    drawSpark(trips);
  }

  function watch() {
    if (askedAt === null || askedAt === excused) return;
    const waited = performance.now() - askedAt;
    if (waited < LATE_MS) return;
    byId("round-trip").textContent = `waiting ${duration(waited)}`;
    byId("round-trip").classList.add("waiting");
    setLate(true);
  }

  function setLate(now) {
    if (now === isLate) return;
    isLate = now;
    late(now);
    if (now) say("wait", "The application does not answer", "Messages wait until it does.");
    else say("good", ...news);
  }

  function tell(what, more) {
    news = [what, more];
    say("good", what, more);
  }

  function look() {
    if (document.hidden) return;
    lookAtNodes();
    lookAtClients();
  }

  async function lookAtNodes() {
    try {
      const answer = await fetch("/socket.io/cluster", { signal: AbortSignal.timeout(2500) });
      if (!answer.ok) throw new Error(answer.statusText);
      const sizes = await answer.json();
      if (!sizes.io_nodes) throw new Error("this io-node has just started, and does not know the others yet");
      appNodes = sizes.app_nodes;
      put("io-nodes", sizes.io_nodes);
      put("app-nodes", sizes.app_nodes);
    } catch {
      for (const id of ["io-nodes", "app-nodes"]) byId(id).textContent = "–"; // asked again in 3 s
    }
  }

  /** Redis counts them for the application. What io-nodes say is as old as their heartbeats, and lacks this page at first. */
  async function lookAtClients() {
    if (counting) return;
    counting = true;
    const answer = await count();
    counting = false;
    if (answer !== null) put("clients", answer.clients.toLocaleString());
  }

  return {
    connected(node, sid, recovered) {
      ioNodeBefore = ioNode;
      ioNode = node;
      put("io-node", ioNode);
      byId("io-node").title = sid;
      if (!recovered) {
        tell(ioNodeBefore ? `Reconnected to io-node ${ioNode}` : `Connected to io-node ${ioNode}`);
        if (ioNodeBefore) announce(`Reconnected to io-node ${ioNode}`, "good");
      }
      askedAt = null;
      beat();
      lookAtClients();
    },

    /** The server gave the session back, and `missed` messages with it. */
    caughtUp(missed) {
      const what = ioNode === ioNodeBefore ? `Back on io-node ${ioNode}` : `Moved to io-node ${ioNode}`;
      const more = missed === 1 ? "1 message caught up" : `${missed || "no"} messages caught up`;
      tell(what, `${more[0].toUpperCase()}${more.slice(1)}.`);
      announce(`${what}, ${more}`, "good");
    },

    disconnected() {
      askedAt = null;
      appNode = null;
      setLate(false);
      byId("round-trip").textContent = "–";
      byId("round-trip").classList.remove("waiting");
      put("transport", "–", "");
      say("wait", "Connection lost", "Trying again…");
    },

    transport(name) {
      put("transport", name, name);
    },

    /** Called with each answer of the application, which says which app-node gave it. */
    async appNode(id) {
      if (id === appNode) return;
      const before = appNode;
      appNode = id;
      put("app-node", id);
      if (before === null) return;
      const waited = askedAt === null ? 0 : performance.now() - askedAt;
      excused = askedAt;
      setLate(false);
      await lookAtNodes();
      const restarted = nodeName(before) === nodeName(id) || appNodes < 2 || waited > LATE_MS;
      const what = restarted ? "Application restarted, still connected" : `Application moved to ${nodeName(id)}, still connected`;
      const pace = waited > 250 ? `Answers waited ${duration(waited)}` : "No answer was late";
      tell(what, `${pace}.`);
      announce(`${what} · ${pace.toLowerCase()}`, "good");
    },
  };
}

const nodeName = (id) => id.slice(0, id.lastIndexOf("-"));

function put(id, value, className) {
  const node = byId(id);
  if (className !== undefined) node.className = `transport ${className}`;
  const text = String(value);
  if (node.textContent === text) return;
  const known = node.textContent !== "–";
  node.textContent = text;
  const cell = node.closest("dd");
  cell.classList.remove("changed");
  if (known && text !== "–") requestAnimationFrame(() => cell.classList.add("changed"));
}

function say(tone, what, more = "") {
  byId("event").className = `event ${tone}`;
  byId("event").replaceChildren(element("span", {}, element("b", {}, more ? `${what}.` : what), " ", more));
}

function showTrip(ms) {
  byId("round-trip").textContent = duration(ms);
  byId("round-trip").classList.remove("waiting");
}

/** Draws the round trips of the last minute as a line. The slowest sets the scale, which ends at 8 ms at least. */
function drawSpark(trips) {
  const top = Math.max(8, ...trips) * 1.15;
  const step = 240 / (SAMPLES - 1);
  const left = 240 - (trips.length - 1) * step;
  const points = trips.map((ms, i) => `${(left + i * step).toFixed(1)} ${(43 - (42 * ms) / top).toFixed(1)}`);
  const [area, line] = byId("spark").children;
  line.setAttribute("d", `M${points.join("L")}`);
  area.setAttribute("d", `M${left.toFixed(1)} 44L${points.join("L")}L240 44Z`);
}
