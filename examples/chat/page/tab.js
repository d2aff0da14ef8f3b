// This tab keeps some things over a reload: the name, the open rooms, and the messages in them without their images.

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

/** Marks a message that was on its way when the page was left. Nobody knows whether it has arrived. */
export function restored(entry) {
  if (entry.state !== "sending") return entry;
  return { ...entry, state: "failed", error: "The page was closed before this was confirmed" };
}
