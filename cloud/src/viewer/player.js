// The player: one camera's video over a WebSocket into a <video>, live or recorded.
//
//   const player = new Player(video, { ticket: async (from) => "…", on: (name, detail) => {} });
//   player.live();  player.play(Date);  player.seek(Date);  player.close();
//
// Events: "opened" {width, height, mime, role}, "time" {wall, lag, mode}, "skipped" {from, to}, "dropped" {fragments},
// "stalled" {seconds}, "ended" {reason, detail}, "first" {ms}. Times are milliseconds since 1970.

const HEAD_BYTES = 32;
const INIT = 1, FRAGMENT = 2;
/** Live video is kept so far behind the newest picture, in seconds. */
export const LIVE_TARGET = 0.35;
/** Further behind, playback jumps. */
const LIVE_JUMP = 2;
/** Recorded video is asked for up to so many fragments ahead. */
const AHEAD = 12;
/** Seconds kept behind what is shown. */
const KEEP_BEHIND = 15;
/** Most fragments that wait to be appended; beyond, those up to the next key picture go. */
const MAX_WAITING = 120;
const STALLED_S = 3, RECONNECT_S = 10;

/** Reads the head of a binary frame. */
export function head(buffer) {
  const view = new DataView(buffer);
  return {
    kind: view.getUint8(1),
    key: (view.getUint8(2) & 1) === 1,
    wall: Number(view.getBigInt64(8)),
    sent: Number(view.getBigInt64(16)),
    duration: view.getUint32(24),
    media: view.getUint32(28),
    body: new Uint8Array(buffer, HEAD_BYTES),
  };
}

/** What to do about the distance to the live edge, in seconds. */
export function chase(behind) {
  if (behind > LIVE_JUMP) return { jump: true, rate: 1 };
  if (behind > LIVE_TARGET * 1.6) return { jump: false, rate: behind > 1 ? 1.1 : 1.05 };
  return { jump: false, rate: 1 };
}

export class Player {
  constructor(video, { ticket, on = () => {} }) {
    Object.assign(this, { video, ticket, on, mode: "off", queue: [], retries: 0, generation: 0, speed: 1 });
    this.timer = setInterval(() => this.check(), 250);
    video.addEventListener("error", () => { if (this.mode !== "off" && video.error) this.again(); });
  }

  live() { this.start("live", null); }
  play(from) { this.sought = +from; this.start("playback", +from); }

  /** Goes to a time; while one seek is under way, only the latest further one is kept. */
  seek(to) {
    this.sought = +to;
    if (this.mode !== "playback" || this.socket?.readyState !== WebSocket.OPEN) return this.play(to);
    if (this.seeking != null) { this.nextSeek = +to; return; }
    this.seeking = +to;
    this.asked = 0;
    this.queue = [];
    this.placed = false;
    this.send({ type: "seek", from: new Date(+to).toISOString() });
    this.grant();
  }

  /** Milliseconds since 1970 of the picture shown. */
  wall() { return this.zero == null ? null : this.zero + this.video.currentTime * 1000; }
  setSpeed(speed) { this.speed = speed; if (this.mode === "playback") this.video.playbackRate = speed; }

  close() {
    this.mode = "off";
    clearInterval(this.timer);
    this.drop();
  }

