// The list of the people in a room.

import { avatar, byId, element } from "./elements.js";

/** `all` are as `newPresence` lists them. The person of this page is on top, also before the server has said so. */
export function showPeople(me, all) {
  const own = all.find(({ name }) => name === me) ?? { name: me, state: "here", windows: 1 };
  const others = all.filter(({ name }) => name !== me).sort((a, b) => a.name.localeCompare(b.name));
  const items = [personNode(own, "you"), ...others.map((person) => personNode(person))];
  byId("people").replaceChildren(...items);
  byId("people-count").textContent = items.length;
}

function personNode({ name, state, windows }, note) {
  const item = element("li", { className: `person ${state}`, data: { testid: "person" } });
  item.append(avatar(name, element("i", { className: `dot ${state}` })));
  item.append(element("span", { className: "name", title: name }, element("bdi", {}, name)));
  const words = [note, state === "away" && "away", windows > 1 && `${windows} windows`].filter(Boolean);
  if (words.length) item.append(element("small", {}, words.join(" · ")));
  return item;
}
