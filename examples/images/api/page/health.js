// How the workers are, and how long the queue is.

import { ask, by, element, write } from "./server.js";

const REASONS = {
  "database-away": "The database is away",
  "no-worker": "No worker is running",
  "all-breakers-open": "The provider hangs; new images wait",
};
const CIRCUITS = { closed: "good", disabled: "good", half_open: "wait", open: "bad", forced_open: "bad" };

export async function health() {
  const { body } = await ask("/internal/gen-health").catch(() => ({}));
  const known = body && Array.isArray(body.reasons);
  by("ready").dataset.tone = known && body.ready ? "good" : "bad";
  write(by("ready-text"), known ? (body.reasons.map((one) => REASONS[one] ?? one).join(". ") || "All is well") : "The server does not answer");
  if (!known) return;
  const counts = Object.entries({ queued: 0, running: 0, done: 0, dead: 0, ...body.queue.counts });
  by("counts").replaceChildren(
    ...(body.queue.counts ? counts : []).slice(0, 4).map(([name, count]) =>
      element("div", "", element("dt", "", name), element("dd", "", Intl.NumberFormat().format(count))),
    ),
  );
  by("workers").replaceChildren(...body.workers.map(worker));
}

function worker({ worker: name, snapshot }) {
  const state = element("span", "state", `circuit ${String(snapshot.state ?? "unknown").replace("_", " ")}`);
  state.dataset.tone = CIRCUITS[snapshot.state] ?? "wait";
  const about = [
    snapshot.state === "open" && snapshot.retry_after > 0 && `tries again in ${Math.ceil(snapshot.retry_after)} s`,
    snapshot.timeout != null && `timeout ${Math.round(snapshot.timeout * 10) / 10} s`,
    snapshot.budget != null && `budget ${snapshot.budget}`,
    snapshot.in_flight != null && `${snapshot.in_flight} in flight`,
    snapshot.orphans > 0 && `${snapshot.orphans} left hanging`,
  ];
  return element(
    "li",
    "",
    element("div", "head", element("span", "", name), state),
    element("div", "tell", about.filter(Boolean).join(" · ")),
  );
}
