// Drag a threshold over two histograms: the point moves on the ROC curve, the rates follow.
"use strict";

(function (mia) {
  const MEMBER = "#0072b2", NONMEMBER = "#d55e00", INK = "#1f2933";

  function bars(chart, counts, edges, colour) {
    const all = counts.reduce((a, b) => a + b, 0);
    let d = "";
    counts.forEach((count, i) => {
      const top = chart.y(count / all).toFixed(1), base = chart.y(0).toFixed(1);
      d += `M${chart.x(edges[i]).toFixed(1)} ${base}V${top}H${chart.x(edges[i + 1]).toFixed(1)}V${base}Z`;
    });
    return mia.element("path", { d, fill: colour, "fill-opacity": 0.5 });
  }

  mia.explorer("threshold", (body, data) => {
    const { edges, members, nonmembers } = data;
    const bins = members.length;
    const total = (counts) => counts.reduce((a, b) => a + b, 0);
    const highest = Math.max(...members.map((c) => c / total(members)),
      ...nonmembers.map((c) => c / total(nonmembers)));
    const left = mia.chart({ width: 340, height: 260, xlim: [edges[0], edges[bins]],
      ylim: [0, 1.05 * highest], xlabel: data.score, ylabel: "share of the group",
      xticks: data.ticks, yticks: [], label: "Histograms of members and non-members" });
    const right = mia.chart({ width: 280, height: 260, xlim: [0, 1], ylim: [0, 1],
      xlabel: "false positive rate", ylabel: "true positive rate", xticks: [0, 0.5, 1],
      yticks: [0, 0.5, 1], label: "ROC curve with the point of the threshold" });
    left.svg.append(bars(left, nonmembers, edges, NONMEMBER), bars(left, members, edges, MEMBER));
    const cut = mia.element("line", { y1: left.y(0), y2: left.y(1.05 * highest), stroke: INK,
      "stroke-width": 2 });
    left.svg.append(cut);
    right.svg.append(
      mia.line(right, [[0, 0], [1, 1]], { stroke: "#77808a", "stroke-dasharray": "4 3", "stroke-width": 1 }),
      mia.line(right, mia.rocPoints(members, nonmembers), { stroke: INK }),
    );
    const point = mia.element("circle", { r: 6, fill: INK });
    right.svg.append(point);
    const numbers = mia.numbers(["true positive rate", "false positive rate", "accuracy", "precision"]);
    const state = { k: Math.round(bins / 2), prior: 0.5 };
    const draw = () => {
      const { tpr, fpr } = mia.rates(members, nonmembers, state.k);
      const x = left.x(edges[state.k]);
      cut.setAttribute("x1", x);
      cut.setAttribute("x2", x);
      point.setAttribute("cx", right.x(fpr));
      point.setAttribute("cy", right.y(tpr));
      numbers.show("true positive rate", mia.percent(tpr));
      numbers.show("false positive rate", mia.percent(fpr, fpr < 0.01 ? 2 : 1));
      numbers.show("accuracy", mia.percent(mia.accuracy(tpr, fpr, state.prior)));
      numbers.show("precision", mia.percent(mia.precision(tpr, fpr, state.prior)));
    };
    const threshold = mia.slider({ label: "threshold", min: 0, max: bins, step: 1, value: state.k,
      show: (k) => edges[k].toFixed(1), change: (k) => { state.k = k; draw(); } });
    const prior = mia.slider({ label: "share of members among all records", min: 1, max: 50, step: 1,
      value: 50, show: (p) => `${p} %`, change: (p) => { state.prior = p / 100; draw(); } });
    const drag = (event) => {
      if (event.buttons !== 1 && event.type !== "pointerdown") return;
      const box = left.svg.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * 340;
      const near = edges.map((e) => Math.abs(left.x(e) - at));
      threshold.set(near.indexOf(Math.min(...near)));
    };
    left.svg.addEventListener("pointerdown", drag);
    left.svg.addEventListener("pointermove", drag);
    body.append(
      mia.element("div", { class: "explorer-panels" }, [left.svg, right.svg]),
      mia.element("div", { class: "explorer-controls" }, [threshold.node, prior.node]),
      numbers.node,
    );
    draw();
  });
})((globalThis.mia = globalThis.mia || {}));
