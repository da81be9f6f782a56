"use strict";
// Without this script the page is complete, only unsorted: the buttons are made here.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.querySelectorAll("th[data-column]")];
  for (const heading of headings) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const column = Number(heading.dataset.column);
      const next = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      const sign = next === "ascending" ? 1 : -1;
      const key = (row) => row.cells[column].dataset.value ?? "";
      const rows = [...body.rows].map((row) => ({ row, text: key(row) }));
      rows.sort((one, other) => {
        // What has no number stays below, whichever way the column is sorted.
        if (one.text === "" || other.text === "") return (one.text === "") - (other.text === "");
        const gap = Number(one.text) - Number(other.text);
        return sign * (Number.isNaN(gap) ? one.text.localeCompare(other.text) : gap);
      });
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", next);
      body.append(...rows.map(({ row }) => row));
    });
  }
}
