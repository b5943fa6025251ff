// How good the attacks are with 1 to 64 shadow models.
"use strict";

(function (mia) {
  // What the attacks reach with a number of models: [{attack, mean, low, high}], best first.
  mia.atCount = function (attacks, count) {
    return attacks
      .map((a) => ({ attack: a.name, found: a.points.find((p) => p.count === count) }))
      .filter((row) => row.found)
      .map((row) => ({ attack: row.attack, ...row.found }))
      .sort((a, b) => b.mean - a.mean);
  };

  mia.explorer("shadows", (body, data) => {
    const counts = data.counts;
    const chart = mia.chart({ width: 420, height: 300, xlim: [counts[0], counts[counts.length - 1]],
      ylim: data.ylim, xlabel: "shadow models", ylabel: "AUC", xticks: counts, yticks: data.yticks,
      log: true, label: "AUC of each attack against the number of shadow models" });
    for (const attack of data.attacks) {
      chart.svg.append(mia.line(chart, attack.points.map((p) => [p.count, p.mean]),
        { stroke: attack.colour, "stroke-dasharray": attack.dash }));
    }
    const cut = mia.element("line", { y1: chart.y(data.ylim[0]), y2: chart.y(data.ylim[1]),
      stroke: "#1f2933", "stroke-width": 1.5 });
    chart.svg.append(cut);
    chart.svg.classList.add("wide");
    const looks = Object.fromEntries(data.attacks.map((a) => [a.name, a]));
    const rows = mia.element("tbody", { "aria-live": "polite" });
    const table = mia.element("table", {}, [
      mia.element("thead", {}, [mia.element("tr", {}, ["attack", "AUC", "over targets"].map((t) =>
        mia.element("th", { scope: "col", text: t })))]), rows]);
    const draw = (i) => {
      const x = chart.x(counts[i]);
      cut.setAttribute("x1", x);
      cut.setAttribute("x2", x);
      rows.replaceChildren(...mia.atCount(data.attacks, counts[i]).map((row) =>
        mia.element("tr", {}, [
          mia.element("th", { scope: "row" }, [mia.swatch(looks[row.attack]), ` ${row.attack}`]),
          mia.element("td", { class: "number", text: row.mean.toFixed(3) }),
          mia.element("td", { class: "number", text: `${row.low.toFixed(3)} to ${row.high.toFixed(3)}` }),
        ])));
    };
    const slider = mia.slider({ label: "shadow models", min: 0, max: counts.length - 1, step: 1, value: 3,
      show: (i) => `${counts[i]}`, change: draw });
    body.append(
      mia.element("div", { class: "explorer-panels" }, [chart.svg, table]),
      mia.element("div", { class: "explorer-controls" }, [slider.node]),
    );
    draw(3);
  });
})((globalThis.mia = globalThis.mia || {}));
