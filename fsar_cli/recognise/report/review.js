"use strict";

/** What the viewer said of the events: kept by the browser under the report's id, saved as review.csv. */
class Review {
  /** @param report the island of data. */
  constructor(report) {
    this.videos = report.videos;
    this.key = `fsar-report-${report.id}`;
    this.said = {};
    this.saved = "";
    this.past = [];
    this.keeps = true;
    this._load();
  }

  event(v, e) {
    return this.videos[v].events[e];
  }

  /** Class, start and end as they are now, and the verdict; "" where there is none. */
  of(v, e) {
    const event = this.event(v, e);
    const now = { cls: event.cls, start: event.start, end: event.end, ...this.said[`${v}:${e}`] };
    now.verdict = now.rejected ? "rejected"
      : now.cls !== event.cls ? "changed"
      : now.start !== event.start || now.end !== event.end ? "retimed"
      : now.confirmed ? "confirmed" : "";
    return now;
  }

  confirm(v, e) {
    this._say(v, e, { confirmed: true, rejected: false });
  }

  reject(v, e) {
    this._say(v, e, { confirmed: false, rejected: true });
  }

  rename(v, e, cls) {
    this._say(v, e, { cls, confirmed: true, rejected: false });
  }

  /** Sets "start" or "end"; false where nothing of the event would be left. */
  retime(v, e, which, seconds) {
    const now = this.of(v, e);
    const start = which === "start" ? round3(seconds) : now.start;
    const end = which === "end" ? round3(seconds) : now.end;
    if (!(end - start >= 0.001)) return false;
    this._say(v, e, { start, end, confirmed: true, rejected: false });
    return true;
  }

  /** Takes back the last verdict; returns its [v, e], or null. */
  undo() {
    const last = this.past.pop();
    if (!last) return null;
    if (last.before) this.said[last.place] = last.before;
    else delete this.said[last.place];
    this._keep();
    return last.place.split(":").map(Number);
  }

  get count() {
    return this.videos.reduce((sum, video, v) => sum + this.countOf(v), 0);
  }

  countOf(v) {
    return this.videos[v].events.filter((_, e) => this.of(v, e).verdict).length;
  }

  get unsaved() {
    return this.csv() !== (this.saved || this._csv([]));
  }

  /** The events that have a verdict, as `read_review` takes them. */
  csv() {
    const rows = [];
    this.videos.forEach((video, v) => video.events.forEach((_, e) => {
      const now = this.of(v, e);
      if (!now.verdict) return;
      const cls = now.verdict === "rejected" ? "normal" : now.cls;
      rows.push([video.key, now.start.toFixed(3), now.end.toFixed(3), cls, now.verdict]);
    }));
    return this._csv(rows);
  }

  /** Hands the browser review.csv. */
  save() {
    const text = this.csv();
    const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    const link = Object.assign(document.createElement("a"), { href: address, download: "review.csv" });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    this.saved = text;
    this._keep();
  }

  _csv(rows) {
    const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const heading = ["video", "start", "end", "class", "verdict"];
    return [heading, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
  }

  _say(v, e, change) {
    const place = `${v}:${e}`;
    this.past.push({ place, before: this.said[place] });
    this.said[place] = { ...this.said[place], ...change };
    this._keep();
  }

  _keep() {
    try {
      localStorage.setItem(this.key, JSON.stringify({ said: this.said, saved: this.saved }));
      this.keeps = true;
    } catch {
      this.keeps = false;
    }
  }

  _load() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.key) || "{}");
      this.saved = typeof kept.saved === "string" ? kept.saved : "";
      for (const [place, said] of Object.entries(kept.said || {})) {
        const [v, e] = place.split(":");
        const fits = ["start", "end"].every((name) => !(name in said) || Number.isFinite(said[name]));
        if (this.videos[v]?.events[e] && fits && typeof (said.cls ?? "") === "string") this.said[place] = said;
      }
    } catch {
      this.keeps = false;
    }
  }
}

function round3(seconds) {
  return Math.round(seconds * 1000) / 1000;
}
