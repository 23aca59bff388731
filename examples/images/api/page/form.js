// The form that asks for an image, and what becomes of those that were asked for.

import { EVERY, ask, by, element, sleep } from "./server.js";

const form = by("ask");
let models = {};

// Fill the lists. Where that fails, the server's defaults hold, and the page says so.
export async function offer() {
  const { ok, body } = await ask("/catalogue").catch(() => ({}));
  if (!ok) return say("The server did not say which sizes there are; its defaults hold.", true);
  models = body.models;
  by("model").replaceChildren(...Object.keys(models).map((name) => new Option(name)));
  by("model").value = body.default_model;
  by("model").closest(".field").hidden = Object.keys(models).length < 2;
  offerSizes();
}

function offerSizes() {
  by("size").replaceChildren(...models[by("model").value].sizes.map((size) => new Option(size.replace("x", " × "), size)));
}

by("model").addEventListener("change", offerSizes);

function wanted() {
  const seed = by("seed").value.trim();
  return {
    prompt: by("prompt").value,
    // Before the catalogue is there, the server's defaults hold.
    ...(by("model").value && { model: by("model").value, size: by("size").value }),
    // What is no number is sent as it is: the server says what would do.
    ...(seed && { seed: /^[0-9]{1,15}$/.test(seed) ? Number(seed) : seed }),
  };
}

function complain(problem) {
  const fields = [...form.elements].filter((field) => field.name);
  for (const field of fields) {
    field.removeAttribute("aria-invalid");
    by(`${field.name}-error`).textContent = "";
  }
  if (!problem) return;
  const elsewhere = [];
  for (const { field: name, detail } of problem.errors ?? []) {
    const field = fields.find((one) => one.name === name);
    if (!field) {
      elsewhere.push(`${name}: ${detail}`);
      continue;
    }
    field.setAttribute("aria-invalid", "true");
    by(`${name}-error`).textContent = `It ${detail}.`;
  }
  if (!problem.errors) elsewhere.push(problem.detail);
  say(elsewhere.join(" ") || "Please look at the fields marked.", true);
  fields.find((field) => field.hasAttribute("aria-invalid"))?.focus();
}

function say(text, bad = false) {
  by("answer").textContent = text;
  by("answer").classList.toggle("bad", bad);
}

let sending = false;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (sending) return;
  sending = true;
  const button = form.querySelector("[type=submit]");
  button.setAttribute("aria-disabled", "true");
  const asked = wanted();
  try {
    const { ok, status, body } = await ask("/jobs", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(asked),
    });
    complain(ok ? null : body ?? { detail: `The server answered with ${status}.` });
    if (ok) {
      say(status === 200 ? "This one was asked for before." : "It is in the queue.");
      follow(asked.prompt, body);
    }
  } catch {
    complain({ detail: "The server did not answer. Draw again: a repeat makes no second image." });
  } finally {
    sending = false;
    button.removeAttribute("aria-disabled");
  }
});

const STATES = { queued: ["queued", "wait"], running: ["drawing", "wait"], done: ["done", "good"], dead: ["given up", "bad"] };

// Keep a line about a job until it has ended, and one about each job.
async function follow(prompt, job) {
  [...by("asked").children].find((line) => line.dataset.id === job.id)?.remove();
  const state = element("span", "state");
  const words = element("span", "words", prompt);
  words.title = prompt;
  const line = element("li", "", words, state);
  line.dataset.id = job.id;
  by("asked").prepend(line);
  while (by("asked").children.length > 5) by("asked").lastChild.remove();
  for (let wait = Math.min(1000, EVERY); line.isConnected; wait = Math.min(wait * 1.3, 10_000)) {
    const [word, tone] = STATES[job.state] ?? [job.state, "wait"];
    state.textContent = job.state === "dead" ? `${word}: ${job.reason}` : word;
    state.dataset.tone = tone;
    const frame = job.links.frame;
    if (frame) {
      const link = element("a", "", prompt);
      link.href = new URL(frame, location).protocol.startsWith("http") ? frame : "#";
      words.replaceChildren(link);
    }
    if (job.finished_at) break;
    await sleep(wait);
    // A look that fails is made again; one that finds no job any more is the last.
    const { ok, status, body } = await ask(job.links.self).catch(() => ({}));
    if (ok) job = body;
    else if (status === 404) break;
  }
}
