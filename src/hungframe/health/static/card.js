// One guard on the page. Elements are made once and then changed, so that nothing jumps and a selection stays.
import { SHAPES, latency, markOf, timeline } from "./draw.js";
import { OUTCOMES, STATES, clock, count, long, sentence, share } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const ROWS = 5;
const MOST_PLACES = 6;
const MOST_AGES = 5;

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class Card {
  constructor(id) {
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    this.find = (selector) => this.element.querySelector(selector);
    this.element.dataset.id = id;
    const title = this.find("h2");
    title.id = `guard-${id}`;
    this.element.setAttribute("aria-labelledby", title.id);
    this.figures = new Map();
    this.legend = new Map();
    this.rows = [];
    this.orphans = [];
    this.hanging = [];
    for (let row = 0; row < ROWS; row += 1) this.rows.push(this.row());
  }

  row() {
    const row = document.createElement("li");
    row.append(
      document.createElement("time"),
      Object.assign(document.createElement("span"), { className: "what" }),
      Object.assign(document.createElement("span"), { className: "times" }),
      document.createElement("code"),
    );
    this.find(".told ol").append(row);
    return row;
  }

  /** Show a guard as the feed has it; *age* is how many seconds ago that was. */
  show(guard, now, age) {
    this.guard = guard;
    const state = guard.state;
    this.element.dataset.state = state;
    put(this.find("h2"), guard.name);
    put(this.find(".word"), STATES[state] ?? state);
    this.find(".shape path").setAttribute("d", SHAPES[state] ?? SHAPES.disabled);
    this.list();
    this.events();
    this.budget();
    this.left();
    this.draw();
    this.tick(now, age);
  }

  /** What time alone moves on; *now* is the server's clock. */
  tick(now, age) {
    const { guard } = this;
    const isOpen = guard.state === "open" || guard.state === "forced_open";
    const until = guard.retry_after === null ? null : Math.max(0, guard.retry_after - age);
    let next = "";
    if (guard.state === "open") next = until > 0.5 ? `Next try in ${long(Math.ceil(until))}` : "Next call is the probe";
    if (guard.state === "forced_open") next = "Until somebody resets it";
    if (guard.state === "half_open") next = until > 0.5 ? `Next try in ${long(Math.ceil(until))}` : "Next call is the probe";
    if (guard.state === "disabled") next = "Refuses nobody";
    put(this.find(".next"), next);
    this.figure("Open today", long(guard.open_seconds_today + (isOpen ? age : 0)));
    if (this.width) timeline(this.find(".timeline svg"), guard.states, now, this.width);
    this.hanging.forEach(([, ages], place) => {
      const shown = ages.slice(0, MOST_AGES).map((each) => long(each + age));
      const more = ages.length > MOST_AGES ? ` and ${count(ages.length - MOST_AGES)} more` : "";
      put(this.orphans[place].firstChild, `for ${shown.join(", ")}${more}`);
    });
  }

  /** Draw for the width that there is. */
  draw() {
    const width = Math.round(this.find(".latency").clientWidth);
    if (width > 0) {
      this.width = width;
      latency(this.find(".latency svg"), this.guard, width);
      this.marks();
    }
  }

  figure(name, value, grave = "") {
    let figure = this.figures.get(name);
    if (!figure) {
      const box = document.createElement("div");
      const term = document.createElement("dt");
      figure = document.createElement("dd");
      put(term, name);
      box.append(term, figure);
      this.find(".figures").append(box);
      this.figures.set(name, figure);
    }
    put(figure, value);
    if (figure.dataset.grave !== grave) figure.dataset.grave = grave;
  }

  list() {
    const { guard } = this;
    const slots = guard.slots === null ? "" : ` of ${count(guard.slots)}`;
    this.figure("In flight", `${count(guard.in_flight)}${slots}`);
    this.figure("Waiting", count(guard.waiting));
    this.figure("Suspects", count(guard.suspects), guard.suspects ? "warn" : "");
    this.figure("Left behind", count(guard.orphans), guard.orphans ? "bad" : "");
    this.figure("Failing", share(guard.failure_rate));
  }

  marks() {
    const counts = new Map();
    for (const [, , outcome] of this.guard.calls) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    for (const outcome of new Set([...Object.keys(OUTCOMES), ...counts.keys()])) {
      const times = counts.get(outcome) ?? 0;
      let entry = this.legend.get(outcome);
      if (!entry && !times) continue;
      if (!entry) {
        entry = document.createElement("li");
        const mark = document.createElementNS(SVG, "svg");
        mark.setAttribute("viewBox", "0 0 16 16");
        mark.setAttribute("aria-hidden", "true");
        const path = document.createElementNS(SVG, "path");
        path.setAttribute("class", `mark o-${outcome}`);
        path.setAttribute("d", markOf(outcome));
        mark.append(path);
        entry.append(mark, document.createElement("span"));
        this.find(".legend").append(entry);
        this.legend.set(outcome, entry);
      }
      entry.hidden = times === 0;
      put(entry.lastChild, `${times} ${OUTCOMES[outcome] ?? outcome}`);
    }
    if (!this.guard.calls.length) put(this.none(), "No calls yet");
    else this.none().hidden = true;
  }

  none() {
    let entry = this.legend.get("");
    if (!entry) {
      entry = document.createElement("li");
      this.find(".legend").append(entry);
      this.legend.set("", entry);
    }
    entry.hidden = false;
    return entry;
  }

  events() {
    const events = this.guard.events.slice(-ROWS).reverse();
    this.rows.forEach((row, place) => {
      const event = events[place];
      const [time, what, times, where] = row.children;
      row.hidden = !event && place > 0;
      if (!event) {
        put(time, "");
        put(what, place === 0 ? "Nothing but answers so far" : "");
        put(times, "");
        put(where, "");
        row.dataset.grave = "soft";
        return;
      }
      const [grave, words, at] = sentence(event);
      if (row.dataset.grave !== grave) row.dataset.grave = grave;
      put(time, clock(event.ts));
      put(what, words);
      put(times, event.count > 1 ? `× ${count(event.count)}` : "");
      put(where, at);
    });
  }

  budget() {
    const { budget, budget_full: full } = this.guard;
    const section = this.find(".budget");
    section.hidden = budget === null;
    if (budget === null) return;
    this.most = Math.max(this.most ?? 1, full ?? 0, budget);
    const most = full ?? this.most;
    const gauge = this.find(".gauge");
    gauge.setAttribute("aria-valuemax", most);
    gauge.setAttribute("aria-valuenow", Math.max(0, Math.min(budget, most)));
    const words = `${count(budget)} of ${count(most)} tokens left`;
    gauge.setAttribute("aria-valuetext", words);
    gauge.firstElementChild.style.width = `${Math.max(0, Math.min(1, budget / most)) * 100}%`;
    gauge.dataset.grave = budget <= 0 ? "bad" : budget / most < 0.2 ? "warn" : "";
    put(this.find(".budget p"), words);
  }

  /** Callees that were left behind, by the place where they hang. */
  left() {
    const places = new Map();
    for (const { age, where } of this.guard.orphan_calls) (places.get(where) ?? places.set(where, []).get(where)).push(age);
    this.hanging = [...places].slice(0, MOST_PLACES);
    while (this.orphans.length < this.hanging.length) {
      const entry = document.createElement("li");
      entry.append(document.createElement("span"), document.createElement("code"));
      this.find(".orphans ul").append(entry);
      this.orphans.push(entry);
    }
    this.orphans.forEach((entry, place) => {
      entry.hidden = place >= this.hanging.length;
      if (!entry.hidden) put(entry.lastChild, this.hanging[place][0] || "nobody knows where");
    });
    this.find(".orphans").hidden = places.size === 0;
    const more = places.size - this.hanging.length;
    put(this.find(".orphans h3"), `Left behind, still running${more > 0 ? `; in ${count(more)} more places` : ""}`);
  }
}
