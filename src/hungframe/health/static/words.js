// How numbers, states and events read.

export const STATES = {
  closed: "Closed",
  half_open: "Half-open",
  open: "Open",
  forced_open: "Forced open",
  disabled: "Disabled",
};

export const OUTCOMES = {
  success: "answered",
  timeout: "timed out",
  quota: "over quota",
  "5xx": "server error",
  connection: "connection lost",
  "4xx": "bad request",
  unknown: "other error",
  rejected: "refused further in",
  cancelled: "cancelled",
};

const REASONS = {
  circuit_open: "the breaker is open",
  half_open: "a probe is on its way",
  forced_open: "the breaker is forced open",
  budget_exhausted: "the budget is spent",
  budget_paused: "paused, after a 429 or by hand",
  bulkhead_full: "too many calls in flight",
  too_many_orphans: "too many callees still run",
};

const BREAKER = {
  closed: "Breaker closed",
  half_open: "Breaker half-open",
  open: "Breaker opened",
  forced_open: "Breaker forced open",
  disabled: "Breaker disabled",
};

/** 0.482 is "482 ms", 75 is "1 min 15 s"; each with no more digits than can be read at a glance. */
export function seconds(value) {
  if (value === null || value === undefined) return "none";
  if (value < 0.9995) return `${Math.round(value * 1000)} ms`;
  if (value < 9.95) return `${Number(value.toFixed(1))} s`;
  if (value < 119.5) return `${Math.round(value)} s`;
  return long(value);
}

/** The same for durations that count on: whole seconds, minutes, hours. */
export function long(value) {
  const whole = Math.max(0, Math.floor(value));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return whole % 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${whole / 60} min`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export function share(value) {
  return `${Math.round(value * 100)} %`;
}

export function count(value) {
  return value.toLocaleString("en");
}

export function clock(ts) {
  return new Date(ts * 1000).toLocaleTimeString("en-GB");
}

/** One event: how grave it is, what it says, and where it was. */
export function sentence(event) {
  const ms = (value) => seconds(value / 1000);
  const frames = event.where ? event.where.split(" < ") : [];
  const where = frames.length > 2 ? `${frames[0]} < … < ${frames[frames.length - 1]}` : frames.join(" < ");
  switch (event.evt) {
    case "gen.fail": {
      const left = { clean: ", left in time", late: ", left late", orphan: ", left behind" }[event.receipt] ?? "";
      const what = event.kind === "timeout" ? "No answer after" : `${capital(OUTCOMES[event.kind] ?? event.kind)} after`;
      return ["bad", `${what} ${ms(event.latencyMs)}${left}`, where];
    }
    case "gen.reject":
      return ["soft", `Refused: ${REASONS[event.reason] ?? event.reason}`, ""];
    case "gen.abandoned":
      return ["bad", `Left behind, ${event.orphans} still running`, where];
    case "gen.retry":
      return ["soft", `Tried again: ${OUTCOMES[event.kind] ?? event.kind}`, ""];
    case "gen.hedge":
      return ["soft", `Sent once more, after ${ms(event.afterMs)} without an answer`, ""];
    case "gen.fallback":
      return ["soft", `Fell back: ${OUTCOMES[event.kind] ?? event.kind}`, ""];
    case "breaker.state": {
      const rate = typeof event.failureRate === "number" ? `, ${share(event.failureRate)} failed` : "";
      const grave = { closed: "good", disabled: "soft", half_open: "warn" }[event.state] ?? "bad";
      return [grave, `${BREAKER[event.state] ?? `Breaker ${event.state}`}${event.state === "open" ? rate : ""}`, ""];
    }
    case "operator.action":
      return ["warn", `Set by an operator: ${event.action.replace("_", " ")}`, ""];
    case "budget.paused":
      return ["warn", `Paused for ${ms(event.pausedMs)}, after a 429 or by hand`, ""];
    case "probe.scheduled":
      return ["soft", "inMs" in event ? `Probe in ${ms(event.inMs)}` : "Probe wanted", ""];
    case "probe.result":
      return [event.outcome === "success" ? "good" : "bad", `Probe: ${OUTCOMES[event.outcome] ?? event.outcome}`, ""];
    case "loop.blocked":
      return ["bad", `Event loop blocked for ${ms(event.blockedMs)}`, where];
    default:
      return ["soft", event.evt, ""];
  }
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
