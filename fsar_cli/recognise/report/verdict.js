"use strict";

/* The chosen event: its verdict, and why it was found. */

function showVerdict() {
  const event = events()[chosen];
  by("judge").hidden = by("why").hidden = !event;
  by("state").textContent = "";
  if (!event) {
    by("chosen").textContent = events().length ? "No event chosen" : "Nothing to review";
    by("times").textContent = events().length ? "Choose one below, or press j." : "";
    return;
  }
  const now = review.of(current, chosen);
  const dot = make("span", { className: `dot k${colourOf(now.cls)}` });
  by("chosen").replaceChildren(dot, make("span", { textContent: now.cls }));
  by("state").textContent = STATES[now.verdict] || "to review";
  by("state").className = `state ${now.verdict}`;
  by("times").textContent = `Event ${chosen + 1} of ${events().length} · ${when(event, now)} · ${day(event)}${
    (now.end - now.start).toFixed(1)} s · score ${number(event.score)}`;
  by("confirm").setAttribute("aria-pressed", String(["confirmed", "changed", "retimed"].includes(now.verdict)));
  by("reject").setAttribute("aria-pressed", String(now.verdict === "rejected"));
  by("undo").disabled = !review.past.length;
  showClasses(now);
  showWhy(event, now);
}

function showClasses(now) {
  by("classes").replaceChildren(...report.classes.slice(0, 9).map((cls, c) => {
    const button = make("button", { type: "button", onclick: () => judge("class", cls) },
      make("span", { className: `dot k${c % 8}` }), make("span", { textContent: cls }),
      make("kbd", { textContent: c + 1 }));
    button.setAttribute("aria-pressed", String(cls === now.cls && now.verdict !== "rejected"));
    return button;
  }));
  const typed = Object.values(review.said).map((said) => said.cls).filter(Boolean);
  const known = new Set([...report.classes, ...typed]);
  by("known").replaceChildren(...[...known].map((value) => make("option", { value })));
}

function showWhy(event, now) {
  const nearest = report.examples[event.nearest];
  const shelf = report.examples.filter((example) => example.cls === now.cls && example !== nearest);
  by("why").hidden = !nearest && !shelf.length;
  by("why-words").textContent = nearest ? `Of all examples, the scan found it most like ${nearest.name}.` : "";
  const figures = [...(nearest ? [nearest] : []), ...shelf].map((example) => make("li", {},
    make("figure", { className: example === nearest ? "nearest" : "" },
      make("img", { src: example.src, alt: `Example ${example.name}`, loading: "lazy" }),
      make("figcaption", {}, example.name, example === nearest ? make("b", { textContent: "most like it" }) : ""))));
  by("examples").replaceChildren(make("ul", { className: "shelf" }, ...figures));
}

/** A verdict on the chosen event. */
function judge(what, value) {
  if (chosen < 0) return say("No event is chosen.");
  let fine = true;
  if (what === "confirm") review.confirm(current, chosen);
  else if (what === "reject") review.reject(current, chosen);
  else if (what === "class") review.rename(current, chosen, value);
  else fine = review.retime(current, chosen, what, player.time);
  const now = review.of(current, chosen);
  refresh();
  say(fine ? `Event ${chosen + 1}: ${now.cls}, ${clock(now.start)} to ${clock(now.end)}, ${now.verdict}.`
    : "The start must lie before the end.");
  if (!fine) by("state").textContent = "start must lie before end";
}

function undo() {
  const place = review.undo();
  if (!place) return say("Nothing to undo.");
  if (place[0] !== current) openVideo(place[0]);
  chosen = place[1];
  refresh();
  focusChosen();
  say(`Event ${chosen + 1}: verdict taken back.`);
}

function save() {
  if (!review.count) return say("Nothing is reviewed yet.");
  review.save();
  refresh();
  say(`Saved review.csv with ${counted(review.count, "event")}.`);
}
