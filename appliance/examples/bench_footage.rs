//! Measures what reading footage costs: a random place in a month of sixteen cameras, and a clip of a minute.
//!
//! ```text
//! cargo run --release -p aivms-appliance --example bench_footage
//! ```
//!
//! The clip is made of recorded segments by the code that the appliance makes its clips with, without what it adds to
//! them (checksum, signature, queue), and by `ffmpeg -f concat -c copy -movflags
//! +faststart` from the same files; both as files in the same folder, neither synced, each the best of five.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use aivms_appliance::recorder::measure;
use aivms_contract::id::CameraId;
use aivms_contract::time::{MediaTime, UtcMillis};
use aivms_footage::clip::copy_range;
use aivms_footage::{
    AccessUnits, ClipPlanner, DecodeTimes, FragmentHead, FragmentInfo, FragmentTable, Gather, SegmentAbout, Shot,
    Tracks, VideoCodec, init_segment, scan, write_fragment, write_tail,
};
use anyhow::{Context, Result, ensure};
use serde_json::json;

const CAMERAS: usize = 16;
const MINUTES: i64 = 30 * 24 * 60;
const SEEKS: usize = 20_000;
const FPS: i64 = 25;
/// Segments of the clip's footage, each of a minute.
const SEGMENTS: usize = 2;
const ROUNDS: usize = 5;
/// First moment of all footage here.
const ZERO: i64 = 1_795_352_700_000;

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    clip(folder.path())?;
    seek(folder.path())
}

/// Reads the table of the segment at random times of random cameras.
fn seek(folder: &Path) -> Result<()> {
    let cameras: Vec<CameraId> =
        (1..=CAMERAS).map(|number| format!("camera-{number}").parse()).collect::<Result<_, _>>()?;
    let filling = Instant::now();
    measure::fill_index(folder, &cameras, UtcMillis::from_millis(ZERO), usize::try_from(MINUTES)?, 60)?;
    print("footage.index.fill", filling.elapsed().as_secs_f64(), "s for a month of 16 cameras")?;
    let opening = Instant::now();
    let footage = measure::open_index(folder)?;
    print("footage.index.open", opening.elapsed().as_secs_f64(), "s")?;
    let mut times = Vec::with_capacity(SEEKS);
    for _ in 0..SEEKS {
        let (camera, at) = (&cameras[fastrand::usize(..CAMERAS)], fastrand::i64(0..MINUTES * 60_000));
        let (from, begun) = (UtcMillis::from_millis(ZERO + at), Instant::now());
        let found = footage.segments(camera, from, from + Duration::from_millis(1));
        let place = found.first().and_then(|one| one.fragments.iter().rfind(|fragment| fragment.wall <= from).copied());
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        ensure!(place.is_some(), "no footage at {from}");
    }
    times.sort_by(f64::total_cmp);
    print("footage.seek.p50", times[SEEKS / 2], "ms")?;
    print("footage.seek.p99", times[SEEKS * 99 / 100], "ms")
}

/// Cuts a minute out of two segments, beside ffmpeg.
fn clip(folder: &Path) -> Result<()> {
    let segments = record(folder)?;
    let (from, until) = (at(30_000), at(90_000));
    let ours = best(|| cut(&segments, from, until, &folder.join("ours.mp4")))?;
    let list = folder.join("list.txt");
    let lines: String = segments.iter().map(|path| format!("file '{}'\n", path.display())).collect();
    std::fs::write(&list, lines)?;
    let theirs = best(|| concat(&list, &folder.join("theirs.mp4")))?;
    print("footage.clip.60-s", ours * 1e3, "ms")?;
    print("footage.clip.ffmpeg", theirs * 1e3, "ms")
}

fn best(work: impl Fn() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        work()?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn cut(segments: &[PathBuf], from: UtcMillis, until: UtcMillis, to: &Path) -> Result<()> {
    let mut files = segments.iter().map(File::open).collect::<Result<Vec<_>, _>>()?;
    let mut planner: Option<ClipPlanner> = None;
    for (file, path) in files.iter_mut().zip(segments) {
        let found = scan(&mut *file)?.with_context(|| format!("{}", path.display()))?;
        let wanted: Vec<_> = found.fragments.iter().filter(|one| one.wall < until && one.wall_end() > from).collect();
        let Some(first) = wanted.first() else { continue };
        let planner = planner.get_or_insert_with(|| ClipPlanner::new(found.tracks.clone(), from..until));
        planner.segment(&found.tracks, first.wall)?;
        for info in wanted {
            planner.fragment(head(file, info)?, info.offset, info.hash)?;
        }
    }
    let plan = planner.context("no footage")?.plan()?;
    let (mut out, mut buffer) = (BufWriter::new(File::create(to)?), Vec::new());
    plan.write(&mut out, |range, out| copy_range(range, &mut files[range.segment], out, &mut buffer))?;
    Ok(out.flush()?)
}

/// Reads a fragment's tables; a few KiB hold them.
fn head(file: &File, info: &FragmentInfo) -> Result<FragmentHead> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; usize::try_from(info.bytes)?.min(8192)];
    file.read_exact_at(&mut bytes, info.offset)?;
    FragmentHead::parse(&bytes).context("a fragment's tables")
}