  async start(mode, from) {
    this.drop();
    const generation = ++this.generation;
    Object.assign(this, { mode, from, began: performance.now(), shown: false, lastHeard: performance.now(), overNow: null });
    let number;
    try {
      number = await this.ticket(mode === "live" ? null : new Date(from));
    } catch (error) {
      return this.over({ reason: "failed", detail: error.message });
    }
    if (generation !== this.generation) return;
    const url = new URL(`/api/live/stream?ticket=${number}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = this.socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { if (socket === this.socket) this.grant(); };
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      this.lastHeard = performance.now();
      if (typeof event.data === "string") this.text(JSON.parse(event.data)); else this.frame(head(event.data));
    };
    socket.onclose = () => { if (socket === this.socket && !this.overNow) this.again(); };
  }

  text(message) {
    if (message.type === "opened") {
      if (this.seeking != null && message.from && Date.parse(message.from) !== this.seeking) return;
      this.seeking = null;
      if (!window.MediaSource?.isTypeSupported(message.mime)) {
        return this.over({ reason: "codec", detail: `This browser can't play ${message.mime}.` });
      }
      this.mime = message.mime;
      this.on("opened", message);
      if (this.nextSeek != null) {
        const to = this.nextSeek;
        this.nextSeek = null;
        this.seek(to);
      }
    } else if (message.type === "ended") {
      this.over(message);
    } else if (message.type === "skipped") {
      this.on("skipped", { from: Date.parse(message.from), to: Date.parse(message.to) });
    } else if (message.type === "dropped") {
      this.on("dropped", message);
    }
  }

  over(end) {
    this.overNow = end;
    this.socket?.close();
    this.on("ended", end);
    // What may pass by itself is tried again.
    if (["no_video", "edge_away", "too_slow", "stopped", "too_many"].includes(end.reason)) this.again();
  }

  frame(frame) {
    if (this.seeking != null) return;
    if (frame.kind === INIT) {
      this.zero = frame.wall;
      this.attach(frame.body);
    } else if (frame.kind === FRAGMENT && this.source) {
      if (this.mode === "playback") this.asked = Math.max(0, this.asked - 1);
      else this.clockOff = Math.min(this.clockOff ?? Infinity, Date.now() - frame.sent);
      this.newest = frame.wall + frame.duration;
      this.queue.push(frame);
      if (this.queue.length > MAX_WAITING) {
        const key = this.queue.findIndex((waiting, place) => place > 0 && waiting.key);
        this.queue.splice(0, key < 0 ? this.queue.length : key);
      }
      this.pump();
    }
  }

  /** A new MediaSource for each beginning: nothing of what was before can get in its way. */
  attach(init) {
    this.queue = [];
    this.buffer = null;
    const Source = window.ManagedMediaSource ?? window.MediaSource;
    const source = this.source = new Source();
    this.video.disableRemotePlayback = true;
    const mime = this.mime;
    source.addEventListener("sourceopen", () => {
      if (source !== this.source || this.buffer) return;
      URL.revokeObjectURL(this.url);
      try {
        this.buffer = source.addSourceBuffer(mime);
      } catch (error) {
        return this.over({ reason: "codec", detail: error.message });
      }
      this.buffer.addEventListener("updateend", () => { if (source === this.source) this.pump(); });
      this.buffer.appendBuffer(init);
    });
    if (this.url) URL.revokeObjectURL(this.url);
    this.video.src = this.url = URL.createObjectURL(source);
    this.video.playbackRate = this.mode === "playback" ? this.speed : 1;
    this.placed = false;
  }

  pump() {
    const { buffer, video } = this;
    if (!buffer || buffer.updating || this.source.readyState !== "open") return;
    const ranges = video.buffered;
    if (ranges.length && !this.placed) this.place();
    if (!this.queue.length) return this.tidy();
    const parts = this.queue.splice(0, 16).map((frame) => frame.body);
    const all = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
    parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
    try {
      buffer.appendBuffer(all);
    } catch (error) {
      if (error.name !== "QuotaExceededError") return this.again();
      buffer.remove(0, Math.max(0.1, video.currentTime - 1));
    }
  }

  /** The first picture: at the live edge, or at the time sought. */
  place() {
    const { video } = this, ranges = video.buffered, start = ranges.start(0), end = ranges.end(ranges.length - 1);
    const wanted = this.mode === "live" ? end - LIVE_TARGET : (this.sought - this.zero) / 1000;
    video.currentTime = Math.min(Math.max(wanted, start + 0.001), Math.max(start + 0.001, end - 0.05));
    this.placed = true;
    video.play().catch(() => {});
    const first = () => {
      if (this.shown) return;
      this.shown = true;
      this.retries = 0;
      this.on("first", { ms: performance.now() - this.began });
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(first); else video.addEventListener("timeupdate", first, { once: true });
  }

  tidy() {
    const { buffer, video } = this, behind = video.currentTime - KEEP_BEHIND;
    if (buffer.buffered.length && behind - buffer.buffered.start(0) > KEEP_BEHIND) buffer.remove(0, behind);
  }

  /** Asks for more recorded video as far as there is too little ahead. */
  grant() {
    if (this.mode !== "playback" || this.socket?.readyState !== WebSocket.OPEN) return;
    const ahead = this.ahead() / Math.max(1, this.speed);
    const missing = AHEAD - (this.asked ?? 0) - this.queue.length;
    if (missing > 0 && ahead < AHEAD) {
      this.asked = (this.asked ?? 0) + missing;
      this.send({ type: "credit", fragments: missing });
    }
  }

  ahead() {
    const { buffered, currentTime } = this.video;
    return buffered.length && this.placed ? Math.max(0, buffered.end(buffered.length - 1) - currentTime) : 0;
  }

  check() {
    const { video, mode } = this;
    if (mode === "off" || this.overNow) return;
    const silent = (performance.now() - this.lastHeard) / 1000;
    if (mode === "live") {
      if (silent > RECONNECT_S) return this.again();
      if (silent > STALLED_S) this.on("stalled", { seconds: silent });
      const ranges = video.buffered;
      if (ranges.length && this.placed && !video.paused) {
        const end = ranges.end(ranges.length - 1), { jump, rate } = chase(end - video.currentTime);
        if (jump || video.currentTime < ranges.start(ranges.length - 1)) video.currentTime = end - LIVE_TARGET;
        video.playbackRate = rate;
      }
    } else {
      this.grant();
      this.leapGap();
    }
    this.pump();
    const wall = this.wall();
    if (this.placed && wall != null) this.on("time", { wall, mode, lag: mode === "live" ? Date.now() - (this.clockOff ?? 0) - wall : null });
  }

  /** In front of a hole, goes on behind it. */
  leapGap() {
    const { buffered, currentTime } = this.video;
    for (let place = 0; place + 1 < buffered.length; place++) {
      if (currentTime >= buffered.end(place) - 0.15 && currentTime < buffered.start(place + 1)) {
        this.video.currentTime = buffered.start(place + 1) + 0.001;
        return;
      }
    }
  }

  again() {
    if (this.waiting) return;
    const wait = Math.min(10, 0.5 * 2 ** this.retries++) * (0.75 + Math.random() / 2);
    const { mode } = this, from = this.wall() ?? this.from;
    if (mode === "playback") this.sought = from;
    this.drop();
    this.waiting = setTimeout(() => { this.waiting = null; if (mode !== "off") this.start(mode, from); }, wait * 1000);
  }

  drop() {
    this.generation++;
    clearTimeout(this.waiting);
    this.waiting = null;
    const socket = this.socket;
    Object.assign(this, { socket: null, source: null, buffer: null, queue: [], seeking: null, nextSeek: null, asked: 0, placed: false, newest: null });
    socket?.close();
  }

  send(message) { this.socket.send(JSON.stringify(message)); }
}
