// Asking the server, without ever waiting for it for good; and a few words for the page's elements.

const ANSWERS_WITHIN = 15_000;

export const EVERY = Math.max(0.2, Number(new URLSearchParams(location.search).get("every")) || 6) * 1000; // ?every=10: seconds
export const LOOKS_EVERY = Math.min(3000, EVERY);

export const by = (id) => document.getElementById(id);
export const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

// Every request ends, too: one that hangs would end the loop that made it.
export async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, signal: AbortSignal.timeout(ANSWERS_WITHIN) });
  const isJson = /[/+]json\b/.test(answer.headers.get("content-type") ?? "");
  return { status: answer.status, ok: answer.ok, body: isJson ? await answer.json() : null };
}

// Wait until somebody may be looking: before, there is no need to ask, or to go on.
export async function visible() {
  while (document.hidden) {
    await new Promise((changed) => document.addEventListener("visibilitychange", changed, { once: true }));
  }
}

// For as long as the page is open: a step that fails is made again later, and less and less often.
export async function forever(step, every) {
  for (let failed = 0; ; ) {
    try {
      await step();
      failed = 0;
    } catch {
      failed = Math.min(failed + 1, 4);
    }
    await sleep(every * 2 ** failed);
    await visible();
  }
}

export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// What says the same is left alone: a screen reader would read it again.
export function write(where, text) {
  if (where.textContent !== text) where.textContent = text;
}
