// The last hour of one partition, or of one worker, with axes; and what a narrow screen leaves out of the table.

import { h, put, svg } from "./dom.js";
import { count, latency, rate, seconds } from "./format.js";

const NARROW = matchMedia("(max-width: 700px)");
const HEIGHT = 150;
const LEFT = 58;
const BOTTOM = 22;
const TOP = 10;
export const LAG = [
  { series: "behind", title: "Seconds behind", say: seconds, least: 2 },
  { series: "waiting", title: "Records waiting", say: count, least: 4 },
  { series: "rate", title: "Records applied per second", say: rate, least: 4 },
];
const TIMES = [
  { series: "p50", title: "Median", say: latency, least: 0.01 },
  { series: "p99", title: "99th percentile", say: latency, least: 0.01 },
];
export const FRESHNESS = TIMES;
export const ANSWERS = [...TIMES, { series: "rate", title: "Answers per second", say: rate, least: 4 }];

let open = null;
let shown = LAG;
let read = { end: 0, step: 10, series: {} };

const dialog = h("dialog", { class: "hour", onclick: (event) => event.target === dialog && dialog.close(), onclose: () => { open = null; } });
const title = h("h2", {});
const facts = h("dl", {});
const charts = h("div", {});
dialog.append(h("header", {}, title, h("button", { class: "plain", type: "button", onclick: () => dialog.close() }, "Close")), facts, charts);
document.body.append(dialog);

// `name` begins the names of its series, `which` are its charts; `told` are pairs of what else there is to say.
export function openHour(name, heading, told, which) {
  open = name;
  shown = which;
  put(title, heading);
  tellFacts(told);
  drawAll();
  dialog.showModal();
}

export function readHour(history) {
  read = history;
  if (open) drawAll();
}

function tellFacts(told) {
  facts.replaceChildren(...told.flatMap(([name, value]) => [h("div", {}, h("dt", {}, name), h("dd", {}, value))]));
}

function drawAll() {
  charts.replaceChildren(...shown.filter((chart) => read.series[`${open} ${chart.series}`]).map((chart) => drawn(chart, read.series[`${open} ${chart.series}`])));
}

function drawn({ title: heading, say, least }, values) {
  const [width, ticks] = NARROW.matches ? [320, [60, 30, 0]] : [640, [60, 45, 30, 15, 0]];
  const known = values.filter((value) => value !== null);
  const most = Math.max(least, ...known);
  const across = (place) => LEFT + ((width - LEFT - 6) * (360 - values.length + place)) / 359;
  const up = (value) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * value) / most;
  const parts = [];
  for (const value of [0, most / 2, most]) {
    parts.push(svg("line", { class: "rule", x1: LEFT, x2: width - 6, y1: up(value), y2: up(value) }), text(LEFT - 8, up(value) + 4, "end", say(value)));
  }
  for (const minutes of ticks) {
    const x = LEFT + ((width - LEFT - 6) * (60 - minutes)) / 60;
    parts.push(text(x, HEIGHT - 5, minutes ? "middle" : "end", minutes ? `−${minutes} min` : "now"));
  }
  let run = [];
  const close = () => {
    if (run.length === 1) run.push([run[0][0] + 1, run[0][1]]);
    if (run.length) parts.push(svg("path", { class: "line", d: `M${run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}` }));
    run = [];
  };
  values.forEach((value, place) => (value === null ? close() : run.push([across(place), up(value)])));
  close();
  const peak = known.length ? `peak ${say(Math.max(...known))}` : "nothing known yet";
  return h("figure", {}, h("figcaption", {}, heading, h("small", {}, peak)), svg("svg", { class: "axes", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `${heading} in the last hour, ${peak}` }, ...parts));
}

function text(x, y, anchor, words) {
  const node = svg("text", { x, y, "text-anchor": anchor });
  node.textContent = words;
  return node;
}
