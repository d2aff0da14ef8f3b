// Who is in a room. Everybody says it of themselves: on joining, when their page is shown or hidden, and in answer to a
// newcomer. Somebody who leaves stays on the list, grey, for a moment: after a reload they are back before it is over.

import { avatar, byId, element } from "./elements.js";

const GRACE_MS = 3000;

export function newRoster({ changed, came, went }) {
  const people = new Map(); // sid -> {name, state, leaving}

  function remove(sid) {
    const person = people.get(sid);
    if (!person) return;
    people.delete(sid);
    if (!hasName(person.name)) went(person.name); // else they are here by another connection
    changed();
  }

  const hasName = (name) => [...people.values()].some((person) => person.name === name);

  return {
    /** `isNew`: a newcomer, not somebody who answers us or whose state changes. */
    set({ sid, name, state }, isNew) {
      const known = people.get(sid);
      clearTimeout(known?.leaving);
      const former = known ? null : [...people].find(([, person]) => person.leaving && person.name === name);
      if (former) {
        clearTimeout(former[1].leaving);
        people.delete(former[0]);
      }
      const isBack = former || hasName(name);
      people.set(sid, { name, state });
      if (!known && isNew && !isBack) came(name);
      changed();
    },
    leave(sid) {
      const person = people.get(sid);
      if (!person || person.leaving) return;
      person.leaving = setTimeout(remove, GRACE_MS, sid);
      changed();
    },
    /** After a reconnection: whoever does not answer soon has gone meanwhile. */
    doubt() {
      for (const sid of people.keys()) this.leave(sid);
    },
    list: () => [...people].map(([sid, person]) => ({ sid, ...person })),
    count: () => [...people.values()].filter((person) => !person.leaving).length,
  };
}

export function showPeople(me, others) {
  const sorted = others.sort((a, b) => a.name.localeCompare(b.name));
  const items = [personNode(me, "you"), ...sorted.map((person) => personNode(person))];
  byId("people").replaceChildren(...items);
  byId("people-count").textContent = items.length;
}

function personNode({ name, state, leaving }, note) {
  const look = leaving ? "gone" : state === "away" ? "away" : "here";
  const item = element("li", { className: `person ${look}`, data: { testid: "person" } });
  item.append(avatar(name, element("i", { className: `dot ${look}` })));
  item.append(element("span", { className: "name", title: name }, element("bdi", {}, name)));
  const words = note ?? { away: "away", gone: "left" }[look];
  if (words) item.append(element("small", {}, words));
  return item;
}
