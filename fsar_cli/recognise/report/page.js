"use strict";

const report = JSON.parse(document.getElementById("data").textContent);
const review = new Review(report);
const by = (id) => document.getElementById(id);
const SPEEDS = [1, 2, 4, 0.5];
let current = 0;
let chosen = -1;
let onlyOpen = false;

const player = new Player(showTime, activeAt);
const timeline = new Timeline(report.classes, report.threshold, (seconds) => player.seek(seconds));

/** An element with properties; what is put into it as text stays text. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function say(text) {
  by("live").textContent = "";
  requestAnimationFrame(() => (by("live").textContent = text));
}

function colourOf(cls) {
  const c = report.classes.indexOf(cls);
  return c < 0 ? 7 : c % 8;
}

function events() {
  return report.videos[current].events;
}

/** Events of a time as the scan saw them; the label is what they are said to be. */
function activeAt(seconds) {
  const video = report.videos[current];
  return video.events.flatMap((event, e) => {
    if (seconds < event.start - 0.001 || seconds > event.end) return [];
    const now = review.of(current, e);
    return [{ track: event.track, label: `${now.cls} ${number(event.score)}`, colour: colourOf(now.cls) }];
  });
}

function number(score) {
  return score === null ? "" : decimals(score);
}

function showTime(seconds) {
  const text = clock(seconds);
  by("clock").textContent = `${text} / ${clock(timeline.length)}`;
  by("play").textContent = player.paused ? "Play" : "Pause";
  timeline.at(seconds, !player.paused);
  timeline.root.setAttribute("aria-valuenow", seconds.toFixed(1));
  timeline.root.setAttribute("aria-valuetext", text);
}

function openVideo(v) {
  current = v;
  chosen = -1;
  const video = report.videos[v];
  timeline.load(video, bars);
  player.load(video);
  timeline.root.setAttribute("aria-valuemax", timeline.length.toFixed(1));
  by("note").hidden = Boolean(video.src);
  by("note").textContent = video.src ? "" : video.note;
  by("partial").hidden = !(video.src && video.note);
  by("partial").textContent = video.note;
  for (const id of ["play", "speed", "regions"]) by(id).hidden = !video.src;
  by("crop").hidden = !video.src || String(video.crop) === "0,0,1,1";
  player.seen.hidden = by("crop").hidden || by("crop").getAttribute("aria-pressed") !== "true";
  by("legend").textContent = legend(video);
  showVideos();
  showEvents();
  showVerdict();
  showTime(0);
}

function legend(video) {
  const parts = ["Score of each window, a row a class.", "Bars: events."];
  if (report.threshold !== null) parts.splice(1, 0, `Dashed: the threshold, ${decimals(report.threshold)}.`);
  if (video.gaps.length) {
    const shown = video.gaps.slice(0, 3).map(([start, end, why]) => `${clock(start)} to ${clock(end)}, ${why}`);
    const more = video.gaps.length > 3 ? `; and ${video.gaps.length - 3} more` : "";
    parts.push(`Hatched: nothing was seen (${shown.join("; ")}${more}).`);
  }
  return parts.join(" ");
}

function bars() {
  return events().map((event, e) => {
    const now = review.of(current, e);
    const row = report.classes.indexOf(now.cls);
    return {
      row: row < 0 ? report.classes.indexOf(event.cls) : row,
      start: now.start, end: now.end, colour: row < 0 ? null : row % 8,
      hollow: now.verdict === "rejected", chosen: e === chosen,
    };
  });
}

/** Chooses an event and shows its start; `play`: plays it. */
function choose(e, play = false) {
  const changed = e !== chosen;
  chosen = e;
  const now = review.of(current, e);
  player.seek(now.start);
  if (play) player.play(now.end);
  timeline.reveal(now.start, now.end);
  if (changed) refresh();
  focusChosen();
}

/** After a verdict or another choice. */
function refresh() {
  const held = document.activeElement?.closest?.(".event");
  const scrolled = by("events").scrollTop;
  showEvents();
  by("events").scrollTop = scrolled;
  showVideos();
  showVerdict();
  timeline.draw();
  player.draw();
  if (held) focusChosen();
}

