// The region that (epsilon, delta)-differential privacy leaves to an ROC curve, over measured curves.
"use strict";

(function (mia) {
  const DELTA = 1e-5, STEPS = 200;

  // Area under the bound: no attack can have a larger AUC.
  mia.largestAuc = function (epsilon, delta, steps = STEPS * 10) {
    let area = 0;
    for (let i = 0; i < steps; i++) {
      const a = mia.dpCurve(i / steps, epsilon, delta), b = mia.dpCurve((i + 1) / steps, epsilon, delta);
      area += (a + b) / (2 * steps);
    }
    return area;
  };

  // No attack can be right more often, if half of the records are members.
  mia.largestAccuracy = (epsilon, delta) => (Math.exp(epsilon) + delta) / (1 + Math.exp(epsilon));

  mia.explorer("epsilon", (body, data) => {
    const chart = mia.chart({ width: 340, height: 320, xlim: [0, 1], ylim: [0, 1],
      xlabel: "false positive rate", ylabel: "true positive rate", xticks: [0, 0.5, 1],
      yticks: [0, 0.5, 1], label: "The region that a private model leaves to an attack" });
    const region = mia.element("path", { fill: "#0072b2", "fill-opacity": 0.15, stroke: "#0072b2" });
    chart.svg.append(region,
      mia.line(chart, [[0, 0], [1, 1]], { stroke: "#77808a", "stroke-dasharray": "4 3", "stroke-width": 1 }));
    for (const curve of data.curves) {
      chart.svg.append(mia.line(chart, curve.points, { stroke: curve.colour, "stroke-dasharray": curve.dash }));
    }
    const numbers = mia.numbers(["members found at 1 % false alarms, at most", "AUC, at most",
      "accuracy, at most"]);
    const draw = (epsilon) => {
      const top = [], bottom = [];
      for (let i = 0; i <= STEPS; i++) {
        const f = i / STEPS, t = mia.dpCurve(f, epsilon, DELTA);
        top.push(`${chart.x(f).toFixed(1)} ${chart.y(t).toFixed(1)}`);
        bottom.push(`${chart.x(1 - f).toFixed(1)} ${chart.y(1 - t).toFixed(1)}`);
      }
      region.setAttribute("d", `M${top.join("L")}L${bottom.join("L")}Z`);
      numbers.show("members found at 1 % false alarms, at most", mia.percent(mia.dpCurve(0.01, epsilon, DELTA)));
      numbers.show("AUC, at most", mia.largestAuc(epsilon, DELTA).toFixed(3));
      numbers.show("accuracy, at most", mia.percent(mia.largestAccuracy(epsilon, DELTA)));
    };
    const slider = mia.slider({ label: "epsilon", min: -2, max: 3, step: 0.05, value: 0,
      show: (v) => Math.exp(v).toFixed(2), change: (v) => draw(Math.exp(v)) });
    const legend = mia.element("ul", { class: "explorer-legend" }, data.curves.map((c) =>
      mia.element("li", {}, [mia.swatch(c), ` ${c.name}`])));
    body.append(
      mia.element("div", { class: "explorer-panels" }, [chart.svg,
        mia.element("div", {}, [legend, numbers.node])]),
      mia.element("div", { class: "explorer-controls" }, [slider.node]),
    );
    draw(1);
  });
})((globalThis.mia = globalThis.mia || {}));
