"use strict";
// Sorts a table by a column when its heading is pressed, and the other way round when pressed again.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead button").forEach((button) => {
    const heading = button.parentElement, column = heading.cellIndex;
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "descending";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.sort;
      const text = (row) => row.cells[column].textContent;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x && y) return x - y;
        if (x || y) return x ? 1 : -1;
        return text(a).localeCompare(text(b), "en", { numeric: true });
      };
      const rows = [...body.rows].sort((a, b) => (down ? compare(a, b) : compare(b, a)));
      body.append(...rows);
    });
  });
}