/** To the next (1) or previous (-1) event, on into the next video. */
function move(step) {
  const shown = listed();
  const here = shown.indexOf(chosen);
  const next = here < 0 ? (step > 0 ? shown[0] : shown.at(-1)) : shown[here + step];
  if (next !== undefined) return choose(next);
  for (let v = current + step; report.videos[v]; v += step) {
    if (!listed(v).length) continue;
    openVideo(v);
    return choose(step > 0 ? listed()[0] : listed().at(-1));
  }
  say(step > 0 ? "This is the last event." : "This is the first event.");
}

function shift(seconds) {
  player.seek(Math.min(Math.max(player.time + seconds, 0), timeline.length));
}

function toggle(id, change) {
  const on = by(id).getAttribute("aria-pressed") !== "true";
  by(id).setAttribute("aria-pressed", String(on));
  change(on);
}

const toggleRegions = () => toggle("regions", (on) => {
  player.regions = on;
  player.draw();
});

const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  Enter: () => chosen >= 0 && choose(chosen, true), " ": () => player.toggle(), p: () => player.toggle(),
  ArrowLeft: (event) => shift(event.shiftKey ? -10 : -1), ArrowRight: (event) => shift(event.shiftKey ? 10 : 1),
  Home: () => player.seek(0), End: () => player.seek(timeline.length), ",": () => shift(-0.04), ".": () => shift(0.04),
  c: () => judge("confirm"), r: () => judge("reject"), "[": () => judge("start"), "]": () => judge("end"),
  u: undo, s: save, b: toggleRegions, "?": () => by("help").showModal(),
  "+": () => timeline.zoom(2), "=": () => timeline.zoom(2), "-": () => timeline.zoom(0.5),
  0: () => timeline.view(0, timeline.length),
};
for (const digit of "123456789") {
  KEYS[digit] = () => report.classes[digit - 1] !== undefined && judge("class", report.classes[digit - 1]);
}

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || by("help").open || !(key in KEYS)) return;
  if (target.matches("input") || !report.videos.length) return;
  const ofEvent = target.closest(".event");
  if ((key === "Enter" || key === " ") && target.matches("button, a") && !ofEvent) return;
  event.preventDefault();
  if (key === "Enter" && ofEvent) choose(Number(ofEvent.dataset.event), true);
  else KEYS[key](event);
});

by("play").onclick = () => player.toggle();
by("speed").onclick = () => {
  const speed = SPEEDS[(SPEEDS.indexOf(player.video.playbackRate) + 1) % SPEEDS.length];
  player.video.playbackRate = player.video.defaultPlaybackRate = speed;
  by("speed").textContent = `${speed}×`;
};
by("regions").onclick = toggleRegions;
by("crop").onclick = () => toggle("crop", (on) => (player.seen.hidden = !on));
by("open-only").onclick = () => toggle("open-only", (on) => {
  onlyOpen = on;
  refresh();
});
by("zoom-in").onclick = () => timeline.zoom(2);
by("zoom-out").onclick = () => timeline.zoom(0.5);
by("zoom-all").onclick = () => timeline.view(0, timeline.length);
by("confirm").onclick = () => judge("confirm");
by("reject").onclick = () => judge("reject");
by("set-start").onclick = () => judge("start");
by("set-end").onclick = () => judge("end");
by("undo").onclick = undo;
by("save").onclick = save;
by("help-open").onclick = () => by("help").showModal();
by("help-close").onclick = () => by("help").close();
by("other").onsubmit = (event) => {
  event.preventDefault();
  const cls = by("other-class").value.trim();
  if (!cls) return;
  by("other-class").value = "";
  judge("class", cls);
  focusChosen();
};
player.video.onclick = () => player.toggle();
player.video.addEventListener("durationchange", () => {
  timeline.extend(player.duration);
  timeline.root.setAttribute("aria-valuemax", timeline.length.toFixed(1));
});
player.stage.addEventListener("unplayable", () => {
  if (!player.failed) return;
  by("note").hidden = false;
  by("note").textContent = `This browser cannot play ${report.videos[current].src}.`;
});
window.addEventListener("beforeunload", (event) => {
  if (!review.keeps && review.unsaved) event.preventDefault();
});

const total = report.videos.reduce((sum, video) => sum + video.events.length, 0);
by("summary").textContent = [counted(report.videos.length, "video"), counted(total, "event"),
  report.classes.length === 1 ? "1 class" : `${report.classes.length} classes`].join(" · ");
if (report.videos.length) openVideo(0);
else by("note").textContent = "No video was scanned.";
