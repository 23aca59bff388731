// The page: follows the stream, draws what has changed once a frame, and says when it has lost touch.
import { Card, put } from "./card.js";
import { SHAPES } from "./draw.js";
import { STATES, long } from "./words.js";

const STALE_AFTER = 12;
const GRAVE = ["open", "forced_open", "half_open", "disabled", "closed"];
const COLOURS = { open: "#d23c3c", forced_open: "#d23c3c", half_open: "#c98a1b", disabled: "#7a8594", closed: "#239b60" };

const byId = (id) => document.getElementById(id);
const cards = new Map();
const wide = new ResizeObserver(() => ask());
let latest = null;
let receivedAt = 0;
let heardAt = performance.now();
let source = null;
let wait = 1;
let asked = false;

// -- the stream ------------------------------------------------------------------------------------------------------

function follow() {
  source?.close();
  source = new EventSource("events");
  source.addEventListener("state", ({ data }) => {
    latest = JSON.parse(data);
    receivedAt = performance.now();
    heard();
    ask();
  });
  source.addEventListener("beat", heard);
  source.addEventListener("error", () => {
    // The browser tries again by itself, but not after an answer such as 502.
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(follow, wait * 1000 * (0.5 + Math.random()));
    wait = Math.min(wait * 2, 15);
  });
}

function heard() {
  heardAt = performance.now();
  wait = 1;
}

function touch() {
  const silent = (performance.now() - heardAt) / 1000;
  const link = silent > STALE_AFTER ? "stale" : latest ? "live" : "connecting";
  const words = { connecting: "Connecting", live: "Live" }[link];
  put(byId("link-words"), words ?? `No word for ${long(silent)}; this is how it was`);
  if (document.body.dataset.link !== link) {
    if (link === "stale") say("No word from the server any more.");
    if (link === "live" && document.body.dataset.link === "stale") say("The page is live again.");
    document.body.dataset.link = link;
  }
}

// -- drawing ---------------------------------------------------------------------------------------------------------

function ask() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    show();
  });
}

/** How many seconds ago the last state was told; it stands still once the page has lost touch. */
function age() {
  return Math.min(performance.now() - receivedAt, heardAt - receivedAt + STALE_AFTER * 1000) / 1000;
}

function show() {
  if (!latest) return;
  const main = byId("guards");
  const now = latest.ts + age();
  const known = new Set();
  latest.guards.forEach((guard, place) => {
    // Two guards may have one name.
    let id = guard.id;
    while (known.has(id)) id += "x";
    known.add(id);
    let card = cards.get(id);
    if (!card) {
      card = new Card(id);
      cards.set(id, card);
      const next = latest.guards.slice(place + 1).find((each) => cards.has(each.id));
      main.insertBefore(card.element, next ? cards.get(next.id).element : null);
      wide.observe(card.element);
    } else if (card.guard.state !== guard.state) {
      say(`${guard.name}: ${(STATES[guard.state] ?? guard.state).toLowerCase()}.`);
    }
    card.show(guard, now, age());
  });
  for (const [id, card] of cards) {
    if (known.has(id)) continue;
    wide.unobserve(card.element);
    card.element.remove();
    cards.delete(id);
  }
  verdict();
  options();
  touch();
}

function verdict() {
  const states = latest.guards.map((guard) => guard.state);
  const tally = GRAVE.filter((state) => states.includes(state)).map(
    (state) => `${states.filter((each) => each === state).length} ${STATES[state].toLowerCase()}`,
  );
  put(byId("verdict"), `${latest.ready ? "Ready" : "Not ready"}: ${tally.join(", ") || "no guard yet"}`);
  byId("verdict").dataset.ready = latest.ready;
  const worst = GRAVE.find((state) => states.includes(state)) ?? "disabled";
  const title = worst === "closed" ? "Health" : `${tally[0]} | Health`;
  if (document.title !== title) document.title = title;
  const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="${COLOURS[worst]}" d="${SHAPES[worst]}"/></svg>`;
  const href = `data:image/svg+xml,${encodeURIComponent(icon)}`;
  if (byId("icon").href !== href) byId("icon").href = href;
  put(byId("hidden"), latest.hidden ? `${latest.hidden.toLocaleString("en")} more guards were not used lately and are not shown.` : "");
}

// -- saying ----------------------------------------------------------------------------------------------------------

let toSay = [];
let saidAt = -Infinity;

/** Tell a screen reader, in one sentence every five seconds at most. */
function say(words) {
  toSay = [...toSay, words].slice(-4);
}

function speak() {
  if (!toSay.length || performance.now() - saidAt < 5000) return;
  saidAt = performance.now();
  byId("said").textContent = toSay.join(" ");
  toSay = [];
}

// -- an operator -----------------------------------------------------------------------------------------------------

function options() {
  const select = document.querySelector("#operate select[name=guard]");
  if (!select) return;
  const wanted = latest.guards.map((guard) => guard.id).join();
  if (select.dataset.ids === wanted) return;
  const chosen = select.value;
  select.replaceChildren(...latest.guards.map((guard) => new Option(guard.name, guard.id)));
  if (chosen) select.value = chosen;
  select.dataset.ids = wanted;
}

byId("operate")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const token = form.get("token");
  form.delete("token");
  let words;
  try {
    const answer = await fetch("operate", {
      method: "POST",
      headers: { Authorization: `Bearer ${/^[ -~]*$/.test(token) ? token : ""}` },
      body: new URLSearchParams(form),
    });
    const told = await answer.json();
    words = answer.ok ? `Done; it is ${(STATES[told.state] ?? told.state).toLowerCase()} now.` : told.error;
  } catch {
    words = "The server did not answer; nothing is known of what was done.";
  }
  byId("done").textContent = words.charAt(0).toUpperCase() + words.slice(1);
});

// --------------------------------------------------------------------------------------------------------------------

setInterval(() => {
  if (latest && document.body.dataset.link !== "stale") for (const card of cards.values()) card.tick(latest.ts + age(), age());
  touch();
  speak();
}, 1000);
addEventListener("pageshow", (event) => event.persisted && follow());
addEventListener("pagehide", () => source?.close());
follow();
