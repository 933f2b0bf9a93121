// What time it is by the server's clock, which its moments are of: the one of this machine may be wrong.

const EXACT_MS = 2000; // what the server says is a second and the way here old

let ahead = 0;

/** An answer that the server has just given. */
export function toldBy(response) {
  const said = Date.parse(response.headers.get("date"));
  if (Number.isNaN(said)) return;
  const difference = said - Date.now();
  ahead = Math.abs(difference) > EXACT_MS ? difference : 0;
}

/** Milliseconds, as `Date.now()` has them. */
export const now = () => Date.now() + ahead;
