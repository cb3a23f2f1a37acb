"use strict";
(() => {
const $ = (id) => document.getElementById(id);
const test = JSON.parse($("test").textContent);
const player = $("player");
const SIDES = ["a", "b"];

// --- the listener and the saved state -----------------------------------------------------------------------

const query = new URLSearchParams(location.search);
const given = Array.from(query.get("listener") || "").slice(0, 100).join("");
const named = given.replace(/[\p{C}\p{Z}]+/gu, " ").trim();
const token = /^https?:$/.test(location.protocol) && query.get("token") || ""; // a server collects the votes
const invited = token && !token.includes("-") ? token : ""; // else drawn anew each time the page is opened
const KEY = ["samplernn listening test " + test.id, named, invited].filter(Boolean).join(" ");
let keeps = true;

function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return kept && Array.isArray(kept.votes) && kept.votes.length <= test.pairs ? kept : null;
  } catch {
    return null;
  }
}

function save() {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
  } catch {
    keeps = false;
  }
}

// crypto.randomUUID would need https
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

const state = load() || { listener: named || invited || uuid(), started: null, finished: null, votes: [], sent: null };
state.token = state.token || token;
if (token && !invited) { // who is given this address is another listener
  query.delete("token");
  history.replaceState(null, "", location.pathname + ("?" + query).replace(/^\?$/, ""));
}

// --- the pairs of this listener -----------------------------------------------------------------------------

// The same listener gets the same pairs, which the server checks (pairs.py): Marsaglia's xorshift from a hash (FNV-1a, bits mixed) of the text.
function generator(text) {
  let x = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) x = Math.imul(x ^ byte, 0x01000193);
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  x = (x ^ (x >>> 16)) || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

function shuffled(items, random) {
  const all = items.slice();
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [all[i], all[j]] = [all[j], all[i]];
  }
  return all;
}

// Pairs of systems occur equally often, within one; a sound repeats only after all others of its system.
function drawPairs(listener) {
  const random = generator(test.id + " " + listener);
  const systems = Object.keys(test.systems);
  const kinds = systems.flatMap((one, i) => systems.slice(i + 1).map((other) => [one, other]));
  const rounds = [];
  while (rounds.length < test.pairs) rounds.push(...shuffled(kinds, random));
  const waiting = Object.fromEntries(systems.map((system) => [system, []]));
  const take = (system) => {
    if (!waiting[system].length) waiting[system] = shuffled(test.systems[system], random);
    return waiting[system].pop();
  };
  return shuffled(rounds.slice(0, test.pairs), random).map((kind) => {
    const [a, b] = (random() < 0.5 ? kind : [kind[1], kind[0]]).map(take);
    return { a, b };
  });
}

const pairs = drawPairs(state.listener);

// --- playing ------------------------------------------------------------------------------------------------

let shown = null; // the pair on the screen: urls, plays and heard by side; start time
let playing = null; // "a" or "b"

function soundUrl(id) {
  const bytes = Uint8Array.from(atob($("sound-" + id).textContent), (c) => c.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: "audio/flac" }));
}

function play(side) {
  stop();
  playing = side;
  shown.plays[side] += 1;
  player.src = shown.urls[side]; // one player: never two sounds at once
  player.play().catch((error) => {
    if (error.name !== "AbortError") failed();
  });
  update();
}

function stop() {
  player.pause();
  playing = null;
}

function failed() {
  stop();
  update();
  $("status").textContent = "This browser cannot play the sound; try again, or open the page in another browser.";
}

player.addEventListener("ended", () => {
  if (!playing || !player.ended) return; // event of an earlier sound
  shown.heard[playing] = true;
  playing = null;
  update();
});
player.addEventListener("error", () => playing && failed());
player.addEventListener("timeupdate", () => {
  if (playing && player.duration) $("position-" + playing).value = player.currentTime / player.duration;
});

// --- a pair -------------------------------------------------------------------------------------------------

function showPair() {
  const { a, b } = pairs[state.votes.length];
  if (shown) SIDES.forEach((side) => URL.revokeObjectURL(shown.urls[side]));
  shown = {
    urls: { a: soundUrl(a), b: soundUrl(b) },
    plays: { a: 0, b: 0 },
    heard: { a: false, b: false },
    since: performance.now(),
  };
  $("form").reset();
  $("number").textContent = "Pair " + (state.votes.length + 1) + " of " + test.pairs;
  $("progress").value = state.votes.length;
  $("next").textContent = state.votes.length + 1 < test.pairs ? "Next" : "Finish";
  screen("pair", "number");
  update();
}

