// The slideshow. No image comes before anybody's eyes that has not been decoded to its end: see decoded() and shown().

import { EVERY, ask, by, sleep, visible } from "./server.js";

const REEL = 200; // Frames kept, the newest: enough for 20 minutes without a repeat.
const LARGEST = 2.2; // Times their own size.
const DECODES_WITHIN = Math.min(15_000, 5 * EVERY);

const stage = by("stage");
let reel = []; // Oldest first.
let fresh = []; // Those of them that came while we were looking: they are next.
let at = -1; // The id of the frame that is seen; the reel may have moved on without it.
let next = "/frames?limit=500";
let looked = false;
let playing = true;
let turn = 0; // Counts the changes: what was begun for an older one gives up.
let timer;

// Find the new frames. The first time that is all there are, page by page; of them the newest are kept.
export async function look() {
  for (let more = true; more; ) {
    const { ok, body } = await ask(next);
    if (!ok) throw new Error("no frames");
    const last = body.frames.at(-1);
    reel.push(...body.frames);
    if (looked) fresh.push(...body.frames);
    reel = reel.slice(-REEL);
    fresh = fresh.slice(-REEL);
    more = body.next !== null;
    // After the last page the next look goes on behind the last frame.
    if (more) next = body.next;
    else if (last) next = `/frames?after=${last.id}&limit=500`;
  }
  looked = true;
  if (!reel.length) by("empty-text").textContent = "Nothing drawn yet. Ask for the first image.";
  if (at < 0 && reel.length) await step(1);
}

// Load an image and decode it, or return null. What is broken on the server, or breaks on its way, ends here.
async function decoded(frame) {
  const image = new Image();
  image.decoding = "async";
  image.src = frame.image_url;
  const late = sleep(DECODES_WITHIN).then(() => Promise.reject(new Error("late")));
  let bitmap;
  try {
    await Promise.race([image.decode(), late]);
    // Chromium's decode() is content with the half of an image that was cut off; a bitmap is made of whole ones only.
    bitmap = await Promise.race([createImageBitmap(image), late]);
  } catch {
    image.src = ""; // Ends the loading of what is late.
    return null;
  }
  const drawn = new Date(frame.created_at).toLocaleString([], { dateStyle: "long", timeStyle: "short" });
  image.alt = `Frame ${frame.id}, drawn on ${drawn}`;
  return { image, bitmap, id: frame.id, caption: `${frame.id} · ${drawn}` };
}

// The very element that was decoded is put on the screen: its bytes are not asked for again.
function shown({ image, bitmap, id, caption }) {
  const screen = by("screen");
  by("empty").hidden = true;
  for (const old of screen.querySelectorAll("img:not(#empty img)")) {
    fade(old);
    old.alt = "";
  }
  fit(image);
  screen.append(image);
  light(bitmap);
  at = id;
  stage.dataset.shown = Number(stage.dataset.shown) + 1;
  by("caption").textContent = caption;
}

// Let the image's own colours shine on the wall: made very small and large again, which is a blur that costs nothing. A
// filter of CSS would be worked out anew for each step of a fade.
const colours = document.createElement("canvas");
colours.width = colours.height = 6;

function light(bitmap) {
  colours.getContext("2d").drawImage(bitmap, 0, 0, 6, 6);
  bitmap.close();
  const wall = document.createElement("canvas");
  wall.width = wall.height = 96;
  const context = wall.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(colours, 0, 0, 96, 96);
  for (const old of by("glow").children) fade(old);
  by("glow").append(wall);
}

// Let it go while the next one comes.
function fade(old) {
  old.className = "leaving";
  setTimeout(() => old.remove(), 1700);
}

// Small images grow to the room there is, but not until their pixels can be counted.
function fit(image) {
  const { clientWidth, clientHeight } = by("screen");
  const scale = Math.min(clientWidth / image.naturalWidth, clientHeight / image.naturalHeight, LARGEST);
  image.width = Math.floor(image.naturalWidth * scale);
  image.height = Math.floor(image.naturalHeight * scale);
}

addEventListener("resize", () => by("screen").querySelectorAll("img:not(#empty img)").forEach(fit));

// Show the frame that is one further (or back), passing over those that do not decode.
async function step(way) {
  const mine = ++turn;
  clearTimeout(timer);
  let from = at;
  for (let tries = reel.length; tries > 0; tries--) {
    const frame = (way > 0 && fresh.shift()) || beside(from, way);
    from = frame.id;
    const whole = await decoded(frame);
    if (mine !== turn) return;
    if (whole) {
      if (frame.id !== at) shown(whole);
      break;
    }
    stage.dataset.skipped = Number(stage.dataset.skipped) + 1;
  }
  if (!playing) return;
  timer = setTimeout(async () => {
    await visible();
    if (mine === turn && playing) step(1);
  }, EVERY);
}

function beside(id, way) {
  const here = reel.findIndex((frame) => frame.id === id);
  // At the beginning: the newest of those there are, as somebody who comes in wants to see it.
  if (here < 0) return reel.at(-1);
  return reel.at((here + way) % reel.length);
}

function play(on) {
  playing = on;
  stage.classList.toggle("paused", !on);
  by("play").setAttribute("aria-label", on ? "Pause" : "Play");
  if (on && reel.length) step(1);
  else {
    turn++;
    clearTimeout(timer);
  }
}

by("play").addEventListener("click", () => play(!playing));
by("back").addEventListener("click", () => reel.length && step(-1));
by("forth").addEventListener("click", () => reel.length && step(1));
addEventListener("keydown", (event) => {
  // Where somebody writes, the keys are theirs; a button takes the space by itself.
  if (event.target.closest("textarea, input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowLeft" && reel.length) step(-1);
  else if (event.key === "ArrowRight" && reel.length) step(1);
  else if (event.key === " " && !event.target.closest("button, a")) play(!playing);
  else return;
  event.preventDefault();
});
