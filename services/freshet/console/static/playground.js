// The Playground: be a shopper, click, and see the list change, with the milliseconds of each step.

import { get, mayChange, post } from "./api.js";
import { h, keyed, put } from "./dom.js";
import { clock, counted, milliseconds, percent } from "./format.js";
import { card, shown } from "./cards.js";
import { buildSearch } from "./search.js";

const BASES = {
  PROFILE: "this shopper's own interactions",
  TRENDING: "what is popular: nothing is known of this shopper yet",
  CATALOGUE: "the catalogue's newest: nobody has clicked yet",
};
const CHIPS = 6;
const ASK_AGAIN = 5_000;
const NARROW = matchMedia("(max-width: 860px)");
const VERBS = { CLICK: "Clicked", HIDE: "Hid", LIKE: "Liked" };
const NAMES = { published: "published", applied: "applied", answered: "answered" };
const root = document.getElementById("playground");
const state = { user: "", weights: {}, list: null, withdrawn: new Map(), turn: 0 };
let parts = null;

export function openPlayground() {
  if (parts) return;
  parts = build();
  invent(false);
}

function build() {
  const user = h("input", { id: "user", maxlength: "256", autocomplete: "off", spellcheck: "false", list: "shoppers", "aria-label": "Shopper id",
    onchange: () => begin(user.value.trim(), true) });
  const shoppers = h("datalist", { id: "shoppers" });
  const latest = h("div", { class: "chips" });
  const interests = h("div", {});
  const known = h("details", { class: "panel known", hidden: true, open: !NARROW.matches }, h("summary", {}, h("h2", {}, "Interests", h("small", {}))), interests);
  const sliders = h("div", {});
  const withdrawn = h("ul", { class: "withdrawn" });
  const told = h("div", { class: "panel told", "aria-live": "polite" });
  const grid = h("div", { class: "grid" });
  const basis = h("div", { class: "panel basis", hidden: true });
  const similar = h("dialog", { class: "similar", onclick: (event) => event.target === similar && similar.close() });
  const weights = h("details", { class: "panel sliders", open: !NARROW.matches }, h("summary", {}, h("h2", {}, "Weights", h("button", { class: "plain", type: "button", onclick: (event) => { event.preventDefault(); resetWeights(); } }, "Reset"))), sliders);
  const gone = h("div", { class: "panel", hidden: true }, h("h2", {}, "Withdrawn"), withdrawn);
  const list = h("div", {}, told, grid, basis);
  const search = buildSearch({ openSimilar, showing: (searching) => { list.hidden = weights.hidden = searching; if (searching) reveal(); } });
  const outcome = h("div", { class: "outcome" }, search.results, list);
  root.append(
    h("div", { class: "play" },
      h("div", { class: "desk" },
        search.panel,
        h("div", { class: "panel" }, h("h2", {}, h("label", { for: "user" }, "Shopper")), user,
          h("div", { class: "row" }, h("button", { type: "button", onclick: () => invent(true) }, "Invent one"), h("button", { class: "main", type: "button", onclick: () => begin(user.value.trim(), true) }, "Ask")), latest, shoppers),
        weights, known, gone),
      outcome),
    similar);
  readModalities(sliders);
  readShoppers(latest, shoppers);
  return { leave: search.clear, outcome, user, known, interests, sliders, told, grid, basis, similar, withdrawn, gone };
}

async function readModalities(sliders) {
  const { modalities } = await get("about");
  for (const name of modalities) {
    const output = h("output", {}, "1");
    const input = h("input", { type: "range", min: "0", max: "3", step: "0.1", value: "1", id: `weight-${name}`,
      oninput: () => {
        paint(input, output);
        weigh(name, Number(input.value));
      } });
    paint(input, output);
    sliders.append(h("div", { class: `slider m-${name}` }, h("label", { for: input.id }, name), input, output));
  }
}

// Whose events came last, to pick from. While Kafka does not answer, which the Stream says, it is asked again.
async function readShoppers(latest, listed) {
  const { shoppers } = await get("shoppers").catch(() => ({ shoppers: [] }));
  if (!shoppers.length) return setTimeout(() => readShoppers(latest, listed), ASK_AGAIN);
  listed.append(...shoppers.map((name) => h("option", { value: name })));
  latest.append(h("small", {}, "Shoppers who did something last"), ...shoppers.slice(0, CHIPS).map((name) => h("button", { class: "chip", type: "button", title: name, onclick: () => { parts.user.value = name; begin(name, true); } }, name)));
}

// Of the answer that is shown, and dropped with it when it was overtaken.
async function showKnown(turn) {
  const { known, interests } = parts;
  try {
    const told = await get("shopper", { user: state.user });
    if (turn !== state.turn) return;
    put(known.querySelector("small"), told.seen ? `${counted(told.seen, "product")} seen` : "");
    interests.replaceChildren(...describeKnown(told));
  } catch (error) {
    if (turn === state.turn) interests.replaceChildren(h("p", { class: "note" }, error.message));
  }
  known.hidden = false;
}

