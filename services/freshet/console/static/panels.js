// Flow: how the service answers, and how the workers work. From the processes' own metrics.

import { h, keyed, put } from "./dom.js";
import { count, counted, latency, percent, rate, reached } from "./format.js";

// Heads that end in * are left out on a phone.
function table(heads) {
  const classes = heads.map((head, place) => `${place ? "n" : ""}${head.endsWith("*") ? " wide" : ""}`);
  const node = h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((head, place) => h("th", { class: classes[place] }, head.replace("*", ""))))), h("tbody"));
  node.classes = classes;
  return node;
}

function fill(node, rows) {
  keyed(
    node.tBodies[0],
    rows,
    (row) => String(row[0]),
    (row) => h("tr", {}, ...row.map((_, place) => h("td", { class: node.classes[place] }))),
    (line, row) => row.forEach((text, place) => put(line.children[place], text)),
  );
}

function part(panel, key, title, make) {
  let node = panel.querySelector(`[data-part="${key}"]`);
  if (!node) {
    node = h("div", { dataset: { part: key } }, h("h3", {}, h("span", {}, title), h("small")), make());
    panel.append(node);
  }
  return node;
}

function titled(panel, title) {
  if (!panel.firstElementChild) panel.append(h("h2", {}, title, h("small", {}, "last minute")));
}

function bars(node, rows, text) {
  const most = Math.max(...rows.map((row) => row.value), 1e-9);
  keyed(
    node,
    rows,
    (row) => row.name,
    (row) => h("li", {}, h("span", {}, row.name), h("span", { class: "track" }, h("i")), h("span", { class: "value" })),
    (line, row) => {
      line.children[1].firstChild.style.width = `${(100 * row.value) / most}%`;
      put(line.children[2], text(row));
    },
  );
}

function note(node, text) {
  node.hidden = !text;
  put(node, text);
}

export function showAnswers(panel, shot) {
  titled(panel, "Answers");
  const methods = part(panel, "methods", "Requests", () => table(["", "/s", "p50", "p99", "refused"]));
  const names = { Recommend: "Recommend", ListSimilarProducts: "Similar", SearchProducts: "Search" };
  fill(methods.children[1], shot.flow.methods.map((row) => [names[row.method] ?? row.method, rate(row.rate), latency(row.p50), latency(row.p99), count(row.refused)]));

  const stages = part(panel, "stages", "Stages of a request", () => h("div", {}, h("ul", { class: "bars" }), h("p", { class: "note" })));
  put(stages.querySelector("small"), shot.flow.stages.length ? "mean" : "");
  bars(stages.querySelector("ul"), shot.flow.stages.map((row) => ({ name: row.stage, value: row.mean })), (row) => latency(row.value));
  note(stages.querySelector(".note"), shot.flow.stages.length ? "" : "No request in the last minute.");

  const whole = part(panel, "whole", "Completeness", () => h("p", { class: "note" }));
  const { degraded, late, answers } = shot.flow;
  note(whole.children[1], answers ? `${count(degraded)} of ${counted(answers, "answer")} left something out; ${count(late)} came before what the caller waited for.` : "No answer in the last minute.");
}

export function showWork(panel, shot) {
  titled(panel, "Work");
  const arriving = part(panel, "arriving", "Arriving", () => table(["", "events/s"]));
  fill(arriving.children[1], shot.arriving.map((row) => [row.topic, rate(row.rate)]));

  const workers = part(panel, "workers", "Workers", () => h("div", {}, table(["", "records/s", "batch*", "apply p50", "p99", "retries"]), h("p", { class: "note" })));
  fill(workers.querySelector("table"), shot.flow.workers.map((row) => [row.worker, rate(row.rate), row.batch === null ? "–" : rate(row.batch), latency(row.apply_p50), latency(row.apply_p99), count(row.retries)]));
  const silent = shot.metrics.silent;
  const missing = shot.metrics.processes === 0 ? "No process tells of its work: start this console with FRESHET_CONSOLE__METRICS, where each component answers Prometheus." : silent.length ? `No metrics from ${silent.join(", ")}.` : "";
  note(workers.querySelector(".note"), missing);

  const letters = part(panel, "letters", "Dead letters", () => h("div", {}, table(["", "last minute", "since start"]), h("p", { class: "note" })));
  const kept = shot.flow.dead_letters.map((row) => [row.reason, count(row.minute), count(row.total)]);
  letters.querySelector("table").hidden = kept.length === 0;
  fill(letters.querySelector("table"), kept);
  note(letters.querySelector(".note"), kept.length ? "" : "None since the workers started.");

  const fresh = part(panel, "fresh", "Freshness by event", () => h("div", {}, table(["", "p50", "p99", "batches*"]), h("p", { class: "note" })));
  put(fresh.querySelector("small"), "from its record in Kafka; grey: none in the last minute, since the start");
  const rows = shot.flow.freshness.map((row) => [reached(row.event), latency(row.p50), latency(row.p99), count(row.count)]);
  fresh.querySelector("table").hidden = rows.length === 0;
  fill(fresh.querySelector("table"), rows);
  shot.flow.freshness.forEach((row, place) => fresh.querySelector("tbody").rows[place].classList.toggle("quiet", !row.recent));
  note(fresh.querySelector(".note"), rows.length ? "" : "No events yet.");
}

export function showStores(panel, shot) {
  titled(panel, "Models and stores");
  const models = part(panel, "models", "Triton", () => h("div", {}, table(["", "rows/s", "batch", "queue", "takes", "failed*"]), h("p", { class: "note" })));
  const served = shot.models.rows.map((row) => [row.model, rate(row.rate), row.batch === null ? "–" : rate(row.batch), latency(row.queue), latency(row.work), count(row.failed)]);
  put(models.querySelector("small"), served.length ? "mean per request" : "");
  models.querySelector("table").hidden = served.length === 0;
  fill(models.querySelector("table"), served);
  note(models.querySelector(".note"), shot.models.error ? `Triton does not tell: ${shot.models.error}.` : "");

  const encoders = part(panel, "encoders", "Encoders", () => h("div", {}, table(["", "calls", "products", "unchanged"]), h("p", { class: "note" })));
  const rows = shot.flow.encoders.map((row) => [row.modality, count(row.calls), count(row.rows), percent(row.unchanged)]);
  encoders.querySelector("table").hidden = rows.length === 0;
  put(encoders.querySelector("small"), rows.length ? "products since start; unchanged inputs are not encoded again" : "");
  fill(encoders.querySelector("table"), rows);
  note(encoders.querySelector(".note"), rows.length ? "" : "Nothing was encoded since the catalogue worker started.");

  const stores = part(panel, "stores", "Milvus and SQL", () => h("div", {}, table(["", "p50", "p99"]), h("p", { class: "note" })));
  stores.querySelector("table").hidden = shot.flow.stores.length === 0;
  fill(stores.querySelector("table"), shot.flow.stores.map((row) => [row.what, latency(row.p50), latency(row.p99)]));
  note(stores.querySelector(".note"), shot.flow.stores.length ? "" : "Nothing was read or written in the last minute.");

  const index = part(panel, "index", "Index", () => h("p", { class: "note" }));
  const { unsettled, recall } = shot.flow.index;
  note(index.children[1], shot.flow.mirror_products === null ? "No answer service tells of it." : `${counted(shot.flow.mirror_products, "product")} served; ${count(unsettled)} changed after what the index shows, and are searched in memory. ${recall === null ? "Its recall is not known yet." : `It finds ${percent(recall)} of the true ten nearest.`}`);
}