function update() {
  for (const side of SIDES) {
    const on = playing === side;
    $("play-" + side).classList.toggle("playing", on);
    $("heard-" + side).textContent = on ? "playing" : shown.heard[side] ? "✓ heard" : "";
    if (!on) $("position-" + side).value = shown.heard[side] ? 1 : 0;
  }
  const missing = SIDES.filter((side) => !shown.heard[side]).map((side) => side.toUpperCase());
  $("choices").disabled = missing.length > 0;
  $("next").disabled = missing.length > 0 || !chosen();
  $("status").textContent = missing.length
    ? "Listen to " + missing.join(" and ") + " to the end."
    : chosen() ? "You can still change your choice." : "Choose what you prefer.";
}

function chosen() {
  return new FormData($("form")).get("vote"); // null while the choices are disabled
}

function choose(vote) {
  if ($("choices").disabled) return;
  const input = $("form").querySelector("input[value=" + vote + "]");
  input.checked = true;
  input.focus();
  update();
}

function confirm() {
  const vote = chosen();
  if (!vote) return;
  stop();
  state.votes.push({
    pair: state.votes.length,
    ...pairs[state.votes.length],
    vote,
    seconds: Math.round(performance.now() - shown.since) / 1000,
    plays_a: shown.plays.a,
    plays_b: shown.plays.b,
  });
  if (state.votes.length === test.pairs) {
    const now = new Date().toISOString();
    state.finished = now > state.started ? now : state.started; // the clock may be set back
  }
  save();
  showCurrent();
}

$("play-a").addEventListener("click", () => play("a"));
$("play-b").addEventListener("click", () => play("b"));
$("form").addEventListener("change", update);
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  confirm();
});

const KEYS = {
  1: () => play("a"),
  a: () => play("a"),
  2: () => play("b"),
  b: () => play("b"),
  arrowleft: () => choose("a"),
  arrowdown: () => choose("none"),
  arrowright: () => choose("b"),
};
document.addEventListener("keydown", (event) => {
  if ($("pair").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter") {
    // Enter presses a focused button, else it continues; key repeats are ignored
    if (event.target.tagName === "BUTTON" && !event.repeat) return;
    event.preventDefault();
    if (!event.repeat) confirm();
    return;
  }
  const action = KEYS[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  if (!event.repeat) action();
});

// --- the end ------------------------------------------------------------------------------------------------

function result() {
  const { listener, started, finished, votes } = state;
  const link = state.token ? { token: state.token } : {};
  return { format: test.format, test: test.id, listener, started, finished, votes, ...link };
}

function showEnd() {
  $("text").value = JSON.stringify(result(), null, 1);
  $("by-file").textContent = token
    ? "You can also keep your answers as a file."
    : "Please download your answers and send the file to the person who invited you.";
  $("sent").textContent = state.sent || "";
  screen("end", "thanks");
  if (token && !state.sent) send();
}

async function send() {
  $("retry").hidden = true;
  $("sent").textContent = "Sending your answers …";
  try {
    const answer = await fetch("results", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(result()),
      signal: AbortSignal.timeout(30000),
    });
    const { ok, message } = await answer.json().catch(() => ({}));
    if (answer.ok && ok === true) {
      state.sent = message || "Your answers were accepted.";
      $("sent").textContent = state.sent;
      save();
      return;
    }
    if (answer.status === 403) {
      state.token = ""; // the next time the page is opened it gets another one
      save();
    }
    notSent("The server did not accept your answers: " + (message || "it answered " + answer.status + "."));
  } catch {
    notSent("Your answers could not be sent: the server cannot be reached.");
  }
}

function notSent(why) {
  $("sent").textContent = why + " Try again, or download them and send the file to the person who invited you.";
  $("retry").hidden = false;
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([$("text").value], { type: "application/json" }));
  link.download = "listening-" + test.id + "-" + state.listener.replace(/[^\w-]+/g, "_").slice(0, 60) + ".json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function copy() {
  try {
    await navigator.clipboard.writeText($("text").value);
    $("copied").textContent = "Copied.";
  } catch { // the clipboard needs https
    $("text").closest("details").open = true;
    $("text").select();
    $("copied").textContent = document.execCommand("copy") ? "Copied." : "Copy the marked text yourself.";
  }
}

$("retry").addEventListener("click", send);
$("download").addEventListener("click", download);
$("copy").addEventListener("click", copy);

// --- screens ------------------------------------------------------------------------------------------------

function screen(id, heading) {
  for (const section of ["intro", "pair", "end"]) $(section).hidden = section !== id;
  if (heading) $(heading).focus();
  scrollTo(0, 0);
}

function showCurrent() {
  if (state.finished) showEnd();
  else if (state.started) showPair();
  else screen("intro");
}

$("start").addEventListener("click", () => {
  state.started = new Date().toISOString();
  save();
  showPair();
});

save();
$("kept").hidden = !keeps;
$("not-kept").hidden = keeps;
showCurrent();
})();
