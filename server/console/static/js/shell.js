// What every page begins with: theme, menu, session. `page(render)` is the only thing a page calls.

import { get, post, Problem } from "./api.js";
import { clearNotices, content, fill, h, notice, sentence } from "./dom.js";
import { tellMissed } from "./missed.js";
import { forget, know, token, toSignIn, user } from "./session.js";

const THEME = "callmeback.theme"; // shown by theme.js before anything else

function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function showTheme() {
  const button = document.getElementById("theme");
  button.setAttribute("aria-label", dark() ? "Use the light colours" : "Use the dark colours");
  button.textContent = dark() ? "☀" : "☾";
}

function themes() {
  showTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
  document.getElementById("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    localStorage.setItem(THEME, document.documentElement.dataset.theme);
    showTheme();
  });
}

async function signOut() {
  try {
    await post("/api/auth/logout");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
  forget();
  location.assign("/login");
}

function showMenu(account) {
  const menu = document.getElementById("menu");
  menu.hidden = false;
  document.getElementById("operator-entry").hidden = account.role !== "admin";
  menu.scrollLeft = (menu.querySelector("[aria-current]")?.offsetLeft ?? 0) - menu.offsetLeft;
  const out = document.getElementById("sign-out");
  out.hidden = false;
  out.addEventListener("click", signOut);
}

/** The account as it is now: its name, zone, phone and role may be others since the last page. */
async function account() {
  try {
    const found = await get("/api/me");
    know(found);
    return found;
  } catch (error) {
    // What was known shows the page, until the server can be asked again.
    const passing = error instanceof Problem && (error.status === 0 || error.status >= 500);
    if (passing && user() !== null) return user();
    throw error;
  }
}

/** Going back brings a page as it was left: whoever signed out since does not see it. */
function guard() {
  const whose = token();
  addEventListener("pageshow", (event) => {
    if (event.persisted && token() !== whose) location.reload();
  });
}

/** Theme and menu for a page that was made on the server, which is there for everybody: with a session that has ended, too. */
export async function furnish() {
  themes();
  if (token() === null) return;
  try {
    showMenu(await get("/api/me", { open: true, headers: { authorization: `Bearer ${token()}` } }));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
}

/** The last part of this page's address: the id in `/calls/{id}`. */
export const ident = () => decodeURIComponent(location.pathname.split("/").filter(Boolean).at(-1));

/** Say what went wrong, in words that tell what to do. */
export function tell(error) {
  if (!(error instanceof Problem)) throw error;
  const faults = error.errors.map(({ field, message }) => `${field.split(".").at(-1).replaceAll("_", " ")}: ${sentence(message)}`);
  return notice("bad", [error.words, ...faults].join(" "));
}

/** Show the page: `render(root, account)` builds it. `open` pages need nobody signed in. */
export async function page(render, { open = false } = {}) {
  themes();
  const root = content();
  if (!open && token() === null) {
    toSignIn();
    return;
  }
  guard();
  try {
    const mine = open ? null : await account();
    if (mine !== null) {
      showMenu(mine);
      attempt(() => tellMissed(mine), { beside: true });
    }
    await render(root, mine);
  } catch (error) {
    if (!(error instanceof Problem)) {
      fill(root, h("p", { class: "notice bad" }, "Something in this page failed. Reload it; if that does not help, tell the operator."));
      throw error;
    }
    if (error.status === 401 && !open) return;
    fill(root, h("p", { class: "notice bad" }, error.words), h("button", { type: "button", onclick: () => location.reload() }, "Try again"));
  }
}

/**
 * Run an action of the page; what it raises is told. Returns what it returned, or undefined. What was told before is
 * over then, unless `beside`: the page did it by itself.
 */
export async function attempt(action, { beside = false } = {}) {
  if (!beside) clearNotices();
  try {
    return await action();
  } catch (error) {
    tell(error);
    return undefined;
  }
}