function describeKnown({ interests, products }) {
  if (!products.length) return [h("p", { class: "note" }, "Nothing is known of this shopper yet.")];
  const most = Math.max(...interests.map((one) => Math.abs(one.share)), 1e-9);
  const lines = interests.map((one) => h("li", { class: one.share < 0 ? "away" : "" }, h("span", { title: one.name }, one.name), h("span", { class: "track" }, h("i")), h("span", { class: "value" }, percent(one.share))));
  lines.forEach((line, place) => { line.querySelector("i").style.width = `${(100 * Math.abs(interests[place].share)) / most}%`; });
  return [h("ul", { class: "bars" }, ...lines), h("h3", {}, "What weighs most"),
    h("ul", { class: "touches" }, ...products.map((one) => h("li", { class: one.weight < 0 ? "away" : "" }, h("span", { title: one.id }, one.title || one.id), h("small", {}, one.kind.toLowerCase().replaceAll("_", " ")))))];
}

function paint(input, output) {
  input.style.setProperty("--share", `${(100 * input.value) / input.max}%`);
  put(output, Number(input.value));
}

function resetWeights() {
  for (const input of parts.sliders.querySelectorAll("input")) {
    input.value = "1";
    paint(input, input.nextElementSibling);
  }
  state.weights = {};
  ask("Weights are the model's own again");
}

let pending = 0;
function weigh(name, value) {
  if (value === 1) delete state.weights[name];
  else state.weights[name] = value;
  clearTimeout(pending);
  pending = setTimeout(() => ask(value === 1 ? `${name} counts as the model has it` : value === 0 ? `${name} is switched off` : `${name} counts ${value} times`), 120);
}

function invent(wanted) {
  const name = `guest-${Math.random().toString(36).slice(2, 8)}`;
  parts.user.value = name;
  begin(name, wanted);
}

// On a narrow screen the answer is below what asked for it.
function reveal() {
  if (NARROW.matches) parts.outcome.scrollIntoView({ block: "start" });
}

// `wanted`: a person asked for it, and is to see it.
function begin(user, wanted = false) {
  if (!user) return tell("Type a shopper's id, or invent one");
  parts.leave();
  if (wanted) reveal();
  state.user = user;
  state.list = null;
  tell(`Asking for ${user} …`);
  return ask("");
}

// One request at a time decides what is shown: an answer that was overtaken is dropped.
async function run(request, describe) {
  const turn = ++state.turn;
  parts.grid.classList.add("waiting");
  try {
    const answer = await request();
    if (turn === state.turn) {
      show(answer, describe);
      showKnown(turn);
    }
  } catch (error) {
    if (turn === state.turn) tell(error.message, true);
  } finally {
    if (turn === state.turn) parts.grid.classList.remove("waiting");
  }
}

const ask = (what) => run(() => get("recommend", { user: state.user, ...state.weights }), what);

const interact = (product, kind) =>
  run(() => post("interact", { user: state.user, product: product.id, kind, weights: state.weights }), `${VERBS[kind]} “${shown(product)}”`);

function setAvailable(product, available) {
  if (available) state.withdrawn.delete(product.id);
  else state.withdrawn.set(product.id, product);
  showWithdrawn();
  return run(() => post("available", { user: state.user, product: product.id, available, weights: state.weights }),
    `${available ? "Put back" : "Withdrew"} “${shown(product)}”${available ? "" : ", for everyone"}`);
}

function showWithdrawn() {
  parts.gone.hidden = state.withdrawn.size === 0;
  keyed(parts.withdrawn, [...state.withdrawn.values()], (product) => product.id,
    (product) => h("li", {}, h("span", {}, shown(product)), h("button", { class: "plain", type: "button", onclick: () => setAvailable(product, true) }, "Put back")),
    () => {});
}

function show(answer, what) {
  const before = state.list;
  state.list = answer.products;
  const ranks = new Map((before ?? []).map((product, place) => [product.id, place]));
  const now = new Set(answer.products.map((product) => product.id));
  const fresh = before ? answer.products.filter((product) => !ranks.has(product.id)).length : 0;
  const left = (before ?? []).filter((product) => !now.has(product.id));
  const moved = before ? answer.products.filter((product, place) => ranks.has(product.id) && ranks.get(product.id) !== place).length : 0;
  tellChange(answer, what, { before, fresh, left, moved });
  showCards(answer.products, before ? ranks : null);
  showBasis(answer);
}

