//! Tracks the boxes of a detection file in the form of the MOT Challenge and prints tracks in the same form.
//!
//! `track_mot DETECTIONS FPS [STEP [CONFIDENCE [TRUTH]]]`: takes every STEP-th frame of a sequence of FPS frames per second, so
//! that a detector which keeps up with a part of the frames is judged too. Lines are
//! `frame,id,left,top,width,height,confidence,class,..`; a confidence below 0 means that the file has none, a class
//! below 0 that all objects are of one class. The tracker's constants were chosen on TUD-Campus, TUD-Stadtmitte,
//! PETS09-S2L1, Venice-2 and ADL-Rundle-6 of MOT15, at their own rate and near 5 frames per second. ADL-Rundle-8,
//! ETH-Bahnhof, ETH-Pedcross2, ETH-Sunnyday, KITTI-13 and KITTI-17 were kept out of that search, to judge its result.
//!
//! With TRUTH, a file of the same form, one JSON line on standard error tells the median time of an update and the quality.
#![expect(clippy::print_stdout, reason = "the tracks go to standard output")]
#![expect(clippy::print_stderr, reason = "the figures go to standard error")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock; the library does not")]

#[path = "../tests/mot/mod.rs"]
mod mot;

use std::collections::BTreeMap;
use std::time::Instant;

use aivms_appliance_core::detection::Detected;
use aivms_appliance_core::tracker::{Tracker, TrackerSettings};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;

/// Large enough that no box of the sequences is cut.
const FRAME: FrameSize = FrameSize { width: 1920, height: 1080 };

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let detections = argument(0).ok_or("usage: track_mot DETECTIONS FPS [STEP [CONFIDENCE [TRUTH]]]")?;
    let fps: f64 = argument(1).unwrap_or("25").parse()?;
    let step: usize = argument(2).unwrap_or("1").parse()?;
    let confidence: f32 = argument(3).unwrap_or("0.5").parse()?;
    let frames = read_frames(&std::fs::read_to_string(detections)?)?;
    let last = frames.keys().last().copied().unwrap_or_default();
    let mut tracker = Tracker::new(TrackerSettings::for_confidence(confidence));
    let (mut tracks, mut spent) = (mot::Frames::new(), Vec::new());
    for frame in (1..=last).step_by(step.max(1)) {
        let pts = MediaTime::from_nanos((frame as f64 / fps * 1e9) as u64);
        let boxes: Vec<Detected> = frames.get(&frame).into_iter().flatten().map(|(_, found)| *found).collect();
        let start = Instant::now();
        let reports = tracker.update(pts, FRAME, &boxes);
        spent.push(start.elapsed());
        for tracked in &reports {
            let [x, y, ..] = tracked.bbox.corners();
            let (width, height) = (tracked.bbox.width(), tracked.bbox.height());
            println!("{frame},{},{x},{y},{width},{height},{},-1,-1,-1", tracked.track, tracked.confidence);
        }
        tracks.insert(frame, reports.iter().map(|tracked| (tracked.track, tracked.bbox)).collect());
    }
    spent.sort_unstable();
    let microseconds = spent.get(spent.len() / 2).map_or(0.0, |median| median.as_secs_f64() * 1e6);
    argument(4).map_or(Ok(()), |truth| judge(truth, &tracks, step, microseconds))
}

/// Prints how well the tracks follow the truth in the file at `path`.
fn judge(path: &str, tracks: &mot::Frames, step: usize, microseconds: f64) -> Result<(), Error> {
    let number = |frame: Vec<(u64, Detected)>| frame.into_iter().map(|(number, seen)| (number, seen.bbox)).collect();
    let truth = read_frames(&std::fs::read_to_string(path)?)?;
    let truth: mot::Frames = truth.into_iter().map(|(frame, objects)| (frame, number(objects))).collect();
    let last = truth.keys().last().copied().unwrap_or_default();
    let quality = mot::Quality::of(&truth, tracks, (1..=last).step_by(step.max(1)));
    let (mota, idf1, switches) = (quality.mota(), quality.idf1(), quality.switches);
    eprintln!(r#"{{"microseconds": {microseconds:.3}, "mota": {mota}, "idf1": {idf1}, "switches": {switches}}}"#);
    Ok(())
}

/// Objects of each frame with their number.
fn read_frames(text: &str) -> Result<BTreeMap<u64, Vec<(u64, Detected)>>, Error> {
    let mut frames: BTreeMap<u64, Vec<(u64, Detected)>> = BTreeMap::new();
    for line in text.lines() {
        let numbers = line.split(',').map(|number| number.trim().parse()).collect::<Result<Vec<f32>, _>>()?;
        let [frame, number, x, y, width, height, confidence, class, ..] = numbers[..] else {
            return Err(format!("not a line of a MOT file: {line}").into());
        };
        let confidence = if confidence < 0.0 { 1.0 } else { confidence };
        let bbox = PixelBox::new(x, y, x + width, y + height)?;
        let found = Detected { class: class.max(0.0) as u16, confidence, bbox };
        frames.entry(frame as u64).or_default().push((number.max(0.0) as u64, found));
    }
    Ok(frames)
}
