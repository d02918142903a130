// A product as a card: picture, title, price, why, and what each modality adds to its score.

import { picture } from "./api.js";
import { h, put } from "./dom.js";
import { price } from "./format.js";

const NAMED = 2; // the largest parts are named below the bar, and all of them once it is asked for the rest

export const shown = (product) => product.title || product.id;

// `on` has what the buttons do, by name, and what a click does; null: a card without buttons. With `on.looking` a click
// changes nothing, and needs no token. `node.update(product, most, badge)` fills it.
export function card(on, mayChange) {
  let product = null;
  const badge = h("span", { class: "badge" });
  const shot = h("span", { class: "shot" });
  const title = h("b");
  const small = h("small");
  const why = h("p", { class: "why" });
  const bar = h("div", { class: "parts-bar", "aria-hidden": "true" });
  const legend = h("button", { class: "legend", type: "button", "aria-expanded": "false", onclick: () => legend.setAttribute("aria-expanded", String(legend.getAttribute("aria-expanded") !== "true")) });
  const look = h("button", { class: "look", type: "button", disabled: !on || !(mayChange || on.looking), title: !on ? "" : on.looking ? "Products like this one" : "Click, as a shopper would", onclick: () => on?.click(product) },
    shot, h("span", { class: "words" }, title, small));
  const act = (name, text, about, changes) => on[name] && h("button", { class: "plain", type: "button", title: about, disabled: changes && !mayChange, onclick: () => on[name](product) }, text);
  const acts = on && h("div", { class: "acts" }, act("similar", "Similar", "Products like this one", false), act("hide", "Hide", "Not for this shopper", true),
    act("withdraw", "Withdraw", "Out of the catalogue, for everyone", true));
  const node = h("article", { class: "card" }, badge, look, why, bar, legend, acts);

  node.update = (given, most, said) => {
    const first = product?.id !== given.id;
    product = given;
    if (first) showPicture(shot, given);
    put(badge, said);
    badge.className = said === "new" ? "badge" : "badge moved";
    node.classList.toggle("new", said === "new");
    put(title, shown(given));
    put(small, [given.brand, price(given.price, given.currency), given.rating === null ? "" : `★\u00a0${given.rating.toFixed(1)}`].filter(Boolean).join(" · "));
    put(why, given.reason);
    showParts(bar, legend, given.contributions, most);
  };
  return node;
}

async function showPicture(shot, product) {
  shot.replaceChildren();
  const address = await picture(product.id);
  shot.classList.toggle("none", !address);
  shot.replaceChildren(address ? h("img", { src: address, alt: "" }) : shown(product).slice(0, 1).toUpperCase());
}

function showParts(bar, legend, contributions, most) {
  const parts = contributions.filter(([, value]) => Math.abs(value) / most >= 0.005);
  const total = parts.reduce((sum, [, value]) => sum + value, 0);
  bar.replaceChildren(...parts.map(([name, value]) => h("i", { class: `m-${name}${value < 0 ? " minus" : ""}` })));
  parts.forEach(([, value], place) => { bar.children[place].style.width = `${(100 * Math.abs(value)) / most}%`; });
  const number = (value) => value.toFixed(Math.abs(value) < 0.1 ? 3 : 2);
  bar.title = [`score ${number(total)}`, ...contributions.map(([name, value]) => `${name} ${number(value)}`)].join("\n");
  legend.title = bar.title;
  const rest = contributions.length - NAMED;
  legend.replaceChildren(...contributions.map(([name, value]) => h("span", { class: `m-${name}` }, `${name} ${number(value)}`)), ...(rest > 0 ? [h("span", { class: "more" }, `+${rest}`)] : []));
}
