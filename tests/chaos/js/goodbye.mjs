// How a client leaves for good, when its process ends soon after.

const LONGEST_MS = 5000; // for one whose network does not answer

// Disconnects, and waits until the server has the goodbye. By polling that is a request of its own, which gets lost with
// the process; the client would count as one that may come back. The engine closes once the request is answered.
export async function goodbye(socket) {
  const engine = socket.io.engine;
  socket.disconnect();
  if (!engine || engine.readyState === "closed") return;
  await new Promise((resolve) => {
    engine.once("close", resolve);
    setTimeout(resolve, LONGEST_MS);
  });
}
