// Everybody who can call. There is always somebody, unless the operator took them all away.

import { all, Problem } from "./api.js";

/** Raises `Problem` where there is nobody. */
export async function allPersonas() {
  const found = await all("/api/personas");
  if (found.length === 0) throw new Problem(404, { detail: "There are no personas, so nobody can call. The operator imports some with: callmeback personas import" });
  return found;
}
