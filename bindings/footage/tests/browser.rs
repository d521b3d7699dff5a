//! Clips and segments play in a real browser: clips as files, segments piece by piece as live view and playback do.
//!
//! Chromium has no decoder for H.265: `encoders.rs` plays that with FFmpeg alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use aivms_contract::time::UtcMillis;
use aivms_footage::clip::copy_range;
use aivms_footage::{ClipPlanner, FragmentHead, init_segment_live, read_fragment, write_fragment};
use serde_json::Value;
use support::START;
use support::encoder::{B_PICTURES, BASELINE, Recipe, Segment, WITH_SOUND, WITH_TELEPHONE_SOUND, encode, record};

/// A browser that does not start or play in this time has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays the clip as a file and the pieces through MSE, seeks to the middle of each, and reports what it saw.
const PAGE: &str = r#"<!doctype html><video id=a muted></video><video id=b muted></video><script>
const once = (target, name) => new Promise((done, fail) => {
  target.addEventListener(name, done, {once: true});
  target.addEventListener('error', () => fail(new Error(name + ': ' + (target.error && target.error.message))), {once: true});
});
const load = async path => await (await fetch(path)).arrayBuffer();
async function look(video, at) {
  const seeked = once(video, 'seeked');
  video.currentTime = at;
  await seeked;
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight), paper = canvas.getContext('2d');
  const colours = new Set();
  // A picture is on the canvas some time after the video says that it has it.
  for (let tries = 0; colours.size < 2 && tries < 100; tries++) {
    colours.clear();
    paper.drawImage(video, 0, 0);
    const data = paper.getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < data.length; i += 400) colours.add(data[i] >> 4 << 8 | data[i + 1] >> 4 << 4 | data[i + 2] >> 4);
    await new Promise(done => setTimeout(done, 50));
  }
  return {ready: video.readyState, width: video.videoWidth, height: video.videoHeight, colours: colours.size, at: video.currentTime};
}
async function clip() {
  const loaded = once(a, 'loadeddata');
  a.src = URL.createObjectURL(new Blob([await load('clip.mp4')], {type: 'video/mp4'}));
  await loaded;
  const seen = await look(a, a.duration / 2);
  a.currentTime = 0;
  await once(a, 'seeked');
  const ended = once(a, 'ended');
  a.playbackRate = 2;
  await a.play();
  await ended;
  return {...seen, duration: a.duration, frames: a.getVideoPlaybackQuality().totalVideoFrames};
}
async function pieces(mime, count) {
  if (!MediaSource.isTypeSupported(mime)) return {unsupported: mime};
  const source = new MediaSource(), open = once(source, 'sourceopen');
  b.src = URL.createObjectURL(source);
  await open;
  const buffer = source.addSourceBuffer(mime);
  for (let i = 0; i < count; i++) {
    const data = await load('piece' + i), done = once(buffer, 'updateend');
    buffer.appendBuffer(data);
    await done;
  }
  source.endOfStream();
  const ranges = [];
  for (let i = 0; i < b.buffered.length; i++) ranges.push([b.buffered.start(i), b.buffered.end(i)]);
  return {...await look(b, 2), ranges};
}
(async () => {
  const told = {};
  try {
    const {mime, count} = await (await fetch('about')).json();
    told.clip = await clip();
    told.pieces = await pieces(mime, count);
  } catch (error) { told.error = String(error); }
  await fetch('told', {method: 'POST', body: JSON.stringify(told)});
})();
</script>"#;

type Files = HashMap<String, (&'static str, Vec<u8>)>;

/// Answers one request; gives the body of a POST.
fn answer(stream: TcpStream, files: &Files) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let (mut request, mut length) = (String::new(), 0);
    reader.read_line(&mut request).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (kind, content) = files.get(path).map_or(("text/plain", &[][..]), |(kind, content)| (*kind, content));
    let mut stream = reader.into_inner();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(content).ok()?;
    request.starts_with("POST").then(|| String::from_utf8_lossy(&body).into_owned())
}

/// Serves `files` on a free port until somebody posts.
fn serve(files: Files) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let told = listener.incoming().filter_map(|stream| answer(stream.ok()?, &files)).next();
        told.map(|told| tell.send(told))
    });
    (port, told)
}

/// A browser that is gone when this is.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn browser(url: &str, home: &Path) -> Browser {
    let child = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0"])
        .arg(format!("--user-data-dir={}", home.display()))
        .arg(url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Browser(child.expect("chromium: run `make setup`"))
}

