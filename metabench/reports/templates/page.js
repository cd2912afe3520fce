"use strict";
// Sorting, searching and filtering of the page's tables. Without it the page is whole.
(() => {
  const MISSING = "—";
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // What a cell is sorted by: its data-sort, else its words. "" is missing.
  const key = (row, column) => {
    const cell = row.cells[column];
    const value = cell ? (cell.dataset.sort ?? cell.textContent.trim()) : "";
    return value === MISSING ? "" : value;
  };
  const isNumber = (value) => value !== "" && !Number.isNaN(Number(value));
  const compare = (a, b) =>
    isNumber(a) && isNumber(b)
      ? Number(a) - Number(b)
      : a.localeCompare(b, "en", { numeric: true });

  const sortable = (table) => {
    const heads = all("thead th", table);
    // Each body is sorted by itself: tracks are never mixed. A body's title stays on top.
    const bodies = all("tbody", table).map((body) => ({
      body,
      rows: [...body.rows].filter((row) => !row.classList.contains("track")),
    }));
    const sort = (column, direction) => {
      const sign = direction === "descending" ? -1 : 1;
      for (const { body, rows } of bodies) {
        const keyed = rows.map((row) => [key(row, column), row]);
        if (direction !== "none") {
          keyed.sort(([a], [b]) => {
            if (a === "" || b === "") return (a === "") - (b === "");
            return sign * compare(a, b);
          });
        }
        body.append(...keyed.map(([, row]) => row));
      }
    };
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      const numeric = bodies.some(({ rows }) => rows.some((row) => isNumber(key(row, column))));
      const first =
        head.dataset.first ??
        (numeric && !head.textContent.includes("↓") ? "descending" : "ascending");
      const second = first === "ascending" ? "descending" : "ascending";
      const next = { none: first, [first]: second, [second]: "none" };
      button.addEventListener("click", () => {
        const direction = next[head.getAttribute("aria-sort")];
        for (const other of heads) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", direction);
        sort(column, direction);
      });
    });
  };

  const filterable = (tools) => {
    const search = tools.querySelector("input");
    const selects = all("select", tools);
    const status = tools.querySelector("output");
    const rows = all("[data-learner]");
    const learners = new Set(rows.map((row) => row.dataset.learner)).size;
    const words = new Map(
      rows.map((row) => [row, `${row.dataset.learner} ${row.textContent}`.toLowerCase()]),
    );
    const apply = () => {
      const wanted = search.value.trim().toLowerCase();
      const shown = new Set();
      for (const row of rows) {
        const fits =
          words.get(row).includes(wanted) &&
          selects.every(({ name, value }) => value === "" || row.dataset[name] === value);
        row.hidden = !fits;
        if (fits) shown.add(row.dataset.learner);
      }
      for (const title of all("tr.track")) {
        const own = all("[data-learner]", title.parentElement);
        title.hidden = own.length > 0 && own.every((row) => row.hidden);
      }
      const count = shown.size;
      status.textContent =
        count === learners ? `${learners} learners` : `${count} of ${learners} learners`;
    };
    search.addEventListener("input", apply);
    for (const select of selects) select.addEventListener("change", apply);
    tools.hidden = false;
    apply();
  };

  all("table.sortable").forEach(sortable);
  all(".tools").forEach(filterable);
})();
