// The Stream section: one sentence, four tiles, how fresh answers are, every partition, every part.

import { h, keyed, mark, put, withCode } from "./dom.js";
import { count, counted, latency, rate, seconds } from "./format.js";
import { showFresh } from "./fresh.js";
import { ANSWERS, LAG, openHour, readHour } from "./hour.js";
import { draw, spark } from "./spark.js";
import { showAnswers, showStores, showWork } from "./panels.js";

const TILES = [
  { key: "catalog", name: "catalog", what: "products and reviews → vectors" },
  { key: "index", name: "index", what: "vectors → Milvus" },
  { key: "profiles", name: "profiles", what: "clicks and purchases → profiles" },
  { key: "recommend", name: "recommend", what: "answers to shoppers" },
];
const STALE_SECONDS = 6;
const find = (id) => document.getElementById(id);
let hour = { series: {} };

export function showHistory(read) {
  hour = read;
  readHour(read);
}

export function showLost(error) {
  mark(find("stream"), "stale", true);
  if (error.status === 401) return headline("red", "This page needs its token.", "Next: open the address that was printed when the console started, with `#token=…`.");
  return headline("red", "The console does not answer.", `${error.message}. If it has ended, start it again: \`freshet console\`, or \`freshet local up\`.`);
}

export function showSnapshot(shot) {
  mark(find("stream"), "stale", false);
  showState(shot);
  showTiles(shot);
  showFresh(find("fresh"), shot, hour);
  showRows(shot);
  showParts(shot);
  showAnswers(find("answers"), shot);
  showWork(find("work"), shot);
  showStores(find("stores"), shot);
}

function headline(level, title, below, cost = "") {
  mark(find("state"), "level", level);
  put(find("headline"), title);
  put(find("cost"), cost);
  find("cost").hidden = !cost;
  const line = find("subline");
  if (line.dataset.said !== below) {
    line.dataset.said = below;
    line.replaceChildren(...withCode(below));
  }
  document.title = level === "green" ? "Freshet" : `${level === "red" ? "● " : ""}${title} – Freshet`;
}

