// The explorers' arithmetic, under node: `node --test tests/explorers`.
"use strict";

const { test } = require("node:test");
const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");

const folder = path.join(__dirname, "../../book/_static/explorers");
const mia = require(path.join(folder, "core.js"));
for (const name of ["threshold", "epsilon", "shadows", "records", "guess"]) {
  require(path.join(folder, `${name}.js`));
}
for (const file of fs.readdirSync(path.join(folder, "data"))) require(path.join(folder, "data", file));

const near = (a, b, tolerance = 1e-9) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`);

test("rates are the shares at or above a bin", () => {
  assert.deepEqual(mia.rates([1, 1, 2], [2, 1, 1], 0), { tpr: 1, fpr: 1 });
  assert.deepEqual(mia.rates([1, 1, 2], [2, 1, 1], 2), { tpr: 0.5, fpr: 0.25 });
  assert.deepEqual(mia.rates([1, 1, 2], [2, 1, 1], 3), { tpr: 0, fpr: 0 });
});

test("the curve runs from (0, 0) to (1, 1) and never falls", () => {
  const points = mia.rocPoints([1, 1, 2], [2, 1, 1]);
  assert.deepEqual(points[0], [0, 0]);
  assert.deepEqual(points.at(-1), [1, 1]);
  for (let i = 1; i < points.length; i++) {
    assert.ok(points[i][0] >= points[i - 1][0] && points[i][1] >= points[i - 1][1]);
  }
});

test("precision and accuracy follow Bayes at any share of members", () => {
  near(mia.precision(0.5, 0.5, 0.2), 0.2);
  near(mia.precision(0.6, 0.1, 0.5), 6 / 7);
  near(mia.precision(0.6, 0.1, 0.01), 0.006 / (0.006 + 0.099));
  assert.ok(Number.isNaN(mia.precision(0, 0, 0.5)));
  assert.equal(mia.percent(mia.precision(0, 0, 0.5)), "–");
  near(mia.accuracy(0.6, 0.1, 0.5), 0.75);
});

test("the private region touches its corners, and is chance at epsilon 0", () => {
  near(mia.dpCurve(0, 1, 1e-5), 1e-5);
  near(mia.dpCurve(1, 1, 0), 1);
  near(mia.dpCurve(0.01, 1, 0), 0.01 * Math.E);
  for (const f of [0, 0.2, 0.7, 1]) near(mia.dpCurve(f, 0, 0), f);
  near(mia.largestAuc(1, 0), Math.E / (1 + Math.E), 1e-5);
  near(mia.largestAccuracy(0, 0), 0.5);
});

test("attacks at a number of models, best first, without those that need more", () => {
  const attacks = [
    { name: "a", points: [{ count: 2, mean: 0.6, low: 0.5, high: 0.7 }] },
    { name: "b", points: [{ count: 2, mean: 0.8, low: 0.7, high: 0.9 }] },
    { name: "c", points: [{ count: 4, mean: 0.9, low: 0.9, high: 0.9 }] },
  ];
  assert.deepEqual(mia.atCount(attacks, 2).map((row) => row.attack), ["b", "a"]);
});

test("the game has half members, in drawn order, and counts right guesses", () => {
  const photos = [true, true, true, false, false].map((member, id) => ({ member, id }));
  assert.deepEqual(mia.half(photos, 4).map((p) => p.id), [0, 1, 3, 4]);
  assert.equal(mia.score([true, false, false, true], mia.half(photos, 4)), 2);
});

test("the data are whole", () => {
  const { threshold, epsilon, shadows, records } = mia.data;
  assert.equal(threshold.edges.length, threshold.members.length + 1);
  assert.equal(threshold.members.length, threshold.nonmembers.length);
  for (const curve of epsilon.curves) assert.deepEqual(curve.points.at(-1), [1, 1]);
  assert.ok(shadows.attacks.every((a) => a.points.every((p) => shadows.counts.includes(p.count))));
  assert.equal(mia.half(records.photographs, 12).filter((p) => p.member).length, 6);
  for (const photo of records.photographs) {
    assert.match(photo.photograph, /^data:image\/png;base64,/);
    assert.equal(photo.with.length + photo.without.length, records.shadow_models);
    assert.ok(Object.values(photo.scores).every(([share]) => share >= 0 && share <= 1));
  }
});
