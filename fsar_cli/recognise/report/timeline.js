"use strict";

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
const AXIS = 24;
const BAR = 7;

/** Scores over time, a row a class; drawn again when what it shows changes, while the playhead moves over it. */
class Timeline {
  /**
   * @param classes names, in the order of the rows.
   * @param threshold score, or null.
   * @param onSeek called with the seconds that were clicked or dragged to.
   */
  constructor(classes, threshold, onSeek) {
    this.classes = classes;
    this.threshold = threshold;
    this.onSeek = onSeek;
    this.root = document.getElementById("timeline");
    this.chart = document.getElementById("chart");
    this.overview = document.getElementById("overview");
    this.playhead = document.getElementById("playhead");
    this.rowHeight = classes.length <= 4 ? 58 : classes.length <= 8 ? 44 : 34;
    this.height = this.rowHeight * classes.length + AXIS;
    this.chart.style.height = this.playhead.style.height = `${this.height}px`;
    this._label();
    this._listen();
  }

  /** @param bars () => [{row, start, end, colour, hollow, chosen}] of the events as they are now. */
  load(source, bars) {
    this.source = source;
    this.bars = bars;
    this.length = Math.max(source.end, 1, ...source.events.map((e) => e.end), ...source.gaps.map((gap) => gap[1] || 0));
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
    const context = this._canvas(this.chart, this.height);
    const { width } = this;
    const colours = getComputedStyle(this.root);
    this.colour = (name) => colours.getPropertyValue(name).trim();
    this._rows(context, width);
    this._gaps(context);
    this.classes.forEach((_, c) => this._scores(context, c));
    this._events(context);
    this._axis(context);
    this._strip();
    this.at(this.now);
  }

  get width() {
    return Math.max(1, this.root.clientWidth);
  }

  _x(seconds) {
    return ((seconds - this.from) / (this.to - this.from)) * this.width;
  }

  _seconds(x, element = this.chart) {
    const share = Math.min(Math.max((x - element.getBoundingClientRect().left) / this.width, 0), 1);
    return element === this.overview ? share * this.length : this.from + share * (this.to - this.from);
  }

  _canvas(canvas, height) {
    const density = window.devicePixelRatio || 1;
    canvas.width = Math.round(this.width * density);
    canvas.height = Math.round(height * density);
    const context = canvas.getContext("2d");
    context.scale(density, density);
    return context;
  }

  _scale() {
    let [low, high] = [Infinity, -Infinity];
    for (const scores of this.source.scores) {
      for (const score of scores) {
        if (score === null) continue;
        if (score < low) low = score;
        if (score > high) high = score;
      }
    }
    if (this.threshold !== null) [low, high] = [Math.min(low, this.threshold), Math.max(high, this.threshold)];
    if (!(high > low)) [low, high] = Number.isFinite(low) ? [low - 1, high + 1] : [0, 1];
    [this.low, this.high] = [low, high];
  }

  _y(score, c) {
    const top = c * this.rowHeight + 6;
    const bottom = (c + 1) * this.rowHeight - BAR - 7;
    return bottom - ((score - this.low) / (this.high - this.low)) * (bottom - top);
  }

  _rows(context, width) {
    context.fillStyle = this.colour("--band");
    this.classes.forEach((_, c) => {
      if (c % 2 === 0) context.fillRect(0, c * this.rowHeight, width, this.rowHeight);
    });
  }

  /** The highest score of each column of pixels where there are several, else every score. */
  _points(scores) {
    const { times } = this.source;
    const first = Math.max(0, lowerBound(times.length, (i) => times[i], this.from) - 1);
    const last = Math.min(times.length, lowerBound(times.length, (i) => times[i], this.to) + 1);
    const points = [];
    if (last - first < 2 * this.width) {
      for (let w = first; w < last; w++) {
        if (this._breaks.has(w)) points.push(null);
        points.push(scores[w] === null ? null : [this._x(times[w]), scores[w]]);
      }
      return points;
    }
    let column = null;
    for (let w = first; w < last; w++) {
      const x = Math.floor(this._x(times[w]));
      if (this._breaks.has(w)) {
        points.push(column, null);
        column = null;
      }
      if (scores[w] === null) continue;
      if (column && column[0] === x) column[1] = Math.max(column[1], scores[w]);
      else {
        points.push(column);
        column = [x, scores[w]];
      }
    }
    points.push(column);
    return points.filter((point, i) => point || points[i - 1]);
  }

  get _breaks() {
    this.source.broken ??= new Set(this.source.breaks);
    return this.source.broken;
  }

