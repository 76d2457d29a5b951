"use strict";

/* The lists: the videos, and the events of the one that is open. */

const STATES = { confirmed: "✓ confirmed", rejected: "✕ rejected", changed: "✓ changed", retimed: "✓ new times" };

function showVideos() {
  by("videos").hidden = report.videos.length < 2;
  by("videos").firstElementChild.replaceChildren(...report.videos.map((video, v) => {
    const judged = review.countOf(v);
    const total = video.events.length;
    const count = total ? `${counted(total, "event")}${judged ? `, ${judged} reviewed` : ""}` : "no event";
    const button = make("button", { type: "button", onclick: () => openVideo(v) },
      make("span", {}, make("bdi", { textContent: video.name })), make("small", { textContent: count }));
    button.title = video.name;
    button.setAttribute("aria-current", String(v === current));
    return make("li", {}, button);
  }));
}

/** Positions of the events that the list shows. */
function listed(v = current) {
  const all = report.videos[v].events.map((_, e) => e);
  return onlyOpen ? all.filter((e) => !review.of(v, e).verdict || (v === current && e === chosen)) : all;
}

function showEvents() {
  const shown = listed();
  by("events").replaceChildren(...shown.map((e) => make("li", {}, item(e))));
  by("none").hidden = shown.length > 0;
  by("none").textContent = shown.length ? "" : nothing();
  const judged = review.count;
  const total = report.videos.reduce((sum, video) => sum + video.events.length, 0);
  by("progress").textContent = !total ? "" : `${judged} of ${total} reviewed${
    !judged && !review.unsaved ? "" : review.unsaved ? " · not saved" : " · saved"}${
    review.keeps ? "" : " · this browser keeps nothing, save before you leave"}`;
}

function nothing() {
  if (events().length) return "All events of this video are reviewed.";
  let [best, cls, when] = [-Infinity, "", 0];
  report.videos[current].scores.forEach((scores, c) => scores.forEach((score, w) => {
    if (score !== null && score > best) [best, cls, when] = [score, report.classes[c], report.videos[current].times[w]];
  }));
  return best === -Infinity ? "No event."
    : `No event. The highest score was ${decimals(best)} (${cls}) at ${clock(when)}.`;
}

function item(e) {
  const event = events()[e];
  const now = review.of(current, e);
  const example = report.examples[event.nearest];
  const picture = example ? make("img", { src: example.src, alt: "", loading: "lazy" })
    : make("span", { className: "blank" });
  const button = make("button", { type: "button", className: `event ${now.verdict}`, onclick: () => choose(e) },
    picture,
    make("span", { className: "what" }, make("span", { className: `dot k${colourOf(now.cls)}` }),
      make("span", { textContent: now.cls })),
    make("span", { className: "score", textContent: number(event.score) }),
    make("span", { className: "when", textContent: when(event, now) }),
    make("span", { className: `state ${now.verdict}`, textContent: STATES[now.verdict] || mark(event) }));
  button.dataset.event = e;
  button.setAttribute("aria-current", String(e === chosen));
  button.title = example ? `Most like ${example.name}` : "";
  return button;
}

function when(event, now) {
  const wall = event.wall === null ? "" : ` · ${new Date(event.wall * 1000).toLocaleTimeString()}`;
  return `${clock(now.start)} – ${clock(now.end)}${wall}`;
}

/** The date of an event of a stream, and what follows it. */
function day(event) {
  return event.wall === null ? "" : `${new Date(event.wall * 1000).toLocaleDateString()} · `;
}

function mark(event) {
  return event.open ? "goes on" : event.cut ? "cut off" : "";
}

function focusChosen() {
  const button = document.querySelector(`[data-event="${chosen}"]`);
  button?.focus({ preventScroll: true });
  const list = by("events");
  if (!button || list.scrollHeight <= list.clientHeight) return;
  const [inner, outer] = [button.getBoundingClientRect(), list.getBoundingClientRect()];
  if (inner.top < outer.top) list.scrollTop -= outer.top - inner.top;
  if (inner.bottom > outer.bottom) list.scrollTop += inner.bottom - outer.bottom;
}
