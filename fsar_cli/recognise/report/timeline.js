"use strict";

/** The chart as one moves in it: click and drag seek, wheel, pinch and buttons zoom, the strip below pans. */
class Timeline extends Chart {
  /**
   * @param classes names, in the order of the rows.
   * @param threshold score, or null.
   * @param onSeek called with the seconds that were clicked or dragged to.
   */
  constructor(classes, threshold, onSeek) {
    super(classes, threshold);
    this.onSeek = onSeek;
    this.playhead = document.getElementById("playhead");
    this.chart.style.height = this.playhead.style.height = `${this.height}px`;
    this._label();
    this._listen();
  }

  /** @param bars () => [{row, start, end, colour, hollow, chosen}] of the events as they are now. */
  load(source, bars) {
    this.source = source;
    this.bars = bars;
    const ends = [...source.events.map((event) => event.end), ...source.gaps.map((gap) => gap[1])];
    this.length = ends.reduce((last, end) => Math.max(last, end), Math.max(source.end, 1));
    this.now = 0;
    this._scale();
    this.view(0, this.length);
  }

  /** The video may be longer than what was scanned of it. */
  extend(seconds) {
    if (!(seconds > this.length)) return;
    const whole = this.from === 0 && this.to === this.length;
    this.length = seconds;
    if (whole) this.view(0, seconds);
  }

  view(from, to) {
    const shortest = Math.min(1, this.length);
    const span = Math.min(Math.max(to - from, shortest), this.length);
    this.from = Math.min(Math.max(from, 0), this.length - span);
    this.to = this.from + span;
    this.draw();
  }

  zoom(factor, at = this.now) {
    const fixed = at < this.from || at > this.to ? (this.from + this.to) / 2 : at;
    this.view(fixed - (fixed - this.from) / factor, fixed + (this.to - fixed) / factor);
  }

  /** Shows a stretch, moving the view only where it has to. */
  reveal(start, end) {
    const span = this.to - this.from;
    if (start >= this.from && end <= this.to) return;
    this.view(start - span / 4, start + span * 0.75);
  }

  /** Moves the playhead. */
  at(seconds, playing) {
    this.now = seconds;
    if (playing && (seconds > this.to || seconds < this.from)) this.view(seconds, seconds + this.to - this.from);
    const x = this._x(seconds);
    this.playhead.hidden = x < 0 || x > this.width;
    this.playhead.style.transform = `translateX(${x}px)`;
    this._values();
  }

  draw() {
    if (!this.source) return;
    this.paint();
    this.at(this.now);
  }

  _seconds(x, element = this.chart) {
    const share = Math.min(Math.max((x - element.getBoundingClientRect().left) / this.width, 0), 1);
    return element === this.overview ? share * this.length : this.from + share * (this.to - this.from);
  }

  _label() {
    this.values = this.classes.map((name, c) => {
      const label = document.createElement("span");
      const value = document.createElement("b");
      label.className = `k${c % 8}`;
      label.style.top = `${c * this.rowHeight + 4}px`;
      label.append(name, value);
      document.getElementById("labels").append(label);
      return value;
    });
  }

  /** Writes the scores at the playhead behind the names. */
  _values() {
    const { times, scores } = this.source;
    let w = lowerBound(times.length, (i) => times[i], this.now);
    if (w > 0 && (w === times.length || this.now - times[w - 1] < times[w] - this.now)) w--;
    this.values.forEach((value, c) => {
      const score = scores[c]?.[w];
      value.textContent = score === undefined || score === null ? "" : decimals(score);
    });
  }

  _listen() {
    const { chart, overview } = this;
    const fingers = new Map();
    chart.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      chart.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, event.clientX);
      if (fingers.size === 1) this.onSeek(this._seconds(event.clientX));
    });
    chart.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      const before = [...fingers.values()];
      fingers.set(event.pointerId, event.clientX);
      const after = [...fingers.values()];
      if (fingers.size === 1) this.onSeek(this._seconds(event.clientX));
      else if (Math.abs(before[0] - before[1]) > 8) {
        const factor = Math.abs(after[0] - after[1]) / Math.abs(before[0] - before[1]);
        this.zoom(Math.max(factor, 0.5), this._seconds((after[0] + after[1]) / 2));
      }
    });
    for (const name of ["pointerup", "pointercancel"]) {
      chart.addEventListener(name, (event) => fingers.delete(event.pointerId));
    }
    chart.addEventListener("wheel", (event) => {
      const span = this.to - this.from;
      if (event.ctrlKey || event.metaKey) this.zoom(2 ** (-event.deltaY / 200), this._seconds(event.clientX));
      else if (event.deltaX && span < this.length) {
        const shift = (event.deltaX / this.width) * span;
        this.view(this.from + shift, this.to + shift);
      } else return;
      event.preventDefault();
    }, { passive: false });
    const pan = (event) => {
      const half = (this.to - this.from) / 2;
      const middle = this._seconds(event.clientX, overview);
      this.view(middle - half, middle + half);
    };
    overview.addEventListener("pointerdown", (event) => {
      overview.setPointerCapture(event.pointerId);
      pan(event);
    });
    overview.addEventListener("pointermove", (event) => overview.hasPointerCapture(event.pointerId) && pan(event));
    new ResizeObserver(() => this.draw()).observe(this.root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }
}
