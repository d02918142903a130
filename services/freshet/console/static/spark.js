// The last hour as a small area: one point per step, gaps where nothing was known.

import { svg } from "./dom.js";

const WIDTH = 360;
const HEIGHT = 44;

export function spark() {
  return svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "area" }),
    svg("path", { class: "line" }),
  );
}

// Returns the largest value, or null where there is none. `least` keeps noise flat.
export function draw(node, values, least) {
  const known = values.filter((value) => value !== null);
  const most = Math.max(least, ...known);
  const start = WIDTH - values.length;
  const points = values.map((value, place) => value === null ? null : [start + place, HEIGHT - 2 - (value / most) * (HEIGHT - 8)]);
  let line = "";
  let area = "";
  let run = [];
  const close = () => {
    if (!run.length) return;
    if (run.length === 1) run.push([run[0][0] + 1, run[0][1]]);
    const path = run.map(([x, y]) => `${x} ${y.toFixed(1)}`).join("L");
    line += `M${path}`;
    area += `M${run[0][0]} ${HEIGHT}L${path}L${run.at(-1)[0]} ${HEIGHT}Z`;
    run = [];
  };
  for (const point of points) point ? run.push(point) : close();
  close();
  node.children[0].setAttribute("d", area);
  node.children[1].setAttribute("d", line);
  return known.length ? Math.max(...known) : null;
}