  _scores(context, c) {
    const floor = this._y(this.low, c);
    const runs = [[]];
    for (const point of this._points(this.source.scores[c] || [])) {
      if (point) runs.at(-1).push([point[0], this._y(point[1], c)]);
      else if (runs.at(-1).length) runs.push([]);
    }
    const colour = this.colour(`--c${c % 8}`);
    const limit = this.threshold === null ? null : this._y(this.threshold, c);
    for (const run of runs.filter((each) => each.length)) {
      const line = new Path2D();
      run.forEach(([x, y], i) => (i ? line.lineTo(x, y) : line.moveTo(x, y)));
      if (run.length === 1) line.lineTo(run[0][0] + 1, run[0][1]);
      const area = new Path2D(line);
      area.lineTo(run.at(-1)[0], floor);
      area.lineTo(run[0][0], floor);
      context.fillStyle = context.strokeStyle = colour;
      context.globalAlpha = 0.12;
      context.fill(area);
      if (limit !== null) {
        context.save();
        context.beginPath();
        context.rect(0, c * this.rowHeight, this.width, limit - c * this.rowHeight);
        context.clip();
        context.globalAlpha = 0.4;
        context.fill(area);
        context.restore();
      }
      context.globalAlpha = 1;
      context.lineWidth = 1.5;
      context.lineJoin = "round";
      context.stroke(line);
    }
    if (limit === null) return;
    context.strokeStyle = this.colour("--muted");
    context.lineWidth = 1;
    context.globalAlpha = 0.7;
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(0, Math.round(limit) + 0.5);
    context.lineTo(this.width, Math.round(limit) + 0.5);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  _events(context) {
    for (const bar of this.bars()) {
      const left = this._x(bar.start);
      const width = Math.max(3, this._x(bar.end) - left);
      if (left > this.width || left + width < 0 || bar.row < 0) continue;
      const top = (bar.row + 1) * this.rowHeight - BAR - 3;
      const colour = bar.colour === null ? this.colour("--muted") : this.colour(`--c${bar.colour}`);
      if (bar.chosen) {
        context.fillStyle = this.colour("--accent");
        context.globalAlpha = 0.13;
        context.fillRect(left, 0, width, this.height - AXIS);
        context.globalAlpha = 1;
      }
      context.fillStyle = context.strokeStyle = colour;
      context.lineWidth = 1.5;
      context.beginPath();
      context.roundRect(left, top, width, BAR, 2.5);
      if (bar.hollow) context.stroke();
      else context.fill();
      if (bar.chosen && !bar.hollow) {
        context.strokeStyle = this.colour("--ink");
        context.stroke();
      }
    }
  }

  _gaps(context) {
    for (const [start, end] of this.source.gaps) {
      const left = this._x(start);
      const width = Math.max(2, this._x(end) - left);
      if (!(left < this.width && left + width > 0)) continue;
      const height = this.height - AXIS;
      context.save();
      context.beginPath();
      context.rect(left, 0, width, height);
      context.clip();
      context.fillStyle = this.colour("--rule");
      context.globalAlpha = 0.5;
      context.fillRect(left, 0, width, height);
      context.strokeStyle = this.colour("--muted");
      context.lineWidth = 1;
      context.beginPath();
      const [first, last] = [Math.max(left, -10) - height, Math.min(left + width, this.width + 10)];
      for (let x = first - (first % 7); x < last; x += 7) {
        context.moveTo(x, height);
        context.lineTo(x + height, 0);
      }
      context.stroke();
      context.restore();
    }
  }

  _axis(context) {
    const perPixel = (this.to - this.from) / this.width;
    const step = STEPS.find((each) => each / perPixel >= 84) || Math.ceil((perPixel * 84) / 86400) * 86400;
    context.fillStyle = this.colour("--muted");
    context.strokeStyle = this.colour("--rule");
    context.font = "11px system-ui, sans-serif";
    context.lineWidth = 1;
    const bottom = this.height - AXIS;
    for (let t = Math.ceil(this.from / step) * step; t <= this.to; t += step) {
      const x = Math.round(this._x(t)) + 0.5;
      context.beginPath();
      context.moveTo(x, bottom);
      context.lineTo(x, bottom + 5);
      context.stroke();
      const text = clock(t, step < 1 ? 1 : 0);
      const wide = context.measureText(text).width;
      context.fillText(text, Math.min(Math.max(x - wide / 2, 0), this.width - wide), bottom + 18);
    }
    context.beginPath();
    context.moveTo(0, bottom + 0.5);
    context.lineTo(this.width, bottom + 0.5);
    context.stroke();
  }

  /** The whole video below a view of a part of it. */
  _strip() {
    const zoomed = this.to - this.from < this.length * 0.999;
    this.overview.hidden = !zoomed;
    if (!zoomed) return;
    const context = this._canvas(this.overview, 26);
    const x = (seconds) => (seconds / this.length) * this.width;
    context.fillStyle = this.colour("--band");
    context.fillRect(0, 0, this.width, 26);
    for (const bar of this.bars()) {
      context.fillStyle = bar.colour === null ? this.colour("--muted") : this.colour(`--c${bar.colour}`);
      context.fillRect(x(bar.start), 8, Math.max(2, x(bar.end) - x(bar.start)), 10);
    }
    const width = Math.max(6, x(this.to) - x(this.from));
    context.fillStyle = context.strokeStyle = this.colour("--accent");
    context.lineWidth = 2;
    context.globalAlpha = 0.18;
    context.fillRect(x(this.from), 0, width, 26);
    context.globalAlpha = 1;
    context.strokeRect(x(this.from) + 1, 1, width - 2, 24);
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

/** 3725.25 -> 1:02:05.3 */
function clock(seconds, digits = 1) {
  const rounded = Math.round(seconds * 10 ** digits) / 10 ** digits;
  const hours = Math.floor(rounded / 3600);
  const minutes = Math.floor((rounded % 3600) / 60);
  const rest = (rounded % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

function decimals(score) {
  return Math.abs(score) >= 100 ? score.toFixed(0) : Math.abs(score) >= 10 ? score.toFixed(1) : score.toFixed(2);
}
