// Dead letters: what could not be read or applied, why, with its own bytes, and again to where it came from.

import { get, mayChange, post } from "./api.js";
import { h, keyed, put, withCode } from "./dom.js";
import { count, moment } from "./format.js";

const EVERY = 10_000;
const AT_ONCE = 100;
// What each reason means for whoever reads the letter, and what to do.
const NEXT = {
  UNREADABLE: "Its bytes are no message of this topic. Mend the publisher, and let it send the event again: a replay of these bytes comes back.",
  INVALID: "It breaks a rule of the contract, named above. Mend the publisher, and let it send the event again; replay it if the rule was mended here.",
  IMAGE: "The product was applied without its picture. Mend the picture or its address and publish the product again; replay it if the picture's server was only away.",
  TOO_LARGE: "It is larger than the limit named above. Publish it smaller; replay it if the limit was raised.",
};
const root = document.getElementById("letters");
const state = { reason: "", read: { reasons: {}, letters: [] } };
let parts = null;

export function openLetters() {
  if (!parts) {
    parts = build();
    setInterval(() => root.hidden || document.hidden || refresh(), EVERY);
  }
  refresh();
}

function build() {
  const chips = h("span", { class: "chips" });
  const told = h("p", { class: "note", "aria-live": "polite" });
  const all = h("button", { type: "button", hidden: true, onclick: () => replayShown(all) });
  const rows = h("tbody");
  const table = h("div", { class: "scroll" }, h("table", { class: "letters-table" },
    h("thead", {}, h("tr", {}, ...["Letter", "Reason", "What was wrong", "From (topic/partition/offset)", "When"].map((head) => h("th", {}, head)))), rows));
  const empty = h("div", { class: "empty" }, h("b", {}, "No dead letters"), "Every record could be read and applied.");
  const dialog = h("dialog", { class: "letter", onclick: (event) => event.target === dialog && dialog.close() });
  root.append(
    h("div", { class: "letters-head" }, h("h1", {}, "Dead letters"), chips, h("span", { class: "right" }, all, h("button", { type: "button", onclick: refresh }, "Refresh"))),
    h("div", { class: "panel" }, table, empty, told), dialog);
  return { chips, told, all, rows, table, empty, dialog };
}

async function refresh() {
  try {
    state.read = await get("letters");
    put(parts.told, "");
    show();
  } catch (error) {
    put(parts.told, error.message);
  }
}

const chosen = () => state.read.letters.filter((letter) => !state.reason || letter.reason === state.reason);

function show() {
  const reasons = Object.entries(state.read.reasons);
  const total = reasons.reduce((sum, [, number]) => sum + number, 0);
  keyed(parts.chips, total ? [["", total], ...reasons] : [], ([reason]) => `reason ${reason}`,
    ([reason]) => h("button", { class: "chip", type: "button", onclick: () => { state.reason = reason; show(); } }),
    (node, [reason, number]) => {
      put(node, `${reason || "all"} ${count(number)}`);
      node.setAttribute("aria-pressed", String(state.reason === reason));
    });
  const letters = chosen();
  parts.table.hidden = letters.length === 0;
  parts.empty.hidden = total !== 0;
  parts.all.hidden = letters.length === 0;
  parts.all.disabled = !mayChange;
  put(parts.all, `Replay ${count(Math.min(letters.length, AT_ONCE))} shown`);
  delete parts.all.dataset.sure;
  keyed(parts.rows, letters, (letter) => letter.name,
    (letter) => h("tr", { onclick: () => open(letter.name) },
      h("td", {}, h("button", { class: "open", type: "button" }, letter.name)), h("td", {}, h("span", { class: "tag" }, letter.reason)),
      h("td", { class: "detail" }, letter.detail), h("td", {}, letter.source), h("td", { class: "quiet" }, moment(letter.failed_at))),
    () => {});
}

async function replayShown(button) {
  const names = chosen().slice(0, AT_ONCE).map((letter) => letter.name);
  if (!button.dataset.sure) {
    button.dataset.sure = "yes";
    put(button, `Really publish ${names.length} again?`);
    return;
  }
  button.disabled = true;
  try {
    const { places } = await post("replay", { letters: names });
    await refresh();
    put(parts.told, `${places.length} records were published again.`);
  } catch (error) {
    put(parts.told, error.message);
  }
}

async function open(name) {
  const { dialog } = parts;
  dialog.replaceChildren(h("p", { class: "note" }, "Reading …"));
  if (!dialog.open) dialog.showModal();
  try {
    fill(dialog, await get("letter", { name }));
  } catch (error) {
    dialog.replaceChildren(h("p", { class: "problem" }, error.message));
  }
}

function fill(dialog, letter) {
  const told = h("p", { "aria-live": "polite" }, mayChange ? "" : "Looking only: open the printed address, with #token=…, to replay.");
  const again = h("button", { class: "main replay", type: "button", disabled: !mayChange, onclick: async () => {
    again.disabled = true;
    try {
      const { places } = await post("replay", { letters: [letter.name] });
      told.replaceChildren(...withCode(`Published again as \`${places[0]}\`.`));
    } catch (error) {
      again.disabled = false;
      put(told, error.message);
    }
  } }, "Replay");
  const facts = [["From", letter.source], ["Worker", letter.worker], ["When", moment(letter.failed_at)], ["Key", letter.key || "none"], ...(letter.replay_of ? [["Replay of", letter.replay_of]] : [])];
  const headers = Object.entries(letter.headers).map(([name, value]) => `${name}: ${value}`).join("\n");
  const size = letter.bytes > letter.shown_bytes ? `the first ${count(letter.shown_bytes)} of ${count(letter.bytes)} bytes` : `${count(letter.bytes)} bytes`;
  dialog.replaceChildren(
    h("header", {}, h("h2", {}, `Letter ${letter.name}`, h("small", {}, h("span", { class: "tag" }, letter.reason))), h("button", { class: "plain", type: "button", onclick: () => dialog.close() }, "Close")),
    h("p", { class: "detail" }, letter.detail),
    h("p", { class: "next" }, h("b", {}, "Next: "), NEXT[letter.reason] ?? "Replay it once what was wrong is mended."),
    h("dl", {}, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    ...(letter.message ? [h("h3", {}, "Read as a message"), h("pre", {}, letter.message)] : []),
    h("h3", {}, "Payload", h("small", {}, letter.is_text ? size : `${size}, hexadecimal`)),
    h("pre", { class: letter.is_text ? "payload" : "payload hex" }, letter.value || "(empty)"),
    ...(headers ? [h("h3", {}, "Headers"), h("pre", {}, headers)] : []),
    h("footer", {}, again, told));
}
