// What every explorer uses: rates, drawing, numbers as text. A plain script, so that it works from
// file://; under node it is a module (`require`).
"use strict";

(function (mia) {
  // ---- rates ----

  // Share of each group in bins k, k + 1, ...: bins are ordered, a larger score is further right.
  mia.rates = function (members, nonmembers, k) {
    const share = (counts) => {
      const all = counts.reduce((a, b) => a + b, 0);
      return counts.slice(k).reduce((a, b) => a + b, 0) / all;
    };
    return { tpr: share(members), fpr: share(nonmembers) };
  };

  // Points [fpr, tpr] of the ROC curve, from (0, 0) to (1, 1), one for each bin's edge.
  mia.rocPoints = function (members, nonmembers) {
    const points = [];
    for (let k = members.length; k >= 0; k--) {
      const { tpr, fpr } = mia.rates(members, nonmembers, k);
      points.push([fpr, tpr]);
    }
    return points;
  };

  // Share of members among the accused, if a share `prior` of all records are members.
  mia.precision = function (tpr, fpr, prior) {
    const accused = prior * tpr + (1 - prior) * fpr;
    return accused > 0 ? (prior * tpr) / accused : NaN;
  };

  mia.accuracy = (tpr, fpr, prior) => prior * tpr + (1 - prior) * (1 - fpr);

  // The largest true positive rate that (epsilon, delta)-differential privacy leaves at a rate.
  mia.dpCurve = function (fpr, epsilon, delta) {
    const e = Math.exp(epsilon);
    return Math.min(1, e * fpr + delta, 1 - (1 - delta - fpr) / e);
  };

  // ---- text ----

  mia.percent = function (share, digits = 1) {
    return Number.isFinite(share) ? `${(100 * share).toFixed(digits)} %` : "–";
  };

  // ---- drawing ----

  mia.element = function (name, attributes = {}, children = []) {
    const svgNames = ["svg", "path", "rect", "circle", "line", "text", "g", "title"];
    const node = svgNames.includes(name)
      ? document.createElementNS("http://www.w3.org/2000/svg", name)
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "text") node.textContent = value;
      else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  };

  // A chart: an SVG with axes, and x, y from data to its pixels.
  mia.chart = function ({ width, height, xlim, ylim, xlabel, ylabel, xticks, yticks, label, log }) {
    const edge = { left: 46, right: 10, top: 10, bottom: 38 };
    const along = (v, [a, b], isLog) =>
      isLog ? Math.log(v / a) / Math.log(b / a) : (v - a) / (b - a);
    const x = (v) => edge.left + along(v, xlim, log) * (width - edge.left - edge.right);
    const y = (v) => height - edge.bottom - along(v, ylim) * (height - edge.top - edge.bottom);
    const svg = mia.element("svg", {
      viewBox: `0 0 ${width} ${height}`, class: "drawing", role: "img", "aria-label": label,
    });
    const axis = { stroke: "#77808a", "stroke-width": 1 };
    const text = { fill: "#1f2933", "font-size": 12 };
    svg.append(
      mia.element("line", { x1: x(xlim[0]), x2: x(xlim[1]), y1: y(ylim[0]), y2: y(ylim[0]), ...axis }),
      mia.element("line", { x1: x(xlim[0]), x2: x(xlim[0]), y1: y(ylim[0]), y2: y(ylim[1]), ...axis }),
      mia.element("text", { x: (x(xlim[0]) + x(xlim[1])) / 2, y: height - 4, "text-anchor": "middle",
        text: xlabel, ...text }),
      mia.element("text", { x: 12, y: (y(ylim[0]) + y(ylim[1])) / 2, "text-anchor": "middle",
        transform: `rotate(-90 12 ${(y(ylim[0]) + y(ylim[1])) / 2})`, text: ylabel, ...text }),
    );
    for (const tick of xticks) {
      svg.append(mia.element("text", { x: x(tick), y: y(ylim[0]) + 15, "text-anchor": "middle",
        text: tick, ...text }));
    }
    for (const tick of yticks) {
      svg.append(mia.element("text", { x: x(xlim[0]) - 5, y: y(tick) + 4, "text-anchor": "end",
        text: tick, ...text }));
    }
    return { svg, x, y };
  };

  mia.line = function (chart, points, attributes) {
    const d = points.map(([a, b], i) => `${i ? "L" : "M"}${chart.x(a).toFixed(1)} ${chart.y(b).toFixed(1)}`);
    return mia.element("path", { d: d.join(""), fill: "none", "stroke-width": 2, ...attributes });
  };

  // A piece of a line, for a key: { colour, dash }.
  mia.swatch = ({ colour, dash }) => mia.element("svg",
    { viewBox: "0 0 24 8", width: 24, height: 8, class: "drawing", "aria-hidden": "true" },
    [mia.element("line", { x1: 0, x2: 24, y1: 4, y2: 4, stroke: colour, "stroke-width": 2,
      "stroke-dasharray": dash })]);

  // A slider with its name and its value as text.
  mia.slider = function ({ label, min, max, step, value, show, change }) {
    const output = mia.element("output", { text: show(value) });
    const input = mia.element("input", { type: "range", min, max, step, value, "aria-valuetext": show(value) });
    const update = () => {
      output.textContent = show(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
      change(Number(input.value));
    };
    input.addEventListener("input", update);
    const set = (v) => { input.value = v; update(); };
    return { node: mia.element("label", { class: "explorer-slider" }, [label, input, output]), set };
  };

  // Numbers by name, read out when they change.
  mia.numbers = function (names) {
    const outputs = {};
    const list = mia.element("dl", { class: "explorer-numbers", "aria-live": "polite" });
    for (const name of names) {
      outputs[name] = mia.element("dd");
      list.append(mia.element("div", {}, [mia.element("dt", { text: name }), outputs[name]]));
    }
    return { node: list, show: (name, text) => { outputs[name].textContent = text; } };
  };

  // Put an explorer where its still picture is. `mount(body, data)` fills the empty body.
  mia.explorer = function (name, mount) {
    const start = () => {
      for (const figure of document.querySelectorAll(`figure.explorer-${name}`)) {
        if (figure.dataset.live || !mia.data[name]) continue;
        figure.dataset.live = "yes";
        const body = mia.element("div", { class: "explorer-body" });
        figure.prepend(body);
        mount(body, mia.data[name]);
        for (const still of figure.querySelectorAll("img.explorer-still")) still.closest("a, img").hidden = true;
      }
    };
    if (typeof document === "undefined") return;
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
    else start();
  };

  mia.data = mia.data || {};
  if (typeof module !== "undefined") module.exports = mia;
})((globalThis.mia = globalThis.mia || {}));
