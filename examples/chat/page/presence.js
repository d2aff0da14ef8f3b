// Who is in a room. The server says it once, by `presence_state`, and then each change, by `presence_diff`. Both are
// {name: {metas: [...]}}, with one meta for each window that has the room open, and each meta has a `phx_ref` of its own.
// Phoenix' helper (npm install phoenix) understands the same events. This page keeps what it needs in fewer lines.

/** `came(name)` and `went(name)` are called for the first and the last window of somebody, `changed()` at each change. */
export function newPresence({ came, went, changed }) {
  let windows = new Map(); // phx_ref -> {name, state}
  let known = false; // before the first state, nobody has just come

  function become(next) {
    const before = names(windows);
    const after = names(next);
    windows = next;
    if (known) {
      for (const name of after) if (!before.has(name)) came(name);
      for (const name of before) if (!after.has(name)) went(name);
    }
    changed();
  }

  return {
    state(all) {
      become(byRef(all));
      known = true;
    },
    diff({ joins, leaves }) {
      const next = new Map([...windows, ...byRef(joins)]);
      for (const ref of byRef(leaves).keys()) next.delete(ref);
      become(next);
    },
    /** One for each name: {name, state, windows}. Somebody is away if they look at none of their windows. */
    list() {
      return [...names(windows)].map((name) => {
        const own = [...windows.values()].filter((one) => one.name === name);
        return { name, windows: own.length, state: own.some(({ state }) => state === "here") ? "here" : "away" };
      });
    },
  };
}

const names = (windows) => new Set([...windows.values()].map(({ name }) => name));

function byRef(content) {
  const all = Object.entries(content).flatMap(([name, { metas }]) => metas.map((meta) => [meta.phx_ref, { ...meta, name }]));
  return new Map(all);
}
