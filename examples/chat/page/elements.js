// Makes the page's elements. What people write is always added as text, and never parsed as HTML.

export const byId = (id) => document.getElementById(id);

export function element(tag, { data = {}, ...properties } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  Object.assign(node.dataset, data);
  node.append(...children.filter(Boolean));
  return node;
}

export function icon(name, className = "") {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  if (className) svg.setAttribute("class", className);
  svg.append(use);
  return svg;
}

/** A coloured tile with somebody's initials. The colour comes from the name, so it is the same on every screen. */
export function avatar(name, ...children) {
  return paintAvatar(element("span", { className: "avatar", ariaHidden: "true" }), name, ...children);
}

export function paintAvatar(node, name, ...children) {
  let hash = 7;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)) % 9973;
  node.style.setProperty("--hue", (hash * 47) % 360);
  const words = name.trim().split(/\s+/);
  const initials = words.slice(0, 2).map((word) => [...word][0] ?? "").join("");
  node.replaceChildren(initials.toLocaleUpperCase(), ...children);
  return node;
}

export function clockTime(at) {
  return new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** 2.4 -> "2.4 ms", 340 -> "340 ms", 3100 -> "3.1 s". */
export function duration(ms) {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}
