// How fresh answers are: what the product promises, in three figures that are always there.

import { h, keyed, mark, put } from "./dom.js";
import { count, counted, latency, seconds } from "./format.js";
import { FRESHNESS, openHour } from "./hour.js";
import { draw, spark } from "./spark.js";

// The objectives are those of the alerts (deploy/prometheus): half a second, and ten seconds, at the 99th percentile.
const PROMISES = [
  { key: "click", worker: "profiles", name: "click → reflected", what: "in the shopper's next answer", events: ["click", "view", "add_to_cart", "purchase"], objective: 0.5 },
  { key: "product", worker: "catalog", name: "product → found", what: "new or changed, in answers and searches", events: ["product"], objective: 10 },
  { key: "hidden", worker: "catalog", name: "product → hidden", what: "sold out or withdrawn, out of every answer", events: ["hidden", "removal"], objective: 10 },
];

// The first of these events that came lately; else the first that ever came.
function rowOf(shot, events) {
  const known = events.map((event) => shot.flow.freshness.find((row) => row.event === event)).filter(Boolean);
  return known.find((row) => row.recent) ?? known[0];
}

// While a worker stands still nothing counts, and no histogram says so: then it is the age of what waits.
function tell(shot, { worker, objective }, row) {
  const one = shot.workers.find((each) => each.worker === worker);
  if (one.stalled_waiting) return { level: "red", figure: `> ${seconds(Math.max(one.behind_seconds ?? 0, one.stalled_seconds))}`, small: "and growing", beside: `${worker} stands still: ${count(one.stalled_waiting)} waiting` };
  if (row?.recent) return { level: row.p99 > objective ? "amber" : "green", figure: latency(row.p50), small: `p50 · p99 ${latency(row.p99)}`, beside: `${counted(row.count, "batch", "batches")} in the last minute` };
  const since = row ? `none in the last minute; before p50 ${latency(row.p50)}, p99 ${latency(row.p99)}` : "none came since the start";
  return { level: "quiet", figure: "quiet", beside: shot.metrics.silent.some((name) => name.startsWith(worker)) ? `no metrics from ${worker}` : since };
}

export function showFresh(panel, shot, hour) {
  keyed(
    panel,
    PROMISES,
    (promise) => promise.key,
    (promise) =>
      h("article", { class: "promise" }, h("h2", {}, h("button", { class: "bare whole", type: "button", "aria-label": `${promise.name}: the last hour`, onclick: () => openHour(`fresh ${panel.dataset[promise.key] ?? promise.key}`, promise.name, [], FRESHNESS) }, promise.name)),
        h("p", { class: "what" }, promise.what), h("p", { class: "figure" }, h("span"), h("small")), h("p", { class: "beside" }), spark()),
    (node, promise) => {
      const [, , figure, beside, line] = node.children;
      const row = rowOf(shot, promise.events);
      mark(panel, promise.key, row?.event);
      const told = tell(shot, promise, row);
      mark(node, "level", told.level);
      put(figure.children[0], told.figure);
      put(figure.children[1], told.small ?? "");
      put(beside, told.beside);
      draw(line, hour.series[`fresh ${row?.event} p99`] ?? [], 0.01);
    },
  );
}
