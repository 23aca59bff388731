// The two drawings of a guard: its breaker's states over time, and its last calls. Each is a handful of paths, whatever
// the number of calls, so that a redraw costs a fraction of a frame.
import { OUTCOMES, STATES, long, seconds } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
export const SPAN = 900;

/** What each state looks like in a 16 x 16 box: told apart without its colour. */
export const SHAPES = {
  closed: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12z",
  half_open: "M8 1.2L14.8 8L8 14.8L1.2 8z",
  open: "M2.5 2.5h11v11h-11z",
  forced_open: "M2 2h12v5h-12zM2 9h12v5h-12z",
  disabled: "M1.5 6.5h13v3h-13z",
};

// Higher is worse, so that an outage stands out without its colour, too.
const HEIGHTS = { closed: 6, half_open: 14, open: 22, forced_open: 22, disabled: 2 };

const r = (value) => Math.round(value * 10) / 10;
const ring = (x, y) => `M${r(x - 2.6)} ${r(y)}a2.6 2.6 0 1 0 5.2 0a2.6 2.6 0 1 0-5.2 0z`;
const square = (x, y) => `M${r(x - 2.6)} ${r(y - 2.6)}h5.2v5.2h-5.2z`;
const MARKS = {
  success: ring,
  cancelled: ring,
  timeout: (x, y) => `M${r(x - 3)} ${r(y - 3)}l6 6m0-6l-6 6`,
  quota: (x, y) => `M${r(x)} ${r(y - 3.4)}l3.4 6h-6.8z`,
  rejected: (x, y) => `M${r(x)} ${r(y - 3.4)}l3.4 3.4l-3.4 3.4l-3.4-3.4z`,
};

/** The mark of one outcome, for a legend. */
export function markOf(outcome) {
  return (MARKS[outcome] ?? square)(8, 8);
}

/** The element of a drawing by its name; made when it is first asked for. */
function part(svg, name, tag) {
  const parts = (svg.parts ??= new Map());
  let found = parts.get(name);
  if (!found) {
    found = document.createElementNS(SVG, tag);
    found.setAttribute("class", name);
    svg.append(found);
    parts.set(name, found);
  }
  return found;
}

function set(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

function text(svg, name, words, x, y) {
  const label = part(svg, name, "text");
  if (label.textContent !== words) label.textContent = words;
  set(label, "x", r(x));
  set(label, "y", r(y));
}

/** States over the last quarter of an hour, up to *now*; nothing is drawn for what was before anybody listened. */
export function timeline(svg, states, now, width) {
  set(svg, "viewBox", `0 0 ${width} 22`);
  const paths = Object.fromEntries(Object.keys(STATES).map((state) => [state, ""]));
  const totals = {};
  const begin = now - SPAN;
  states.forEach(([ts, state], place) => {
    const from = Math.max(ts, begin);
    const to = Math.min(place + 1 < states.length ? states[place + 1][0] : now, now);
    if (to <= begin || to <= from) return;
    totals[state] = (totals[state] ?? 0) + to - from;
    // An outage of a second is seen, too.
    const x = ((from - begin) / SPAN) * width;
    const length = Math.max(((to - from) / SPAN) * width, state === "closed" ? 0 : 1.5);
    const height = HEIGHTS[state] ?? 6;
    paths[state] = `${paths[state] ?? ""}M${r(x)} ${11 - height / 2}h${r(length)}v${height}h${-r(length)}z`;
  });
  set(part(svg, "base", "path"), "d", `M0 11h${width}`);
  for (const [state, d] of Object.entries(paths)) set(part(svg, state, "path"), "d", d);
  const told = Object.entries(totals).map(([state, total]) => `${STATES[state] ?? state} ${long(total)}`);
  set(svg, "aria-label", `In the last 15 minutes: ${told.join(", ") || "nothing known"}`);
}

/** The last calls as marks by outcome, newest at the right, on a logarithmic scale, with the lines of timeout and P95. */
export function latency(svg, guard, width) {
  const { calls, timeout, p95 } = guard;
  const height = 132;
  set(svg, "viewBox", `0 0 ${width} ${height}`);
  const values = calls.map((call) => Math.max(call[1], 0.001));
  const lines = [timeout, p95].filter((value) => value > 0);
  // Whole decades, so that the scale stands still while calls come and go.
  const low = Math.floor(Math.log10(Math.min(...values, ...lines, 0.1)) + 1e-9);
  const high = Math.max(Math.ceil(Math.log10(Math.max(...values, ...lines, 1)) - 1e-9), low + 1);
  // The lines are named beside the calls, and not over them.
  const [left, right, top, bottom] = [44, width - 104, 14, height - 8];
  const y = (value) => bottom - ((Math.log10(Math.max(value, 0.001)) - low) / (high - low)) * (bottom - top);
  let grid = "";
  for (let decade = 0; decade < 6; decade += 1) {
    const shown = low + decade <= high;
    if (shown) grid += `M${left} ${r(y(10 ** (low + decade)))}H${right}`;
    const words = shown ? seconds(10 ** (low + decade)) : "";
    text(svg, `tick tick-${decade}`, words, left - 8, shown ? y(10 ** (low + decade)) + 4 : 0);
  }
  set(part(svg, "grid", "path"), "d", grid);
  const step = (right - left - 12) / 99;
  const paths = Object.fromEntries(Object.keys(OUTCOMES).map((outcome) => [outcome, ""]));
  calls.forEach(([, , outcome], place) => {
    const x = right - 6 - (calls.length - 1 - place) * step;
    paths[outcome] = (paths[outcome] ?? "") + (MARKS[outcome] ?? square)(x, y(values[place]));
  });
  for (const [outcome, d] of Object.entries(paths)) set(part(svg, `mark o-${outcome}`, "path"), "d", d);
  set(part(svg, "line-timeout", "path"), "d", timeout > 0 ? `M${left} ${r(y(timeout))}H${right}` : "");
  set(part(svg, "line-p95", "path"), "d", p95 > 0 ? `M${left} ${r(y(p95))}H${right}` : "");
  // Where the lines are close, their names make way: that of the higher one upwards.
  const [atTimeout, atP95] = [timeout > 0 ? y(timeout) : -99, p95 > 0 ? y(p95) : 99_999];
  const way = Math.max(0, 15 - Math.abs(atP95 - atTimeout)) / 2;
  const up = atTimeout <= atP95 ? 1 : -1;
  text(svg, "label label-timeout", timeout > 0 ? `timeout ${seconds(timeout)}` : "", right + 6, atTimeout + 4 - up * way);
  text(svg, "label label-p95", p95 > 0 ? `P95 ${seconds(p95)}` : "", right + 6, atP95 + 4 + up * way);
  const last = calls.length ? `; the last took ${seconds(calls[calls.length - 1][1])}` : "";
  const learned = p95 > 0 ? `P95 ${seconds(p95)}` : "P95 not known yet";
  set(svg, "aria-label", `Latency of the last ${calls.length} calls: timeout ${seconds(timeout)}, ${learned}${last}`);
}