/// A clip from the 11th picture on, and all segments in pieces of at most 150 ms on one timeline.
fn files(recipe: Recipe, directory: &Path) -> Files {
    let source = encode(recipe, directory);
    let segments = record(&source, 13_500, directory);
    let tracks = segments[0].tracks.clone();
    let mut pieces = vec![init_segment_live(&tracks)];
    let wanted = UtcMillis::from_millis(START + 400)..UtcMillis::from_millis(START + 3600);
    let mut planner = ClipPlanner::new(tracks.clone(), wanted);
    let mut at = 0;
    for segment in &segments {
        planner.segment(&segment.tracks, segment.start).unwrap();
        at = add(segment, at, &mut planner, &mut pieces);
    }
    let plan = planner.plan().unwrap();
    let (mut clip, mut buffer) = (Vec::new(), Vec::new());
    let mut open: Vec<_> = segments.iter().map(|segment| std::fs::File::open(&segment.path).unwrap()).collect();
    plan.write(&mut clip, |range, out| copy_range(range, &mut open[range.segment], out, &mut buffer)).unwrap();
    let about = serde_json::json!({ "mime": tracks.mime(), "count": pieces.len() }).to_string();
    let mut files = HashMap::from([
        ("/".to_owned(), ("text/html", PAGE.as_bytes().to_vec())),
        ("/about".to_owned(), ("application/json", about.into_bytes())),
        ("/clip.mp4".to_owned(), ("video/mp4", clip)),
    ]);
    files.extend(pieces.into_iter().enumerate().map(|(at, piece)| (format!("/piece{at}"), ("video/mp4", piece))));
    files
}

/// Adds a segment's fragments to the plan, and to the pieces from tick `begin` on; gives the tick at which it ends.
fn add(segment: &Segment, begin: u64, planner: &mut ClipPlanner, pieces: &mut Vec<Vec<u8>>) -> u64 {
    let file = bytes::Bytes::from(std::fs::read(&segment.path).unwrap());
    for info in &segment.fragments {
        let bytes = file.slice(info.offset as usize..);
        if info.wall.as_millis() < START + 3600 {
            planner.fragment(FragmentHead::parse(&bytes).unwrap(), info.offset, info.hash).unwrap();
        }
        let mut fragment = read_fragment(&bytes).unwrap();
        fragment.video.iter_mut().for_each(|sample| sample.dts += begin);
        let rate = segment.tracks.audio.as_ref().map_or(0, |audio| u64::from(audio.sample_rate));
        fragment.audio.iter_mut().for_each(|sample| sample.dts += begin * rate / 90_000);
        let mut piece = Vec::new();
        write_fragment(&fragment, pieces.len() as u32, 0, &mut piece).unwrap();
        pieces.push(piece);
    }
    let last = segment.fragments.last().unwrap();
    begin + last.start + u64::from(last.duration)
}

fn check(recipe: Recipe) {
    let directory = tempfile::tempdir().unwrap();
    let (port, told) = serve(files(recipe, directory.path()));
    let _browser = browser(&format!("http://127.0.0.1:{port}/"), &directory.path().join("browser"));
    let told: Value = serde_json::from_str(&told.recv_timeout(PATIENCE).expect("the browser said nothing")).unwrap();
    let number = |path: &str| told.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {told}"));
    for way in ["/clip", "/pieces"] {
        let seen = ["width", "height"].map(|name| number(&format!("{way}/{name}")));
        assert_eq!(seen, [316.0, 178.0], "{told}");
        // A black or grey picture has one colour, the test picture has dozens.
        assert!(number(&format!("{way}/colours")) > 20.0 && number(&format!("{way}/ready")) >= 2.0, "{told}");
    }
    // Chromium shows the last fragment to its end.
    assert!((3.2..3.37).contains(&number("/clip/duration")), "{told}");
    // All of the clip's 80 pictures, but for those that a busy machine skips.
    assert!(number("/clip/frames") > 20.0, "{told}");
    let ranges = told.pointer("/pieces/ranges").and_then(Value::as_array).unwrap();
    assert_eq!(ranges.len(), 1, "there is a hole between pieces: {told}");
    assert!(number("/pieces/ranges/0/0") < 0.05 && (number("/pieces/ranges/0/1") - 4.0).abs() < 0.15, "{told}");
}

#[test]
fn h264_without_b_pictures_plays_in_a_browser() {
    check(BASELINE);
}

#[test]
fn h264_with_b_pictures_plays_in_a_browser() {
    check(B_PICTURES);
}

#[test]
fn h264_with_sound_plays_in_a_browser() {
    check(WITH_SOUND);
}

#[test]
fn h264_with_sound_that_was_g711_plays_in_a_browser() {
    check(WITH_TELEPHONE_SOUND);
}
