// Tables sort by a click on a heading: first downwards, then upwards. Rows without a value stay at the end.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rank = (a, b) => {
        const [x, y] = [a, b].map((row) => row.cells[column].dataset.value);
        if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
        const order = column === 0 ? y.localeCompare(x) : y - x;
        return up ? -order : order;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(rank));
    });
  });
}
