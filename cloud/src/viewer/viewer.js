// The page: signs in, lists cameras, and drives a Player with a timeline, small pictures and boxes.

import { Player } from "/viewer/player.js";

const HOUR = 3_600_000, STEP_S = 20, COLUMNS = 20, TILE = { width: 160, height: 90 };
const el = (id) => document.getElementById(id);
const video = el("video"), stage = el("stage"), timeline = el("timeline");
let token = "", player = null, range = null, spans = [], gaps = [], shownAt = null, dragging = null, boxes = [], boxesFor = "", boxesLoading = false, sprites = new Map();

async function api(path, options = {}) {
  const headers = { ...(token && { authorization: `Bearer ${token}` }), ...(options.body && { "content-type": "application/json" }) };
  const answer = await fetch(path, { ...options, headers });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail ?? `The cloud answered ${answer.status}.`);
  return answer;
}
const json = async (path, body) => (await api(path, body && { method: "POST", body: JSON.stringify(body) })).json();
const cameraPath = () => `/api/edges/${encodeURIComponent(el("edge").value)}/cameras/${encodeURIComponent(el("camera").value)}`;
const clock = (at, seconds = true) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", ...(seconds && { second: "2-digit" }) });

/** Runs what may fail and shows why it did. */
function show(work) {
  el("problem").textContent = "";
  return work().catch((error) => { el("problem").textContent = error.message; });
}

el("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  try {
    token = (await json("/api/auth/login", { email: form.get("email"), password: form.get("password") })).token;
  } catch (error) {
    el("sign-in-problem").textContent = error.message;
    return;
  }
  el("sign-in").hidden = true;
  el("viewer").hidden = false;
  show(listEdges);
});

function fill(select, rows) {
  select.replaceChildren(...rows.map(([value, text]) => Object.assign(document.createElement("option"), { value, textContent: text })));
}

async function listEdges() {
  const { items } = await json("/api/tenant/edges");
  const usable = items.filter((edge) => edge.status !== "revoked");
  fill(el("edge"), usable.map((edge) => [edge.edge_id, edge.connected ? edge.name : `${edge.name} (away)`]));
  if (!usable.length) throw new Error("There is no edge yet: register one first.");
  await listCameras();
}

async function listCameras() {
  player?.close();
  player = null;
  notice("Asking the edge for its cameras …");
  const { items } = await json(`/api/edges/${encodeURIComponent(el("edge").value)}/cameras`);
  fill(el("camera"), items.map((camera) => [camera.camera_id, camera.camera_id + (camera.live ? "" : " (no video now)")]));
  notice("");
  if (!items.length) throw new Error("This edge has no cameras.");
  chooseCamera();
}

function chooseCamera() {
  player?.close();
  [spans, gaps, boxes, boxesFor, sprites, shownAt] = [[], [], [], "", new Map(), null];
  player = new Player(video, { ticket, on: heard });
  const now = Date.now();
  range = { from: now - HOUR, to: now + HOUR / 60, follow: true };
  player.live();
  window.viewerPlayer = player;
  show(loadTimeline);
}

async function ticket(from) {
  const body = { edge_id: el("edge").value, camera_id: el("camera").value, ...(from && { from: from.toISOString() }) };
  return (await json("/api/live/tickets", body)).ticket;
}

function notice(text) { el("notice").textContent = text; }

function heard(name, detail) {
  if (name === "time") {
    stage.classList.remove("stale");
    shownAt = detail.wall;
    el("wall").textContent = new Date(detail.wall).toLocaleString();
    el("wall").dateTime = new Date(detail.wall).toISOString();
    el("lag").textContent = detail.lag == null ? "" : `${Math.max(0, detail.lag / 1000).toFixed(1)} s behind`;
    setMode(detail.mode);
    paintTimeline();
    loadBoxes(detail.wall);
  } else if (name === "first") {
    document.body.dataset.first = Math.round(detail.ms);
    notice("");
  } else if (name === "opened") {
    stage.dataset.size = `${detail.width}×${detail.height}`;
  } else if (name === "stalled") {
    stage.classList.add("stale");
    notice(`No picture for ${Math.round(detail.seconds)} s`);
  } else if (name === "skipped") {
    flash(`No video from ${clock(detail.from)} to ${clock(detail.to)}`);
  } else if (name === "dropped") {
    flash(`The line is slow: ${detail.fragments} pieces were left out`);
  } else if (name === "ended") {
    notice(detail.detail || detail.reason);
    stage.classList.add("stale");
  }
}