function tellChange(answer, what, { before, fresh, left, moved }) {
  const steps = Object.entries(answer.milliseconds);
  const all = steps.reduce((sum, [, value]) => sum + value, 0);
  const change = !before ? `${answer.products.length} products for ${state.user}` : fresh || left.length ? `${fresh} new, ${left.length} left` : moved ? `the same products, ${moved} at another place` : "the list stays as it was";
  const sentence = h("p", { class: "what" }, what ? `${what}: ${change}, in ` : `${change}, in `, h("b", {}, milliseconds(all)));
  const bar = h("div", { class: "split", "aria-hidden": "true" }, ...steps.map(([name]) => h("i", { class: `c-${name}` })));
  steps.forEach(([, value], place) => { bar.children[place].style.flexGrow = Math.max(value, all / 100); });
  const names = h("p", { class: "split-names" }, ...steps.map(([name, value]) => h("span", { class: `c-${name}` }, `${NAMES[name]} `, h("b", {}, milliseconds(value)))));
  const gone = left.length ? h("p", { class: "gone" }, "Left: ", ...left.map((product) => h("s", {}, shown(product)))) : null;
  const hint = before || !mayChange ? null : h("p", { class: "hint" }, "Click a product as this shopper would: the list below is then the first answer that counts the click.");
  parts.told.replaceChildren(sentence, bar, names, ...[gone, hint].filter(Boolean));
}

function tell(text, bad = false) {
  parts.told.replaceChildren(h("p", { class: bad ? "problem" : "what" }, text, ...(bad ? [" ", h("a", { href: "#stream" }, "The Stream says what is wrong.")] : [])));
}

function showCards(products, ranks) {
  const places = new Map([...parts.grid.children].map((node) => [node.dataset.key, node.getBoundingClientRect()]));
  const most = Math.max(...products.map((product) => product.contributions.reduce((sum, [, value]) => sum + Math.abs(value), 0)), 1e-9);
  const on = { click: (product) => interact(product, "CLICK"), hide: (product) => interact(product, "HIDE"), withdraw: (product) => setAvailable(product, false), similar: openSimilar };
  keyed(parts.grid, products, (product) => product.id, () => card(on, mayChange), (node, product) => {
    const place = products.indexOf(product);
    const old = ranks?.get(product.id);
    node.update(product, most, ranks === null || old === place ? "" : old === undefined ? "new" : old > place ? `↑ ${old - place}` : `↓ ${place - old}`);
  });
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) glide(places);
}

// Cards travel from where they were (the FLIP technique).
function glide(places) {
  for (const node of parts.grid.children) {
    const before = places.get(node.dataset.key);
    const after = node.getBoundingClientRect();
    if (before && (before.x !== after.x || before.y !== after.y)) {
      node.animate([{ transform: `translate(${before.x - after.x}px, ${before.y - after.y}px)` }, { transform: "none" }], { duration: 280, easing: "ease-out" });
    } else if (!before) node.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 280 });
  }
}

function showBasis(answer) {
  const fresh = answer.freshness;
  const offsets = (listed) => [...listed].sort((one, other) => one[0] - other[0]).map(([partition, offset]) => `${partition}:${offset}`).join("  ");
  const rows = [
    ["Basis", BASES[answer.basis] ?? answer.basis.toLowerCase()],
    ["Complete", fresh.degraded ? h("span", { class: "bad" }, `no: ${fresh.reasons.join("; ")}`) : "yes"],
    ["Reached", fresh.reached ? "all that was published before" : h("span", { class: "bad" }, "no: time ran out before it was applied")],
    ["Model", fresh.model],
    ["Shopper's newest event", clock(fresh.profile_time)],
    ["Catalogue's newest change", clock(fresh.catalogue_time)],
    ["Interactions applied", offsets(fresh.interactions)],
    ["Representations read", offsets(fresh.representations)],
  ];
  parts.basis.hidden = false;
  parts.basis.replaceChildren(h("h2", {}, "What this answer is true of"), h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    ...(mayChange ? [] : [h("p", { class: "note" }, "Looking only: open the address that was printed, with #token=…, to click, hide and withdraw.")]));
}

async function openSimilar(product) {
  const { similar } = parts;
  const grid = h("div", { class: "grid" });
  const told = h("small", {});
  similar.replaceChildren(h("header", {}, h("h2", {}, `Like “${shown(product)}”`, told), h("button", { class: "plain", type: "button", onclick: () => similar.close() }, "Close")), grid);
  similar.showModal();
  try {
    const answer = await get("similar", { product: product.id, ...state.weights });
    put(told, milliseconds(answer.milliseconds.answered));
    const most = Math.max(...answer.products.map((found) => found.score), 1e-9);
    grid.append(...answer.products.map((found) => {
      const node = card(null, false);
      node.update(found, most, "");
      return node;
    }));
  } catch (error) {
    grid.replaceWith(h("p", { class: "problem" }, error.message));
  }
}
