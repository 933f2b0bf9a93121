// A form that is sent: it cannot be sent twice, and what the server finds wrong stands under the field it is about.

import { Problem } from "./api.js";
import { busy, clearNotices, mark, unmark } from "./dom.js";
import { tell } from "./shell.js";

/** Does `work` for the form; what was told before is over then. `faults` says which of the form's fields a problem is about, where they have other names. */
export async function attemptIn(form, work, faults = (problem) => problem.errors) {
  clearNotices();
  unmark(form);
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const found = faults(error);
    if (!found.length || !mark(form, found)) tell(error);
  }
}

/** Does `work` when the form is sent; `button` shows that it is under way. */
export function whenSent(form, button, work, faults) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(button, () => attemptIn(form, work, faults));
  });
}
