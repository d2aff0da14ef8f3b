// The messages of the room on screen. Each entry of a room's log is a message, or a line such as "Ada came in".

import { avatar, byId, clockTime, element, icon } from "./elements.js";

const GROUP_MS = 5 * 60_000;
const LINK = /(https?:\/\/[^\s<>"']+)/;
const EMOJI_ONLY = /^(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\p{Regional_Indicator}|\u200d|\ufe0f|\s)+$/u;
const TICK_WORDS = { sending: "Sending", sent: "Sent", delivered: "Delivered", failed: "Not sent" };

const stream = byId("stream");
const list = byId("messages");
const jump = byId("jump");
const shown = new Map(); // message id -> its element
let last = null;

export function showLog(log) {
  shown.clear();
  last = null;
  list.replaceChildren(...log.map(rendered));
  toBottom();
}

export function showEntry(entry) {
  const follow = entry.own || nearBottom();
  const node = rendered(entry);
  node.classList.add("arriving");
  list.append(node);
  if (follow) toBottom();
  else if (entry.kind === "message") jump.hidden = false;
}

export function forgetOldest(entry) {
  list.firstElementChild?.remove();
  shown.delete(entry.id);
}

export function updateMessage(message) {
  const node = shown.get(message.id);
  if (node) node.replaceWith(messageNode(message, node.classList.contains("first")));
}

export function toBottom() {
  stream.scrollTop = stream.scrollHeight;
  jump.hidden = true;
}

const nearBottom = () => stream.scrollHeight - stream.scrollTop - stream.clientHeight < 80;

stream.addEventListener("scroll", () => { if (nearBottom()) jump.hidden = true; }, { passive: true });
new ResizeObserver(() => { if (jump.hidden) toBottom(); }).observe(stream);
jump.addEventListener("click", toBottom);

function rendered(entry) {
  const previous = last;
  last = entry;
  if (entry.kind === "line") return lineNode(entry);
  const follows = previous?.kind === "message" && previous.own === entry.own && previous.name === entry.name && entry.at - previous.at < GROUP_MS;
  return messageNode(entry, !follows);
}

function lineNode({ who, text, tone }) {
  return element("li", { className: `line ${tone}`, data: { testid: "line" } }, element("span", {}, who && element("bdi", {}, who), text));
}

function messageNode(message, first) {
  const node = element("li", { className: "message", data: { testid: "message", id: message.id } });
  node.classList.toggle("own", message.own);
  node.classList.toggle("first", first);
  const byline = element("p", { className: "byline" }, element("bdi", {}, message.name), element("time", {}, clockTime(message.at)));
  node.append(avatar(message.name), byline, bubble(message));
  shown.set(message.id, node);
  return node;
}

function bubble(message) {
  const node = element("div", { className: "bubble", title: title(message) });
  if (message.image) {
    const { width, height } = fitted(message.image);
    node.style.width = `${width + 8}px`;
    node.append(picture(message.image.url, width, height, message.name));
  }
  if (message.imageLost) node.append(element("p", { className: "lost" }, "The image was lost when the page was reloaded"));
  if (message.text) node.append(textNode(message.text));
  if (message.own) node.append(stamp(message));
  if (message.error) node.append(element("p", { className: "problem-line" }, message.error));
  return node;
}

function textNode(text) {
  const node = element("p", { className: "text", dir: "auto", data: { testid: "message-text" } });
  if (text.length <= 24 && EMOJI_ONLY.test(text)) node.classList.add("emoji");
  for (const part of text.split(LINK)) {
    const link = LINK.test(part) && URL.canParse(part);
    node.append(link ? element("a", { href: part, target: "_blank", rel: "noopener noreferrer nofollow" }, part) : part);
  }
  return node;
}

/** The size of an image on screen. It is known before the image is decoded, so that nothing jumps. */
function fitted({ width, height }) {
  const scale = Math.min(1, 340 / (width || 340), 320 / (height || 240));
  return { width: Math.max(96, Math.round((width || 340) * scale)), height: Math.max(48, Math.round((height || 240) * scale)) };
}

function picture(url, width, height, name) {
  const image = element("img", { src: url, alt: `Image from ${name}`, data: { testid: "image" } });
  const button = element("button", { className: "picture", ariaLabel: `Enlarge the image from ${name}` }, image);
  button.style.aspectRatio = `${width} / ${height}`;
  button.addEventListener("click", () => {
    byId("lightbox-image").src = url;
    byId("lightbox").showModal();
  });
  return button;
}

function stamp(message) {
  const tick = icon(message.state, "tick");
  tick.dataset.state = message.state;
  tick.dataset.testid = "tick";
  tick.setAttribute("role", "img");
  tick.setAttribute("aria-label", TICK_WORDS[message.state]);
  return element("span", { className: "stamp" }, element("time", {}, clockTime(message.at)), tick);
}

function title(message) {
  if (!message.own) return "";
  const people = message.by.length;
  return people ? `Delivered to ${people} ${people === 1 ? "person" : "people"}` : TICK_WORDS[message.state];
}
