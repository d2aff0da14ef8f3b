// What this tab keeps over a reload: the name, the open rooms and what was said in them (images excepted).

const KEY = "chat.tab";
const KEPT = 100;

export function load() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

export function save({ name, current, rooms }) {
  const logs = [...rooms.values()].map((room) => [room.name, room.log.slice(-KEPT).map(kept)]);
  sessionStorage.setItem(KEY, JSON.stringify({ name, current, logs }));
}

function kept(entry) {
  if (entry.kind === "line") return entry;
  const { image, ...rest } = entry;
  return { ...rest, imageLost: Boolean(image) || rest.imageLost };
}

/** A message that was on its way when the page was left may have arrived or not: say so. */
export function restored(entry) {
  if (entry.state !== "sending") return entry;
  return { ...entry, state: "failed", error: "The page was left before this was sent" };
}
