// What time it is by the server's clock, which its moments are of: the one of this machine may be wrong.

const EXACT_MS = 2000; // what the server says is a second old

let ahead = 0;

/** An answer to what was asked at that moment of this machine's: given at any time since, however long it was on its way. */
export function toldBy(response, asked) {
  const said = Date.parse(response.headers.get("date"));
  if (Number.isNaN(said)) return;
  const agrees = asked - EXACT_MS < said && said < Date.now() + EXACT_MS;
  ahead = agrees ? 0 : said - Date.now();
}

/** Milliseconds, as `Date.now()` has them. */
export const now = () => Date.now() + ahead;
