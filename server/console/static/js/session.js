// Who is signed in. The token is kept for this tab only, and goes with it.

const TOKEN = "callmeback.token";
const USER = "callmeback.user";

export const token = () => sessionStorage.getItem(TOKEN);

/** What the server said of the account when it was last asked; null when nobody is signed in. */
export const user = () => JSON.parse(sessionStorage.getItem(USER) ?? "null");

export function signedIn(answer) {
  sessionStorage.setItem(TOKEN, answer.token);
  know(answer.user);
}

export function know(account) {
  sessionStorage.setItem(USER, JSON.stringify(account));
}

export function forget() {
  sessionStorage.removeItem(TOKEN);
  sessionStorage.removeItem(USER);
}

/** To the sign-in page, and back here afterwards. `ended`: there was a session, which holds no more. */
export function toSignIn({ ended = false } = {}) {
  forget();
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}${ended ? "&ended" : ""}`);
}

/**
 * Where to go after signing in: a path of this site, whatever the address says. Browsers read "\" as "/" and drop tabs
 * and newlines, so that "/<tab>/elsewhere.example" would be another site.
 */
export function next() {
  const wanted = new URLSearchParams(location.search).get("next") ?? "/";
  return /^\/(?!\/)[^\\\s]*$/.test(wanted) ? wanted : "/";
}
