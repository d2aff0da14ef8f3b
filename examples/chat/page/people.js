// Who is in a room. Each page tells the room about its own person: when the person joins, when the page is shown or hidden,
// and as an answer to a newcomer. Somebody who leaves stays on the list in grey for 3 s. After a reload of their page they
// are back before that time is over, and nothing seems to have happened.

import { avatar, byId, element } from "./elements.js";

const GRACE_MS = 3000;

export function newRoster({ changed, came, went }) {
  const people = new Map(); // sid -> {name, state, leaving}

  function remove(sid) {
    const person = people.get(sid);
    if (!person) return;
    people.delete(sid);
    if (!hasName(person.name)) went(person.name); // otherwise they are still here with another connection
    changed();
  }

  const hasName = (name) => [...people.values()].some((person) => person.name === name);

  return {
    /** `isNew`: this person has just joined. Otherwise they answer us, or their state has changed. */
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
    /** Called after a reconnection. Whoever does not answer within 3 s has left meanwhile. */
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