const nextOf = (found) => `${found.next}.${found.page ? ` More: \`docs/runbooks/${found.page}.md\`` : ""}`;

function showState(shot) {
  const [worst, ...others] = shot.findings;
  if (worst) headline(worst.level, worst.title, `Next: ${nextOf(worst)}`, worst.cost);
  else {
    const products = shot.flow.mirror_products;
    const served = products === null ? "" : `, ${counted(products, "product")} served`;
    headline("green", "Everything flows.", `All workers are up to date${served}, ${counted(shot.flow.answers, "answer")} in the last minute.`);
  }
  keyed(
    find("findings"),
    others,
    (found) => `${found.about} ${found.level}`,
    () => h("li", {}, h("b"), h("p", { class: "cost" }), h("p")),
    (node, found) => {
      mark(node, "level", found.level);
      put(node.children[0], found.title);
      put(node.children[1], found.cost);
      node.children[1].hidden = !found.cost;
      const next = nextOf(found);
      if (node.dataset.said !== next) {
        node.dataset.said = next;
        node.children[2].replaceChildren(h("span", {}, "Next:"), ...withCode(next));
      }
    },
  );
}

function levelOf(shot, about) {
  const levels = shot.findings.filter((found) => found.about === about).map((found) => found.level);
  return levels.includes("red") ? "red" : (levels[0] ?? "green");
}

function showTiles(shot) {
  keyed(
    find("tiles"),
    TILES,
    (tile) => tile.key,
    (tile) =>
      h("article", { class: "tile" }, h("h2", {}, h("button", { class: "bare whole", type: "button", "aria-label": `${tile.name}: the last hour`, onclick: () => openTile(tile) }, tile.name)), h("p", { class: "what" }, tile.what), h("p", { class: "figure" }, h("span"), h("small")),
        h("p", { class: "beside" }), h("p", { class: "cost" }), h("span", { class: "peak" }), spark()),
    (node, tile) => {
      const [, , figure, beside, cost, peak, line] = node.children;
      mark(node, "level", levelOf(shot, tile.key));
      if (tile.key === "recommend") showAnswersTile(shot, figure, beside, peak, line);
      else showWorkerTile(shot, tile.key, figure, beside, cost, peak, line);
    },
  );
}

const openTile = (tile) => tile.key === "recommend" ? openHour("Recommend", "recommend: Recommend", [], ANSWERS) : openHour(tile.key, tile.name, [], LAG);

// How old events are when they count, of the event that a worker's tile stands for, where there was one lately.
function costOf(shot, name) {
  const wanted = { catalog: ["product", "review"], profiles: ["click", "view", "purchase"] }[name] ?? [];
  const row = wanted.map((event) => shot.flow.freshness.find((one) => one.event === event && one.recent)).find(Boolean);
  return row ? `counts in ${latency(row.p50)}, p99 ${latency(row.p99)}` : "";
}

function showWorkerTile(shot, name, figure, beside, cost, peak, line) {
  const one = shot.workers.find((worker) => worker.worker === name);
  const behind = one.behind_seconds === null ? "–" : seconds(one.behind_seconds);
  put(figure.children[0], behind);
  put(figure.children[1], "behind");
  const togo = one.seconds_to_go !== null && one.seconds_to_go > 2 ? `, ${seconds(one.seconds_to_go)} to go` : "";
  put(beside, `${count(one.waiting)} waiting${togo} · ${rate(one.rate)}/s`);
  put(cost, costOf(shot, name));
  const most = Math.max(draw(line, hour.series[`${name} behind`] ?? [], 2) ?? 0, one.behind_seconds ?? 0);
  put(peak, most ? `peak ${seconds(most)} in the hour` : "");
}

function showAnswersTile(shot, figure, beside, peak, line) {
  const row = shot.flow.methods.find((method) => method.method === "Recommend");
  const quiet = row.p50 === null;
  const away = levelOf(shot, "recommend") === "red";
  put(figure.children[0], away ? "away" : quiet ? "quiet" : latency(row.p50));
  put(figure.children[1], quiet || away ? "" : "median");
  figure.classList.toggle("calm", quiet && !away);
  put(beside, away ? "it gives no answers" : quiet ? "nobody asked in the last minute" : `p99 ${latency(row.p99)} · ${rate(row.rate)}/s`);
  const most = draw(line, hour.series["Recommend p99"] ?? [], 0.01);
  put(peak, most ? `peak p99 ${latency(most)}` : "");
}

function showRows(shot) {
  const age = shot.rows_time === null ? null : shot.time - shot.rows_time;
  put(find("rows-time"), age === null ? "nothing read yet" : age > STALE_SECONDS ? `as of ${seconds(age)} ago` : "");
  const behind = new Map(shot.findings.filter((found) => found.level === "amber").map((found) => [found.about, true]));
  let before = "";
  // What stands still comes first: else it may be below the screen.
  const red = new Set(shot.rows.filter((row) => row.stalled).map((row) => row.worker));
  const ordered = [...shot.rows.filter((row) => red.has(row.worker)), ...shot.rows.filter((row) => !red.has(row.worker))];
  const rows = ordered.map((row) => {
    const first = before !== row.worker;
    const topic = `${row.worker} ${row.topic}`;
    before = row.worker;
    return { ...row, first, topicKey: topic };
  });
  let topic = "";
  for (const row of rows) {
    row.firstOfTopic = row.topicKey !== topic;
    topic = row.topicKey;
  }
  // On a phone the worker and the topic stand above their partitions.
  const lines = rows.flatMap((row) => (row.firstOfTopic ? [{ group: row }, row] : [row]));
  keyed(
    find("rows"),
    lines,
    (row) => (row.group ? `${row.group.topicKey} group` : `${row.topicKey} ${row.partition}`),
    (row) => row.group ? h("tr", { class: "group narrow" }, h("td", { colSpan: 6 }, row.group.worker, h("small", {}, row.group.topic))) : h("tr", {}, ...["worker", "topic", "n", "n waiting", "n behind", "n", "n wide", "n", "wide owner", "hourly"].map((name) => h("td", { class: name }))),
    (node, row) => {
      if (row.group) return;
      mark(node, "level", row.stalled ? "red" : behind.get(row.worker) && row.waiting ? "amber" : null);
      node.classList.toggle("first", row.first);
      const lag = row.waiting === 0;
      const texts = [
        null,
        row.firstOfTopic ? row.topic : "",
        row.partition,
        count(row.waiting),
        seconds(row.behind_seconds),
        count(row.applied),
        count(row.committed),
        count(row.end),
        row.owner ? `${row.owner.name.replace(/-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "")} @ ${row.owner.host}` : "nobody",
      ];
      texts.forEach((text, place) => text !== null && put(node.children[place], text));
      showGroup(node.children[0], row, shot.groups[row.worker]);
      showHourly(node.children[9], row, texts);
      node.children[3].classList.toggle("quiet", lag);
      node.children[4].classList.toggle("quiet", lag);
      node.title = row.stalled ? `nothing was applied for ${seconds(row.still_seconds)}` : "";
      node.children[8].title = row.owner?.name ?? "";
    },
  );
}

// Worker and group stand once, beside the first of its partitions.
function showGroup(cell, row, group) {
  if (!cell.firstChild) cell.append(h("b"), h("small"));
  put(cell.children[0], row.first ? row.worker : "");
  put(cell.children[1], row.first && group ? `${group.name} · ${group.state.toLowerCase()} · ${counted(group.members, "member")}` : "");
}

function showHourly(cell, row, texts) {
  const name = `${row.worker} ${row.topic} ${row.partition}`;
  if (!cell.firstChild) cell.append(h("button", { class: "bare", type: "button", "aria-label": `The last hour of ${name}` }, spark()));
  const button = cell.firstChild;
  button.onclick = () => openHour(name, `${row.worker}: ${row.topic}, partition ${row.partition}`, [["Waiting", texts[3]], ["Behind", texts[4]], ["Applied", texts[5]], ["Committed", texts[6]], ["End", texts[7]], ["Owner", texts[8]]], LAG);
  const most = draw(button.firstChild, hour.series[`${name} behind`] ?? [], 2);
  button.title = most ? `at most ${seconds(most)} behind in the hour` : "The last hour";
}

function showParts(shot) {
  keyed(
    find("parts"),
    shot.health,
    (part) => part.name,
    (part) => h("li", {}, h("span", {}, part.name), h("span", { class: "detail" }), h("span", { class: "for" })),
    (node, part) => {
      mark(node, "state", part.state);
      put(node.children[1], part.state === "healthy" ? part.detail : `${part.state}${part.detail ? `: ${part.detail.split("\n")[0].replace(`${part.name} is not available: `, "")}` : ""}`);
      node.children[1].title = part.detail;
      const restarts = part.restarts ? `${part.restarts}× restarted · ` : "";
      put(node.children[2], part.since ? `${restarts}${seconds(Math.max(1, Math.round(shot.time - part.since)))}` : "");
    },
  );
}
