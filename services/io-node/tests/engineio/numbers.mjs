// The stock JavaScript client: `node numbers.mjs URL TRANSPORT`. It takes numbers until "end" comes, and comes back
// whenever its connection ends. Then it prints the numbers, and the reasons for which it was disconnected, as JSON.
// It ends with its stdin, too.

import { io } from "socket.io-client";

const [url, transport] = process.argv.slice(2);
const socket = io(url, { transports: [transport], reconnectionDelay: 20, reconnectionDelayMax: 20 });
const numbers = [];
const reasons = [];

socket.on("number", (number) => numbers.push(number));
socket.on("disconnect", (reason) => reasons.push(reason));
socket.on("end", () => {
  console.log(JSON.stringify({ numbers, reasons }));
  process.exit(0);
});
process.stdin.on("end", () => process.exit(1)).resume();
