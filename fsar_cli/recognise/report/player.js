"use strict";

/** The video and, over it, the regions of the events of its time. Without a file there is a clock and no picture. */
class Player {
  /**
   * @param onTime called with the seconds whenever they change.
   * @param active (seconds) => [{track, label, colour}] to draw.
   */
  constructor(onTime, active) {
    this.stage = document.getElementById("stage");
    this.video = document.getElementById("video");
    this.picture = document.getElementById("picture");
    this.onTime = onTime;
    this.active = active;
    this.boxes = [];
    this.regions = true;
    this.seen = document.createElement("div");
    this.seen.className = "seen";
    this.picture.append(this.seen);
    this._listen();
  }

  load(source) {
    this.source = source;
    this.until = null;
    this.still = 0;
    this.frameTime = null;
    this.failed = false;
    this.pending = 0; // a place to go to once the video is open; null: it is
    this.stage.classList.toggle("still", !source.src);
    if (source.src) this.video.src = source.src;
    else {
      this.video.removeAttribute("src");
      this.video.load();
    }
    this.video.hidden = !source.src;
    const [left, top, right, bottom] = source.crop;
    place(this.seen, left, top, right, bottom);
    this.lay();
  }

  get time() {
    if (!this.source.src || this.failed) return this.still;
    return this.pending === null ? this.video.currentTime : this.pending;
  }

  get paused() {
    return !this.source.src || this.video.paused;
  }

  get duration() {
    return Number.isFinite(this.video.duration) && this.source.src ? this.video.duration : 0;
  }

  seek(seconds) {
    this.until = null;
    this.still = seconds;
    if (this.source.src && !this.failed) {
      if (this.pending === null) this.video.currentTime = seconds;
      else this.pending = seconds;
      this.frameTime = null;
    }
    this.onTime(this.time);
    this.draw();
  }

  /** Plays on; where `until` is given, to there. */
  play(until) {
    if (!this.source.src || this.failed) return;
    this.until = until ?? null;
    this.video.play().catch(() => {}); // a browser may refuse until it is clicked
  }

  toggle() {
    if (this.paused) this.play();
    else this.video.pause();
  }

  /** Puts the overlay where the picture is: the video keeps its aspect within the stage. */
  lay() {
    const { videoWidth, videoHeight } = this.video;
    const { width, height } = this.stage.getBoundingClientRect();
    this.picture.hidden = !videoWidth || !this.source.src;
    if (this.picture.hidden) return;
    const scale = Math.min(width / videoWidth, height / videoHeight);
    const [across, down] = this.source.shown;
    Object.assign(this.picture.style, {
      left: `${(width - videoWidth * scale) / 2}px`,
      top: `${(height - videoHeight * scale) / 2}px`,
      width: `${videoWidth * scale * across}px`,
      height: `${videoHeight * scale * down}px`,
    });
  }

  /** The regions at the time of the frame that is shown, which may be a little before the clock. */
  draw() {
    const now = this.time;
    const near = this.frameTime !== null && Math.abs(this.frameTime - now) < 0.5;
    const shown = this.regions ? this.active(now).filter((each) => each.track.length) : [];
    while (this.boxes.length < shown.length) this.boxes.push(this._box());
    this.boxes.forEach((box, b) => {
      box.hidden = b >= shown.length;
      if (box.hidden) return;
      const [left, top, right, bottom] = boxAt(shown[b].track, near ? this.frameTime : now);
      place(box, left, top, right, bottom);
      box.className = `box k${shown[b].colour}${top < 0.12 ? " low" : ""}${left > 0.7 ? " late" : ""}`;
      box.firstChild.textContent = shown[b].label;
    });
  }

  _box() {
    const box = document.createElement("div");
    box.append(document.createElement("span"));
    this.picture.append(box);
    return box;
  }

  _listen() {
    const { video } = this;
    const tick = () => {
      if (this.until !== null && video.currentTime >= this.until) {
        this.until = null;
        video.pause();
      }
      this.onTime(this.time);
      this.draw();
    };
    if (video.requestVideoFrameCallback) {
      const each = (_, frame) => {
        this.frameTime = frame.mediaTime;
        tick();
        video.requestVideoFrameCallback(each);
      };
      video.requestVideoFrameCallback(each);
    } else {
      const each = () => {
        tick();
        if (!video.paused) requestAnimationFrame(each);
      };
      video.addEventListener("play", each);
    }
    for (const name of ["timeupdate", "seeked", "play", "pause", "ended"]) video.addEventListener(name, tick);
    video.addEventListener("loadedmetadata", () => {
      if (this.pending) video.currentTime = this.pending;
      this.pending = null;
      this.lay();
      tick();
    });
    video.addEventListener("resize", () => this.lay());
    video.addEventListener("error", () => {
      this.failed = Boolean(this.source.src);
      this.stage.dispatchEvent(new Event("unplayable"));
    });
    new ResizeObserver(() => this.lay()).observe(this.stage);
  }
}

/** Places an element by shares of its parent. */
function place(element, left, top, right, bottom) {
  Object.assign(element.style, {
    left: `${left * 100}%`, top: `${top * 100}%`, width: `${(right - left) * 100}%`, height: `${(bottom - top) * 100}%`,
  });
}

/** The box of a track [[seconds, x0, y0, x1, y1]] at a time: between two points in a straight line, else the next. */
function boxAt(track, seconds) {
  const after = lowerBound(track.length, (i) => track[i][0], seconds);
  if (after === 0) return track[0].slice(1);
  if (after === track.length) return track[after - 1].slice(1);
  const [before, next] = [track[after - 1], track[after]];
  const share = (seconds - before[0]) / (next[0] - before[0]);
  return before.slice(1).map((value, i) => value + share * (next[i + 1] - value));
}

/** First position of `count` growing values that is not below a value; `count` where none is. */
function lowerBound(count, at, value) {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at(middle) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
