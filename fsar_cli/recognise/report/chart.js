"use strict";

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
const AXIS = 24;
const BAR = 7;

/** Scores over time on a canvas, a row a class, of the stretch `from` to `to`; below it the whole, where it is more. */
class Chart {
  /**
   * @param classes names, in the order of the rows.
   * @param threshold score, or null.
   */
  constructor(classes, threshold) {
    this.classes = classes;
    this.threshold = threshold;
    this.root = document.getElementById("timeline");
    this.chart = document.getElementById("chart");
    this.overview = document.getElementById("overview");
    this.rowHeight = classes.length <= 4 ? 64 : classes.length <= 8 ? 50 : classes.length <= 16 ? 40 : 32;
    this.height = this.rowHeight * classes.length + AXIS;
  }

  paint() {
    this.width = Math.max(1, this.root.clientWidth);
    const colours = getComputedStyle(this.root);
    this.colour = (name) => colours.getPropertyValue(name).trim();
    const context = this._canvas(this.chart, this.height);
    this._rows(context);
    this._gaps(context);
    this.classes.forEach((_, c) => this._scores(context, c));
    this._events(context);
    this._axis(context);
    this._strip();
  }

  _x(seconds) {
    return ((seconds - this.from) / (this.to - this.from)) * this.width;
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
    const top = c * this.rowHeight + (this.rowHeight < 50 ? 6 : 19);
    const bottom = (c + 1) * this.rowHeight - BAR - 7;
    return bottom - ((score - this.low) / (this.high - this.low)) * (bottom - top);
  }

  _rows(context) {
    context.fillStyle = this.colour("--band");
    this.classes.forEach((_, c) => {
      if (c % 2 === 0) context.fillRect(0, c * this.rowHeight, this.width, this.rowHeight);
    });
  }

  get _breaks() {
    this.source.broken ??= new Set(this.source.breaks);
    return this.source.broken;
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

  _scores(context, c) {
    const runs = [[]];
    for (const point of this._points(this.source.scores[c] || [])) {
      if (point) runs.at(-1).push([point[0], this._y(point[1], c)]);
      else if (runs.at(-1).length) runs.push([]);
    }
    const limit = this.threshold === null ? null : this._y(this.threshold, c);
    context.fillStyle = context.strokeStyle = this.colour(`--c${c % 8}`);
    for (const run of runs.filter((each) => each.length)) this._run(context, run, c, limit);
    if (limit === null) return;
    context.strokeStyle = this.colour("--muted");
    context.lineWidth = 1;
    context.globalAlpha = 0.7;
    context.setLineDash([4, 4]);
    stroke(context, [0, Math.round(limit) + 0.5], [this.width, Math.round(limit) + 0.5]);
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  /** Windows without a break between them: a line, pale below it, stronger where it is above the threshold. */
  _run(context, run, c, limit) {
    const floor = this._y(this.low, c);
    const line = new Path2D();
    run.forEach(([x, y], i) => (i ? line.lineTo(x, y) : line.moveTo(x, y)));
    if (run.length === 1) line.lineTo(run[0][0] + 1, run[0][1]);
    const area = new Path2D(line);
    area.lineTo(run.at(-1)[0], floor);
    area.lineTo(run[0][0], floor);
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
      stroke(context, [x, bottom], [x, bottom + 5]);
      const text = clock(t, step < 1 ? 1 : 0);
      const wide = context.measureText(text).width;
      context.fillText(text, Math.min(Math.max(x - wide / 2, 0), this.width - wide), bottom + 18);
    }
    stroke(context, [0, bottom + 0.5], [this.width, bottom + 0.5]);
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
}

function stroke(context, from, to) {
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
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
