// Makes an image ready to send. The application takes at most 700 KB, so a larger image is scaled down here.

const MAX_BYTES = 700_000;
const TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/** Resolves to {bytes, type, width, height}. Throws an Error whose message can be shown to the person. */
export async function readyImage(file) {
  if (!TYPES.includes(file.type)) throw new Error("Only PNG, JPEG, GIF and WebP images can be sent");
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (bitmap === null) throw new Error("This image cannot be read");
  try {
    if (file.size <= MAX_BYTES) {
      return { bytes: await file.arrayBuffer(), type: file.type, width: bitmap.width, height: bitmap.height };
    }
    if (file.type === "image/gif") throw new Error("A GIF can have 700 KB at most");
    return await shrunk(bitmap);
  } finally {
    bitmap.close();
  }
}

async function shrunk(bitmap) {
  let scale = Math.min(1, 1920 / Math.max(bitmap.width, bitmap.height));
  for (; scale > 0.02; scale *= 0.75) {
    const width = Math.max(1, Math.round(bitmap.width * scale));
    const height = Math.max(1, Math.round(bitmap.height * scale));
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, width, height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/webp", 0.86));
    if (blob && blob.size <= MAX_BYTES) return { bytes: await blob.arrayBuffer(), type: blob.type, width, height };
  }
  throw new Error("This image is too large");
}
