// One photograph under every attack, and under models that held it or did not.
"use strict";

(function (mia) {
  const MEMBER = "#0072b2", NONMEMBER = "#d55e00", INK = "#1f2933";

  // Marks of the margins: models with the photograph above, without it below, the target as a line.
  function strip(photo) {
    const all = [...photo.with, ...photo.without, photo.margin];
    const low = Math.floor(Math.min(...all)) - 1, high = Math.ceil(Math.max(...all)) + 1;
    const step = Math.max(1, Math.round((high - low) / 5));
    const ticks = [];
    for (let t = Math.ceil(low / step) * step; t <= high; t += step) ticks.push(t);
    const chart = mia.chart({ width: 340, height: 130, xlim: [low, high], ylim: [0, 3],
      xlabel: "margin", ylabel: "", xticks: ticks, yticks: [],
      label: `Margins: ${photo.with.length} models trained with it, ${photo.without.length} without` });
    const dots = (values, y, colour) => values.map((v) => mia.element("circle", {
      cx: chart.x(v), cy: chart.y(y), r: 5, fill: colour, "fill-opacity": 0.7 }));
    chart.svg.append(...dots(photo.with, 2, MEMBER), ...dots(photo.without, 1, NONMEMBER),
      mia.element("line", { x1: chart.x(photo.margin), x2: chart.x(photo.margin), y1: chart.y(0),
        y2: chart.y(3), stroke: INK, "stroke-width": 2 }));
    return chart.svg;
  }

  mia.standing = (share) => `above ${Math.round(100 * share)} % of the non-members`;

  mia.explorer("records", (body, data) => {
    const detail = mia.element("div", { class: "explorer-detail", "aria-live": "polite" });
    const buttons = data.photographs.map((photo, i) => mia.element("button", {
      type: "button", "aria-pressed": "false", onclick: () => choose(i) }, [
      mia.element("img", { src: photo.photograph, width: 48, height: 48,
        alt: `photograph ${i + 1}: ${photo.class}` })]));
    function choose(i) {
      const photo = data.photographs[i];
      buttons.forEach((b, j) => b.setAttribute("aria-pressed", String(i === j)));
      const rows = Object.entries(photo.scores).map(([attack, [share, accused]]) =>
        mia.element("tr", {}, [
          mia.element("th", { scope: "row", text: attack }),
          mia.element("td", { text: mia.standing(share) }),
          mia.element("td", { class: accused === photo.member ? "verdict-yes" : "verdict-no",
            text: accused ? "accused" : "not accused" }),
        ]));
      detail.replaceChildren(
        mia.element("p", {}, [
          mia.element("strong", { text: photo.member ? "A member. " : "Not a member. " }),
          `The model's answer: ${photo.answers.map(([c, p]) => `${c} ${mia.percent(p)}`).join(", ")}.`]),
        strip(photo),
        mia.element("p", { class: "explorer-key", text:
          "Dots: models trained with the photograph (blue, above) and without it (orange, below). " +
          "Line: the model under attack." }),
        mia.element("table", {}, [
          mia.element("thead", {}, [mia.element("tr", {}, ["attack", "its score",
            `at ${mia.percent(data.fpr, 0)} false alarms`].map((t) =>
            mia.element("th", { scope: "col", text: t })))]),
          mia.element("tbody", {}, rows)]),
      );
    }
    body.append(mia.element("div", { class: "explorer-photos", role: "group",
      "aria-label": "Photographs" }, buttons), detail);
    choose(0);
  });
})((globalThis.mia = globalThis.mia || {}));