fn concat(list: &Path, to: &Path) -> Result<()> {
    let status = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-y", "-f", "concat", "-safe", "0", "-ss", "30", "-t", "60", "-i"])
        .arg(list)
        .args(["-c", "copy", "-movflags", "+faststart"])
        .arg(to)
        .status()?;
    ensure!(status.success(), "ffmpeg failed");
    Ok(())
}

/// Two segments of a minute, of a real encoder's pictures at about 4 Mbit/s.
fn record(folder: &Path) -> Result<Vec<PathBuf>> {
    let stream = folder.join("pictures.h264");
    let seconds = SEGMENTS * 60;
    let status = Command::new("ffmpeg")
        .args(["-loglevel", "error", "-f", "lavfi", "-i"])
        .arg(format!("testsrc2=size=640x360:rate={FPS}:duration={seconds},noise=alls=30:allf=t"))
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0", "-b:v", "4M", "-maxrate", "4M"])
        .args(["-bufsize", "4M", "-x264-params", "aud=1"])
        .arg(&stream)
        .status()?;
    ensure!(status.success(), "ffmpeg failed");
    let bytes = std::fs::read(&stream)?;
    let units = split(&bytes);
    ensure!(units.len() == seconds * 25, "{} pictures", units.len());
    let mut paths = Vec::new();
    for (number, units) in units.chunks(60 * 25).enumerate() {
        let path = folder.join(format!("{number}.mp4"));
        std::fs::write(&path, segment(units, at(i64::try_from(number)? * 60_000))?)?;
        paths.push(path);
    }
    Ok(paths)
}

fn at(millis: i64) -> UtcMillis {
    UtcMillis::from_millis(ZERO + millis)
}

/// Cuts a byte stream at its access unit delimiters.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> =
        bytes.windows(5).enumerate().filter(|(_, five)| *five == [0, 0, 0, 1, 9]).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(start, end)| &bytes[*start..end]).collect()
}

fn segment(units: &[&[u8]], start: UtcMillis) -> Result<Vec<u8>> {
    let mut pictures = AccessUnits::new(VideoCodec::H264);
    let (mut times, mut gather, mut timed, mut fragments) =
        (DecodeTimes::new(Some(0)), Gather::new(90_000, None), Vec::new(), Vec::new());
    for (number, unit) in units.iter().enumerate() {
        let picture = pictures.take(unit)?;
        let media = MediaTime::from_millis(u64::try_from(number)? * 1000 / FPS.unsigned_abs());
        let wall = start + Duration::from_nanos(media.as_nanos());
        let shot = Shot { wall, key: picture.key, data: picture.data };
        times.push(i64::try_from(number)? * 90_000 / FPS, picture.refresh, shot, &mut timed);
        fragments.extend(timed.drain(..).filter_map(|timed| gather.picture(timed)));
    }
    times.flush(&mut timed);
    fragments.extend(timed.drain(..).filter_map(|timed| gather.picture(timed)));
    fragments.extend(gather.cut(None));
    let tracks = Tracks { video: pictures.track().context("no parameter sets")?.clone(), audio: None };
    let about = SegmentAbout { edge: None, camera: "camera-1".parse()?, start };
    let (mut bytes, mut table) = (init_segment(&tracks, &about), FragmentTable::default());
    for (number, fragment) in fragments.iter().enumerate() {
        let offset = bytes.len() as u64;
        table.fragments.push(write_fragment(fragment, u32::try_from(number)? + 1, offset, &mut bytes)?);
    }
    bytes.extend(write_tail(&table));
    Ok(bytes)
}

fn print(bench: &str, value: f64, unit: &str) -> Result<()> {
    let row = json!({ "bench": bench, "value": value, "unit": unit });
    Ok(writeln!(std::io::stdout(), "{row}")?)
}
