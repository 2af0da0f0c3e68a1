// Tables sort by a click on a heading: first downwards, then upwards. Rows without a value stay at the end.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("[role=button]");
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      button.click();
    });
    button.addEventListener("click", () => {
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

// The list of tables is open where there is room for it.
const list = document.querySelector("nav details");
list.open = matchMedia("(min-width: 60rem)").matches;

// The filter keeps the rows whose label has the text, and the tables that have such a row or such a title.
const filter = document.querySelector(".filter"), tables = [...document.querySelectorAll(".table")];
filter.hidden = false;
filter.querySelector("input").addEventListener("input", ({ target }) => {
  const wanted = target.value.trim().toLowerCase();
  const has = (element) => element.textContent.toLowerCase().includes(wanted);
  let shown = 0;
  for (const table of tables) {
    const all = has(table.querySelector("caption")), rows = [...table.querySelectorAll("tbody tr")];
    for (const row of rows) row.hidden = !(all || has(row.cells[0]));
    table.hidden = rows.length > 0 && rows.every((row) => row.hidden);
    shown += !table.hidden;
  }
  filter.querySelector("[role=status]").textContent = wanted ? ` ${shown} of ${tables.length} tables` : "";
});

// Each button copies the text of the template that follows it. A page from a file may lack the clipboard.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
for (const button of document.querySelectorAll(".copies button")) {
  button.addEventListener("click", async () => {
    const done = await copy(button.nextElementSibling.content.textContent);
    const status = button.parentElement.querySelector("[role=status]");
    status.textContent = done ? `copied as ${button.textContent}` : "the browser does not allow it";
    setTimeout(() => { status.textContent = ""; }, 3000);
  });
}

// A table that is wider than the page shows that there is more.
const cue = (scroll) => {
  const more = scroll.scrollWidth - scroll.clientWidth - scroll.scrollLeft > 4;
  scroll.parentElement.classList.toggle("more", more);
};
const watched = new ResizeObserver((entries) => entries.forEach(({ target }) => cue(target)));
for (const scroll of document.querySelectorAll(".scroll")) {
  scroll.addEventListener("scroll", () => cue(scroll), { passive: true });
  watched.observe(scroll);
  cue(scroll);
}
