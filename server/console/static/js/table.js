// Figures in rows: a table on a wide screen, a list of cards on a narrow one. Roles are said, for styles take them away.

import { busy, h } from "./dom.js";
import { attempt } from "./shell.js";

/**
 * `columns`: [heading, "num" or nothing]; `rows`: arrays of cells as long, `add` adds more. `caption` is its name for who does not see it.
 */
export function table(caption, columns, rows) {
  const body = h("tbody", { role: "rowgroup" });
  const element = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, h("table", { class: "stacked", role: "table", "aria-label": caption },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...columns.map(([name, kind]) => h("th", { scope: "col", role: "columnheader", class: kind ?? null }, name)))),
    body));
  const add = (more) => body.append(...more.map((row) => h("tr", { role: "row" }, ...row.map((cell, index) =>
    h("td", { role: "cell", class: columns[index][1] ?? null, "data-label": columns[index][0] }, h("span", {}, ...[cell].flat()))))));
  add(rows);
  return { element, add };
}

/**
 * A list that is fetched part by part: `fetched(cursor)` gives `{items, next_cursor}`, `show(items)` puts them on the page.
 * Resolves to the number of the first ones and the button for more, which fetches each part once however often it is pressed.
 */
export async function partByPart(words, fetched, show) {
  let cursor = null;
  const more = h("button", { type: "button", class: "second" }, words);
  const load = async () => {
    const found = await fetched(cursor);
    show(found.items);
    cursor = found.next_cursor;
    more.hidden = cursor === null;
    return found.items.length;
  };
  more.addEventListener("click", () => busy(more, () => attempt(load)));
  return { number: await load(), more: h("div", { class: "actions" }, more) };
}
