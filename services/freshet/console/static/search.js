// Search by words, by a picture that is dropped or chosen, or by both.

import { get, mayChange, send } from "./api.js";
import { h, keyed, put } from "./dom.js";
import { milliseconds } from "./format.js";
import { card } from "./cards.js";

// `openSimilar(product)` shows products like one; `showing(searching)` hears whether results are to be seen. `clear()`
// leaves them.
export function buildSearch({ openSimilar, showing }) {
  const state = { file: null, address: "", turn: 0 };
  const words = h("input", { id: "words", maxlength: "10000", autocomplete: "off", placeholder: "red ankle boot", "aria-label": "Words to search by" });
  const preview = h("img", { alt: "", hidden: true });
  const asked = h("span", {}, mayChange ? "Drop a picture, or choose one" : "A picture needs the token");
  const chooser = h("input", { type: "file", id: "picture", accept: "image/png,image/jpeg,image/webp,image/gif", disabled: !mayChange, "aria-label": "Picture to search by",
    onchange: () => { take(chooser.files[0]); run(); } });
  const drop = h("label", { class: mayChange ? "drop" : "drop off" }, preview, asked, chooser);
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); run(); } }, words, drop,
    h("div", { class: "row" }, h("button", { type: "button", onclick: clear }, "Clear"), h("button", { class: "main", type: "submit" }, "Search")));
  const panel = h("div", { class: "panel search", ondragover: over, ondragleave: () => panel.classList.remove("over"), ondrop: dropped }, h("h2", {}, "Search"), form);
  const told = h("p", { class: "what" });
  const missing = h("p", { class: "hint" });
  const grid = h("div", { class: "grid" });
  const results = h("div", { class: "found", hidden: true },
    h("header", { class: "panel sought", "aria-live": "polite" }, h("div", {}, told, missing), h("button", { class: "plain", type: "button", onclick: clear }, "Back to the shopper")), grid);

  function over(event) {
    if (!mayChange || ![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    panel.classList.add("over");
  }

  function dropped(event) {
    panel.classList.remove("over");
    if (!mayChange || !event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
    run();
  }

  function take(file) {
    if (state.address) URL.revokeObjectURL(state.address);
    state.file = file ?? null;
    state.address = file ? URL.createObjectURL(file) : "";
    preview.hidden = !file;
    if (file) preview.src = state.address;
    put(asked, file ? file.name : "Drop a picture, or choose one");
    if (!file) chooser.value = "";
  }

  function clear() {
    state.turn += 1;
    words.value = "";
    if (mayChange) take(null);
    results.hidden = true;
    showing(false);
  }

  async function run() {
    const text = words.value.trim();
    if (!text && !state.file) return clear();
    const turn = ++state.turn;
    grid.classList.add("waiting");
    try {
      const answer = state.file ? await send("search", { text }, state.file) : await get("search", { text });
      if (turn === state.turn) show(answer, text);
    } catch (error) {
      if (turn === state.turn) fail(error);
    } finally {
      if (turn === state.turn) grid.classList.remove("waiting");
    }
  }

  function show(answer, text) {
    const sought = [text && `“${text}”`, state.file && "the picture"].filter(Boolean).join(" and ");
    told.className = "what";
    told.replaceChildren(`${answer.products.length} products for ${sought}, in `, h("b", {}, milliseconds(answer.milliseconds.answered)));
    put(missing, answer.freshness.degraded ? `Left out: ${answer.freshness.reasons.join("; ")}` : "");
    const most = Math.max(...answer.products.map((product) => product.contributions.reduce((sum, [, value]) => sum + Math.abs(value), 0)), 1e-9);
    keyed(grid, answer.products, (product) => product.id, () => card({ looking: true, click: openSimilar }, mayChange), (node, product) => node.update(product, most, ""));
    results.hidden = false;
    showing(true);
  }

  function fail(error) {
    told.className = "problem";
    put(told, error.message);
    put(missing, "");
    grid.replaceChildren();
    results.hidden = false;
    showing(true);
  }

  return { panel, results, clear };
}
