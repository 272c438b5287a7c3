// Sorts and filters tables; without it the page shows all the same.
"use strict";
const shown = (table) => {
  const first = Number(table.dataset.first);
  let at = 0;
  for (const row of table.tBodies[0].rows) {
    if (!row.classList.contains("hide")) row.classList.toggle("more", first > 0 && at++ >= first);
  }
};
const key = (row, column) => {
  const cell = row.cells[column];
  const value = cell.dataset.v;
  return value === undefined ? cell.textContent : value === "" ? NaN : Number(value);
};
const compare = (a, b) => {
  if (typeof a === "string") return a.localeCompare(b);
  // What is not known comes last, whatever the direction.
  return Number.isNaN(a) || Number.isNaN(b) ? 0 : a - b;
};
for (const table of document.querySelectorAll("table[data-first]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.classList.contains("still")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [key(row, column), row]);
      const unknown = (k) => (Number.isNaN(k) ? 1 : 0);
      rows.sort(([a], [b]) => unknown(a) - unknown(b) || (up ? compare(a, b) : compare(b, a)));
      body.append(...rows.map(([, row]) => row));
      shown(table);
    });
  });
  const tools = table.closest(".scroll").previousElementSibling;
  if (!tools || !tools.classList.contains("tools")) continue;
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "search";
  label.append("Filter ", input);
  tools.prepend(label);
  input.addEventListener("input", () => {
    const text = input.value.toLowerCase();
    for (const row of table.tBodies[0].rows) {
      row.classList.toggle("hide", !row.textContent.toLowerCase().includes(text));
    }
    shown(table);
  });
}
