"use strict";
// The page reads well without this script: it only adds a search box and sortable headers.
(function () {
  function words(text) {
    return text.toLowerCase().split(/\s+/).filter(Boolean);
  }

  function ownText(node) {
    const parts = Array.from(node.children).filter((part) => part.tagName !== "DETAILS"); // scores name other classes
    return parts.map((part) => part.textContent).join(" ");
  }

  function addSearch() {
    const form = document.getElementById("search");
    const box = document.getElementById("query");
    const told = document.getElementById("matches");
    const items = Array.from(document.querySelectorAll("table.sortable > tbody > tr, article.case"), (node) => ({
      node,
      text: ownText(node).toLowerCase(),
    }));
    function filter() {
      const asked = words(box.value);
      let rows = 0;
      let cards = 0;
      for (const { node, text } of items) {
        const found = asked.every((word) => text.includes(word));
        node.hidden = !found;
        if (found && node.tagName === "TR") rows += 1;
        if (found && node.tagName === "ARTICLE") cards += 1;
      }
      told.textContent = asked.length ? rows + " rows and " + cards + " records match" : "";
    }
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    box.addEventListener("input", filter);
    filter();
  }

  function compare(one, other) {
    if (one === "" || other === "") return one === other ? 0 : one === "" ? 1 : -1; // nothing known: always last
    return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
  }

  function key(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value;
    return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
  }

  function sort(table, column, header) {
    const down = header.getAttribute("aria-sort") === "ascending";
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row, place) => ({ row, place, key: key(row, column) }));
    rows.sort((a, b) => {
      const known = a.key !== "" && b.key !== "";
      return (down && known ? -1 : 1) * compare(a.key, b.key) || a.place - b.place;
    });
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows.map((each) => each.row));
  }

  function addSorting() {
    for (const table of document.querySelectorAll("table.sortable")) {
      Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...header.childNodes);
        button.addEventListener("click", () => sort(table, column, header));
        header.append(button);
      });
    }
  }

  addSorting();
  addSearch();
})();
