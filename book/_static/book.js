// What every page does after it is read: formulas, and boxes that scroll by keyboard.
"use strict";

// A line may end before or after a formula, and its full stop would begin the next one.
function keepMarks(formula) {
  const [before, after] = [formula.previousSibling, formula.nextSibling];
  const opened = before?.nodeType === Node.TEXT_NODE ? before.data.match(/[([“‘]+$/) : null;
  const closed = after?.nodeType === Node.TEXT_NODE ? after.data.match(/^[.,;:!?)\]”’]+/) : null;
  if (!opened && !closed) return;
  const line = document.createElement("span");
  line.className = "with-marks";
  formula.replaceWith(line);
  line.append(opened?.[0] ?? "", formula, closed?.[0] ?? "");
  if (opened) before.data = before.data.slice(0, opened.index);
  if (closed) after.data = after.data.slice(closed[0].length);
}

function drawFormulas(root) {
  for (const inline of root.querySelectorAll("span.math")) {
    katex.render(inline.textContent, inline, { throwOnError: false });
    keepMarks(inline);
  }
  for (const block of root.querySelectorAll("div.math > .tex")) {
    katex.render(block.textContent, block, { displayMode: true, throwOnError: false });
  }
}

// A box that scrolls must be reached by Tab, and a table that does says so (book.css).
function makeScrollable(root) {
  const boxes = root.querySelectorAll("div.math, .cell_output, pre, table, .table-scroll");
  for (const box of boxes) {
    const scrolls = box.scrollWidth > box.clientWidth + 1;
    box.classList.toggle("scrolls", scrolls);
    if (scrolls) {
      box.tabIndex = 0;
    } else {
      box.removeAttribute("tabindex");
    }
  }
}

// A term of the glossary explains itself where it stands, by mouse, finger and keyboard.
function explainTerms(root) {
  const card = document.createElement("div");
  card.className = "term-card";
  card.id = "term-card";
  card.setAttribute("role", "tooltip");
  card.hidden = true;
  document.body.append(card);
  const hide = () => { card.hidden = true; };
  for (const link of root.querySelectorAll("a[data-card]")) {
    link.classList.add("term-link");
    link.setAttribute("aria-describedby", card.id);
    const show = () => {
      card.textContent = link.dataset.card;
      card.hidden = false;
      const box = link.getBoundingClientRect();
      const left = Math.min(box.left, document.documentElement.clientWidth - card.offsetWidth - 8);
      card.style.left = `${Math.max(8, left) + window.scrollX}px`;
      card.style.top = `${box.bottom + window.scrollY + 6}px`;
    };
    link.addEventListener("mouseenter", show);
    link.addEventListener("focus", show);
    link.addEventListener("mouseleave", hide);
    link.addEventListener("blur", hide);
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
}

// From a file the excerpts of the search cannot be fetched: say so, and show titles alone.
function searchWithoutServer() {
  if (location.protocol !== "file:" || typeof DOCUMENTATION_OPTIONS === "undefined") return;
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  const results = document.getElementById("search-results");
  if (results) {
    const note = document.createElement("p");
    note.className = "search-note";
    note.textContent = "Opened from a file: pages that match are named; excerpts need a server "
      + "(python -m http.server in this folder).";
    results.before(note);
  }
}

// On paper everything is open: solutions, folded cells, dropdowns.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.dataset.opened = "print";
  }
  for (const image of document.querySelectorAll("img[loading=lazy]")) image.loading = "eager";
});
window.addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-opened]")) details.open = false;
});

document.addEventListener("DOMContentLoaded", () => {
  drawFormulas(document);
  explainTerms(document);
  searchWithoutServer();
  makeScrollable(document);
  document.fonts.ready.then(() => makeScrollable(document)); // formulas change their widths
  window.addEventListener("resize", () => makeScrollable(document));
  document.addEventListener("toggle", () => makeScrollable(document), true); // what was folded
});