function flash(text) {
  notice(text);
  setTimeout(() => { if (el("notice").textContent === text) notice(""); }, 4_000);
}

function setMode(mode) {
  el("mode").textContent = mode === "live" ? "LIVE" : "RECORDED";
  el("mode").classList.toggle("live", mode === "live");
  el("go-live").setAttribute("aria-pressed", String(mode === "live"));
  el("speed").disabled = mode === "live";
}

function goTo(at) {
  stage.classList.remove("stale");
  notice("");
  if (at >= Date.now() - 3_000) player.live(); else player.seek(at);
}

/* Timeline */

async function loadTimeline() {
  const { from, to } = range, query = `from=${new Date(from).toISOString()}&to=${new Date(to).toISOString()}`;
  const answer = await json(`${cameraPath()}/timeline?${query}`);
  const read = (span) => ({ ...span, start: Date.parse(span.start), end: span.end ? Date.parse(span.end) : to });
  [spans, gaps] = [answer.spans.map(read), answer.gaps.map(read)];
  paintTimeline();
}

function paintTimeline() {
  if (!range) return;
  if (range.follow && player?.mode === "live" && Date.now() > range.to) range = { from: range.from + 60_000, to: range.to + 60_000, follow: true };
  const ratio = devicePixelRatio, width = timeline.clientWidth, height = timeline.clientHeight;
  if (timeline.width !== Math.round(width * ratio)) [timeline.width, timeline.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const pen = timeline.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const x = (at) => ((at - range.from) / (range.to - range.from)) * width;
  const bar = { top: 24, height: height - 34 };
  pen.fillStyle = "#24181a";
  pen.fillRect(0, bar.top, Math.min(width, x(Date.now())), bar.height);
  pen.save();
  pen.beginPath();
  pen.rect(0, bar.top, Math.min(width, x(Date.now())), bar.height);
  pen.clip();
  pen.strokeStyle = "#3f272b";
  pen.lineWidth = 3;
  for (let at = -height; at < width; at += 9) { pen.beginPath(); pen.moveTo(at, bar.top + bar.height); pen.lineTo(at + bar.height, bar.top); pen.stroke(); }
  pen.restore();
  pen.fillStyle = "#2f6ea8";
  for (const span of spans) pen.fillRect(x(span.start), bar.top, Math.max(1, x(span.end) - x(span.start)), bar.height);
  pen.fillStyle = "#9aa3ad";
  pen.font = "11px system-ui, sans-serif";
  const every = [60, 300, 600, 1_800, 3_600].map((s) => s * 1_000).find((step) => (range.to - range.from) / step <= 13) ?? HOUR * 6;
  for (let at = Math.ceil(range.from / every) * every; at < range.to; at += every) {
    pen.fillRect(x(at), 17, 1, 6);
    const text = clock(at, false), half = pen.measureText(text).width / 2;
    pen.fillText(text, Math.min(width - 2 * half - 2, Math.max(2, x(at) - half)), 13);
  }
  const at = dragging ?? shownAt;
  if (at != null) {
    pen.fillStyle = "#fff";
    pen.fillRect(x(at) - 1, 18, 2, height - 22);
    timeline.setAttribute("aria-valuetext", new Date(at).toLocaleString());
  }
  el("range").textContent = `${new Date(range.from).toLocaleDateString()} ${clock(range.from, false)} – ${clock(range.to, false)}`;
}

const timeAt = (event) => range.from + ((event.clientX - timeline.getBoundingClientRect().left) / timeline.clientWidth) * (range.to - range.from);
timeline.addEventListener("pointerdown", (event) => { timeline.setPointerCapture(event.pointerId); drag(event); });
timeline.addEventListener("pointermove", (event) => { if (dragging != null) drag(event); });
timeline.addEventListener("pointerup", () => { const at = dragging; dragging = null; el("sprite").hidden = true; if (at != null) goTo(at); });
timeline.addEventListener("pointercancel", () => { dragging = null; el("sprite").hidden = true; });
timeline.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -10_000, ArrowRight: 10_000, PageUp: -60_000, PageDown: 60_000 }[event.key];
  if (step && shownAt != null) { event.preventDefault(); goTo(shownAt + step); }
});

function drag(event) {
  dragging = Math.min(Date.now(), Math.max(range.from, timeAt(event)));
  paintTimeline();
  showSprite(dragging);
}

