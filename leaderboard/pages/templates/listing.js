"use strict";
// Sorts, filters, searches and compares all rows of a board; its state lives behind the # of the address.
// Without this script the page shows its first rows, best first.
(async () => {
  const holder = document.getElementById("table");
  const source = holder.dataset.source;
  const data = source ? await (await fetch(source)).json() : JSON.parse(holder.textContent);
  const { columns, rows, shown } = data;
  const table = document.getElementById("listing");
  const body = table.tBodies[0];
  const headings = [...table.querySelectorAll("th[data-key]")];
  const place = Object.fromEntries(columns.map((column, index) => [column.key, index]));
  const named = (row) => row[place.entry];
  const text = rows.map((row) =>
    columns.flatMap(({ kind }, index) => (kind === "entry" ? row[index].slice(0, 2) : kind === "word" ? row[index] : []))
      .join("\n").toLocaleLowerCase());
  const byKey = new Map(rows.map((row) => [named(row)[2], row]));
  const state = { sort: "", search: "", ranked: false, page: 0, filters: {}, compare: [] };
  const get = (id) => document.getElementById(id);
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const drawn = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };

  const sortValue = (row, index) => {
    const cell = row[index];
    return ["entry", "word"].includes(columns[index].kind) ? cell[0] || null : cell[0];
  };
  const order = (found) => {
    if (!state.sort) return found;
    const descending = state.sort.startsWith("-");
    const index = place[state.sort.replace(/^-/, "")];
    if (index === undefined) return found;
    const sign = descending ? -1 : 1;
    return [...found].sort((one, other) => {
      const a = sortValue(rows[one], index), b = sortValue(rows[other], index);
      // What has no number stays below, whichever way the column is sorted.
      if (a === null || b === null) return (a === null) - (b === null) || one - other;
      const gap = typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0;
      return sign * gap || one - other;
    });
  };
  const chosen = () => {
    const wanted = state.search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const found = [];
    for (let number = 0; number < rows.length; number += 1) {
      const row = rows[number];
      if (state.ranked && row[place.rank][0] === null) continue;
      if (Object.entries(state.filters).some(([key, word]) => word && row[place[key]][0] !== word)) continue;
      if (wanted.every((word) => text[number].includes(word))) found.push(number);
    }
    return order(found);
  };

  const address = (pattern, names) =>
    Object.entries(names).reduce((found, [name, key]) => found.replace(`{${name}}`, encodeURIComponent(key)), pattern);
  const bar = ([value, , low, high]) => {
    const found = drawn("svg", { class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" });
    found.append(
      drawn("rect", { class: "span", x: Math.round(100 * low), y: 1, width: Math.round(100 * high - 100 * low), height: 6 }),
      drawn("rect", { class: "point", x: (98.5 * value).toFixed(1), width: 1.5, height: 8 }),
    );
    return found;
  };
  const marked = new Set(["reliable", "suspect", "invalid", "incomplete", "re-run", "re-scored", "claimed", "reference"]);
  const range = (words) => make("span", { class: "range" }, words);
  const built = ({ kind }, cell) => {
    if (kind === "entry") {
      const name = data.entry ? make("a", { href: address(data.entry, { key: cell[2] }) }, cell[0]) : cell[0];
      return make("th", { scope: "row" }, name, ...(cell[1] ? [range(cell[1])] : []));
    }
    if (kind === "word") return make("td", marked.has(cell[0]) ? { class: cell[0] } : {}, cell[0]);
    if (kind === "quality" && cell[0] !== null) {
      const value = make("span", { class: "value" }, cell[1]);
      return make("td", { class: "number" }, value, bar(cell), range(`${cell[2].toFixed(2)}\u2013${cell[3].toFixed(2)}`));
    }
    if (kind === "rank") return make("td", { class: "number rank" }, cell[1], ...(cell[2] ? [range(cell[2])] : []));
    return make("td", { class: "number" }, cell[1]);
  };
  const row = (number) => {
    const found = make("tr");
    const [name, , key] = named(rows[number]);
    if (rows.length > 1) {
      const box = make("input", { type: "checkbox", "aria-label": `compare ${name}` });
      box.checked = state.compare.includes(key);
      box.dataset.entry = key;
      box.addEventListener("change", () => pick(key, box.checked));
      found.append(make("td", { class: "pick" }, box));
    }
    found.append(...columns.map((column, index) => built(column, rows[number][index])));
    return found;
  };

  const show = () => {
    const found = chosen();
    const pages = Math.max(1, Math.ceil(found.length / shown));
    state.page = Math.min(state.page, pages - 1);
    const first = state.page * shown;
    const part = found.slice(first, first + shown);
    body.replaceChildren(...part.map(row));
    get("count").textContent = found.length > shown
      ? `${first + 1} to ${first + part.length} of ${found.length} entries`
      : found.length === rows.length ? `${rows.length} ${rows.length === 1 ? "entry" : "entries"}`
        : `${found.length} of ${rows.length} entries`;
    get("pager").hidden = pages === 1;
    get("back").disabled = state.page === 0;
    get("on").disabled = state.page === pages - 1;
    for (const heading of headings) {
      if (state.sort.replace(/^-/, "") === heading.dataset.key) {
        heading.setAttribute("aria-sort", state.sort.startsWith("-") ? "descending" : "ascending");
      } else heading.removeAttribute("aria-sort");
    }
    compare();
  };
  const compare = () => {
    const both = state.compare.filter((key) => byKey.has(key));
    const section = get("comparison");
    section.hidden = both.length < 2;
    if (both.length < 2) return;
    const [one, other] = both.map((key) => byKey.get(key));
    const inner = section.querySelector("table");
    get("comparison-note").textContent = `${named(one)[0]} and ${named(other)[0]}`;
    inner.tHead.replaceChildren(make("tr", {}, make("td"),
      ...[one, other].map((found) => make("th", { scope: "col" }, named(found)[0])), make("th", { scope: "col" }, "difference")));
    inner.tBodies[0].replaceChildren(...columns.flatMap((column, index) => {
      if (column.kind === "entry") return [];
      const [a, b] = [one[index], other[index]];
      const gap = column.kind === "quality" && a[0] !== null && b[0] !== null ? a[0] - b[0] : null;
      const signed = gap === null ? "" : `${gap < 0 ? "\u2212" : "+"}${Math.abs(gap).toFixed(2)}`;
      return [make("tr", {}, make("th", { scope: "row" }, column.label), built(column, a), built(column, b),
        make("td", { class: "number" }, signed))];
    }));
    const known = !data.pairs || both.every((key) => data.pairs.includes(key));
    const [first, second] = [...both].sort((a, b) => (a < b ? -1 : 1));
    get("comparison-link").replaceChildren(...(data.compare && known
      ? [make("a", { href: address(data.compare, { one: first, other: second }) }, "Paired differences, attack by attack")]
      : []));
  };
  const pick = (key, wanted) => {
    state.compare = [...state.compare.filter((other) => other !== key), ...(wanted ? [key] : [])].slice(-2);
    for (const box of body.querySelectorAll("input[data-entry]")) box.checked = state.compare.includes(box.dataset.entry);
    compare();
    write();
  };

  const write = () => {
    const found = new URLSearchParams();
    if (state.sort) found.set("sort", state.sort);
    if (state.search) found.set("search", state.search);
    if (state.ranked) found.set("ranked", "yes");
    if (state.page) found.set("page", String(state.page + 1));
    for (const [key, word] of Object.entries(state.filters)) if (word) found.set(key, word);
    for (const key of state.compare) found.append("compare", key);
    history.replaceState(null, "", found.size ? `#${found}` : location.pathname + location.search);
  };
  const read = () => {
    const words = location.hash.slice(1);
    if (words && !words.includes("=")) return false; // an anchor of the page
    const found = new URLSearchParams(words);
    state.sort = found.get("sort") ?? "";
    state.search = found.get("search") ?? "";
    state.ranked = found.get("ranked") === "yes";
    state.page = Math.max(0, (Number.parseInt(found.get("page") ?? "1", 10) || 1) - 1);
    state.compare = [...new Set(found.getAll("compare"))].filter((key) => byKey.has(key)).slice(-2);
    state.filters = {};
    get("search").value = state.search;
    get("ranked").checked = state.ranked;
    for (const select of document.querySelectorAll("select[data-filter]")) {
      select.value = found.get(select.dataset.filter) ?? "";
      if (select.selectedIndex < 0) select.value = "";
      state.filters[select.dataset.filter] = select.value;
    }
    return true;
  };

  const changed = () => { state.page = 0; show(); write(); };
  for (const heading of headings) {
    const button = make("button", { type: "button" });
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const key = heading.dataset.key;
      // Numbers start with the highest, ranks and names with the first.
      const starts = ["number", "quality"].includes(columns[place[key]].kind) ? `-${key}` : key;
      state.sort = state.sort === starts ? (starts === key ? `-${key}` : key) : starts;
      changed();
    });
  }
  if (rows.length > 1) {
    const label = make("th", { scope: "col", class: "pick" }, "compare");
    table.tHead.rows[0].prepend(label);
    get("controls").hidden = false;
  }
  get("controls").addEventListener("submit", (event) => event.preventDefault());
  get("controls").addEventListener("reset", () => {
    Object.assign(state, { sort: "", search: "", ranked: false, filters: {}, compare: [] });
    setTimeout(changed, 0);
  });
  get("search").addEventListener("input", (event) => { state.search = event.target.value; changed(); });
  get("ranked").addEventListener("change", (event) => { state.ranked = event.target.checked; changed(); });
  for (const select of document.querySelectorAll("select[data-filter]")) {
    select.addEventListener("change", () => { state.filters[select.dataset.filter] = select.value; changed(); });
  }
  get("back").addEventListener("click", () => { state.page -= 1; show(); write(); });
  get("on").addEventListener("click", () => { state.page += 1; show(); write(); });
  addEventListener("hashchange", () => { if (read()) show(); });
  for (const link of document.querySelectorAll('.pages a[rel="prev"], .pages a[rel="next"]')) link.hidden = true;
  if (read() || rows.length > 1) show();
})();
