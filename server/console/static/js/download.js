// A file of mine, onto this machine: fetched with the session's token, which no link could carry.

import { file } from "./api.js";
import { h } from "./dom.js";

const SAVED_MS = 10_000; // by when the browser has begun to write it

/** `name`: what it is saved as. */
export async function download(path, name) {
  const address = URL.createObjectURL(await file(path));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), SAVED_MS);
}
