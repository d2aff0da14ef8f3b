// The field where a message is written. It takes text, an image, or both. An image comes from the button, the clipboard
// or a drop.

import { byId } from "./elements.js";
import { readyImage } from "./images.js";

const MAX_CHARS = 2000;
const TYPING_MS = 2500;

/** Calls `send({text, image})` for a message, `typing(bool)` when typing begins or ends, `problem(text)` for an image that
 *  cannot be sent. */
export function openComposer({ send, typing, problem }) {
  const text = byId("text");
  let image = null;
  let typingEnds = null;

  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!sendable()) return;
    send({ text: text.value.trim(), image });
    text.value = "";
    setImage(null);
    stopTyping();
    refresh();
    text.focus();
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return; // composing: Enter picks a character
    event.preventDefault();
    byId("composer").requestSubmit();
  });
  text.addEventListener("input", () => {
    refresh();
    if (text.value.trim()) startTyping();
    else stopTyping();
  });
  text.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    take(file);
  });
  byId("attach").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", () => {
    const [file] = byId("file").files;
    if (file) take(file);
    byId("file").value = "";
  });
  byId("preview-remove").addEventListener("click", () => { setImage(null); text.focus(); });
  listenToDrops(take);

  async function take(file) {
    try {
      setImage({ ...(await readyImage(file)), name: file.name });
      text.focus();
    } catch (error) {
      problem(error.message);
    }
  }

  function setImage(next) {
    if (image && !next) byId("preview-image").removeAttribute("src");
    image = next;
    byId("preview").hidden = !image;
    if (image) {
      image.url = URL.createObjectURL(new Blob([image.bytes], { type: image.type }));
      byId("preview-image").src = image.url;
      byId("preview-text").textContent = `${image.name || "Image"} · ${Math.max(1, Math.round(image.bytes.byteLength / 1000))} KB`;
    }
    refresh();
  }

  /** Counts as the application does, in Unicode characters. JavaScript's own `length` counts most emoji twice. */
  const length = () => [...text.value.trim()].length;
  const sendable = () => length() <= MAX_CHARS && (length() > 0 || image !== null);

  function refresh() {
    byId("send").disabled = !sendable();
    text.style.height = "0";
    text.style.height = `${Math.max(38, Math.min(170, text.scrollHeight))}px`;
    text.style.overflowY = text.scrollHeight > 170 ? "auto" : "hidden";
    const left = MAX_CHARS - length();
    byId("count").textContent = left < 200 ? left : "";
    byId("count").classList.toggle("over", left < 0);
  }

  function startTyping() {
    if (typingEnds === null) typing(true);
    clearTimeout(typingEnds);
    typingEnds = setTimeout(stopTyping, TYPING_MS);
  }

  function stopTyping() {
    if (typingEnds === null) return;
    clearTimeout(typingEnds);
    typingEnds = null;
    typing(false);
  }

  return {
    focus: () => text.focus(),
    inRoom(room) {
      stopTyping();
      text.placeholder = `Message #${room}`;
    },
    hasImage: () => image !== null,
    dropImage: () => setImage(null),
  };
}

function listenToDrops(take) {
  const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  let depth = 0; // dragenter and dragleave come once for each element under the mouse
  const show = (change) => {
    depth = Math.max(0, depth + change);
    byId("drop").hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => { if (carriesFile(event)) show(1); });
  addEventListener("dragleave", (event) => { if (carriesFile(event)) show(-1); });
  addEventListener("dragover", (event) => { if (carriesFile(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    show(-depth);
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}
