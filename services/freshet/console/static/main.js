// Which section is shown, and the one connection that all of them listen to.

import { follow, get } from "./api.js";
import { mark, put } from "./dom.js";
import { showHistory, showLost, showSnapshot } from "./stream.js";
import { openLetters } from "./letters.js";
import { openPlayground } from "./playground.js";

const SECTIONS = ["stream", "playground", "letters"];
const OPENED = { playground: openPlayground, letters: openLetters };
const HISTORY_EVERY = 10_000;

function show() {
  const wanted = location.hash.slice(1).split("?")[0];
  const chosen = SECTIONS.includes(wanted) ? wanted : "stream";
  for (const name of SECTIONS) {
    document.getElementById(name).hidden = name !== chosen;
    const link = document.querySelector(`nav a[href="#${name}"]`);
    if (name === chosen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  OPENED[chosen]?.();
}

async function refreshHistory() {
  try {
    showHistory(await get("history"));
  } catch {
    // The connection below says what is wrong.
  }
}

const pulse = document.getElementById("pulse");

function received(snapshot) {
  put(pulse, "live");
  mark(pulse, "live", true);
  mark(pulse, "lost", false);
  const model = document.getElementById("model");
  put(model, snapshot.model ? `model ${snapshot.model}` : "");
  const unread = snapshot.flow.dead_letters.reduce((sum, row) => sum + row.minute, 0);
  const badge = document.getElementById("letters-count");
  badge.hidden = unread === 0;
  put(badge, `+${unread}`);
  showSnapshot(snapshot);
}

function lost(error) {
  put(pulse, "not connected");
  mark(pulse, "live", false);
  mark(pulse, "lost", true);
  showLost(error);
}

window.addEventListener("hashchange", show);
show();
refreshHistory();
setInterval(refreshHistory, HISTORY_EVERY);
follow("live", received, lost);