/** The small picture of a time; an hour's pictures are fetched once. */
function showSprite(at) {
  const hour = Math.floor(at / HOUR) * HOUR, known = sprites.get(hour);
  if (known === undefined) {
    sprites.set(hour, null);
    api(`${cameraPath()}/sprite?hour=${new Date(hour).toISOString()}`)
      .then((answer) => answer.blob())
      .then((blob) => { sprites.set(hour, URL.createObjectURL(blob)); if (dragging != null) showSprite(dragging); })
      .catch(() => setTimeout(() => sprites.delete(hour), 5_000));
  }
  const picture = el("sprite");
  picture.hidden = !known;
  if (!known) return;
  const place = Math.floor((at - hour) / 1_000 / STEP_S);
  picture.style.backgroundImage = `url(${known})`;
  picture.style.backgroundPosition = `${-(place % COLUMNS) * TILE.width}px ${-Math.floor(place / COLUMNS) * TILE.height}px`;
}

/* Boxes */

/** Loads the boxes around a moment: for recorded video ten seconds at once, for what is new as often as time is told. */
async function loadBoxes(at) {
  const start = Math.floor(at / 10_000) * 10_000, fresh = Date.now() - at < 20_000;
  const key = fresh ? "fresh" : `${start}`;
  if (!el("show-boxes").checked || boxesLoading || (key === boxesFor && !fresh)) return;
  const [from, to] = fresh ? [at - 1_000, at + 4_000] : [start - 2_000, start + 12_000];
  const query = `from=${new Date(from).toISOString()}&to=${new Date(to).toISOString()}`, camera = cameraPath();
  boxesLoading = true;
  const loaded = await json(`${camera}/boxes?${query}`).catch(() => []);
  boxesLoading = false;
  if (camera === cameraPath()) [boxes, boxesFor] = [loaded, key];
}

/** The boxes of a moment: those seen last, no longer before than somebody who walks stays within them. */
function boxesAt(wall) {
  const before = boxes.filter((frame) => frame.t <= wall + 40);
  const last = before[before.length - 1];
  return last && wall - last.t < 300 ? last.boxes : [];
}

function paintBoxes(_, frame) {
  const canvas = el("boxes"), ratio = devicePixelRatio, { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (player?.zero != null && el("show-boxes").checked && video.videoWidth) {
    const scale = Math.min(width / video.videoWidth, height / video.videoHeight);
    const [w, h] = [video.videoWidth * scale, video.videoHeight * scale], [left, top] = [(width - w) / 2, (height - h) / 2];
    pen.lineWidth = 2;
    pen.font = "12px system-ui, sans-serif";
    for (const box of boxesAt(player.zero + (frame?.mediaTime ?? video.currentTime) * 1_000)) {
      const [x1, y1, x2, y2] = box.at;
      pen.strokeStyle = "#ffcf4a";
      pen.strokeRect(left + x1 * w, top + y1 * h, (x2 - x1) * w, (y2 - y1) * h);
      const text = `${box.class} ${Math.round(box.confidence * 100)} %`;
      pen.fillStyle = "#000b";
      pen.fillRect(left + x1 * w, top + y1 * h - 17, pen.measureText(text).width + 8, 16);
      pen.fillStyle = "#ffcf4a";
      pen.fillText(text, left + x1 * w + 4, top + y1 * h - 5);
    }
  }
  video.requestVideoFrameCallback?.(paintBoxes);
}
video.requestVideoFrameCallback?.(paintBoxes);

/* Controls */

el("edge").addEventListener("change", () => show(listCameras));
el("camera").addEventListener("change", chooseCamera);
el("go-live").addEventListener("click", () => { player?.live(); range.follow = true; });
el("pause").addEventListener("click", () => { if (video.paused) video.play(); else video.pause(); });
video.addEventListener("pause", () => { el("pause").textContent = "▶"; });
video.addEventListener("play", () => { el("pause").textContent = "❚❚"; });
el("speed").addEventListener("change", (event) => player?.setSpeed(Number(event.target.value)));
for (const button of document.querySelectorAll(".step")) button.addEventListener("click", () => { if (shownAt != null) goTo(shownAt + Number(button.dataset.step) * 1_000); });
for (const button of document.querySelectorAll(".hours")) {
  button.addEventListener("click", () => {
    const shift = Number(button.dataset.shift) * HOUR;
    range = { from: range.from + shift, to: range.to + shift, follow: false };
    show(loadTimeline);
  });
}
setInterval(() => { if (range && player && range.to > Date.now() - 60_000) loadTimeline().catch(() => {}); }, 10_000);
window.addEventListener("resize", paintTimeline);
