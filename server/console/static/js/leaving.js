// Ask before the page is left that is the phone of a call: going elsewhere would put the phone down without a word.

import { confirmed } from "./dom.js";

/** From now on; `busy()` says whether there is something to lose just now. */
export function askBeforeLeaving(busy) {
  let sure = false;
  window.addEventListener("beforeunload", (event) => {
    if (!sure && busy()) event.preventDefault();
  });
  document.addEventListener("click", async (event) => {
    const way = event.target.closest?.("a[href], #sign-out");
    const elsewhere = event.metaKey || event.ctrlKey || event.shiftKey || way?.target === "_blank" || way?.hasAttribute("download");
    if (!way || sure || elsewhere || way.getAttribute("href")?.startsWith("#") || !busy()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const leave = await confirmed("Leave the call?", "This page is the phone of the call. Without it, the call waits a few seconds for you to come back, and then ends.", "Leave", "Stay on the phone");
    if (!leave) return;
    sure = true;
    way.click();
  }, { capture: true });
}
