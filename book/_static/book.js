// What every page does after it is read: formulas, and boxes that scroll by keyboard.
"use strict";

function drawFormulas(root) {
  for (const inline of root.querySelectorAll("span.math")) {
    katex.render(inline.textContent, inline, { throwOnError: false });
  }
  for (const block of root.querySelectorAll("div.math > .tex")) {
    katex.render(block.textContent, block, { displayMode: true, throwOnError: false });
  }
}

// A box that scrolls must be reached by Tab, and say what it is.
function makeScrollable(root) {
  const boxes = root.querySelectorAll("div.math, .cell_output, pre, .table-scroll");
  for (const box of boxes) {
    if (box.scrollWidth > box.clientWidth + 1) {
      box.tabIndex = 0;
    } else {
      box.removeAttribute("tabindex");
    }
  }
}

document.addEventListener("DOMContentLoaded", () => {
  drawFormulas(document);
  makeScrollable(document);
  window.addEventListener("resize", () => makeScrollable(document));
});
