//! Measures what the motion gate costs in detections: precision and recall of people with and without it.
//!
//! ```text
//! cargo run --release -p aivms-appliance --example measure_gate -- [REFERENCE.onnx]
//! ```
//!
//! The demo video and two quiet parts of it, 5 pictures per second. A box of a person of 0.5 and more confidence is
//! right when it overlaps one of the reference by half or more. The reference is another detector's boxes, or, without
//! one, the same detector's without the gate.

mod clip;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aivms_appliance::pipeline::access_unit::AccessUnit;
use aivms_appliance::pipeline::decode::Decoder;
use aivms_appliance::pipeline::{Detector, DetectorSettings};
use aivms_appliance_core::detection::Detected;
use aivms_appliance_core::motion::{MotionGate, MotionSettings, Verdict};
use aivms_contract::geometry::PixelBox;
use anyhow::{Context, Result};

use clip::{cache, encode};

const SURE: f32 = 0.5;
/// Name and ffmpeg filter of each scene.
const SCENES: [(&str, &str); 3] = [
    ("whole picture", "fps=5"),
    ("upper right", "crop=256:192:512:0,fps=5"),
    ("lower left", "crop=256:192:0:384,fps=5"),
];

fn main() -> Result<()> {
    gstreamer::init()?;
    let detector = load(&cache("models/nanodet-g-416.onnx"))?;
    let reference = std::env::args_os().nth(1).map(|path| load(&PathBuf::from(path))).transpose()?;
    let folder = tempfile::tempdir()?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| scene | gate | pictures looked at | precision | recall | people |\n| --- | --- | ---: | ---: | ---: | ---: |"
    )?;
    for (name, filter) in SCENES {
        let units = encode(folder.path(), "scene", filter)?;
        let without = watch(&detector, &units, false)?;
        let judged = match &reference {
            Some(reference) => watch(reference, &units, false)?.0,
            None => without.0.clone(),
        };
        for (gate, (found, looks)) in [("no", without), ("yes", watch(&detector, &units, true)?)] {
            let right = |found: &[Vec<PixelBox>], truth: &[Vec<PixelBox>]| -> usize {
                found.iter().zip(truth).map(|(found, truth)| matched(found, truth)).sum()
            };
            let count = |boxes: &[Vec<PixelBox>]| boxes.iter().map(Vec::len).sum::<usize>().max(1) as f64;
            let precision = right(&found, &judged) as f64 / count(&found);
            let recall = right(&judged, &found) as f64 / count(&judged);
            let (share, people) = (looks as f64 / found.len() as f64, count(&judged));
            writeln!(out, "| {name} | {gate} | {share:.3} | {precision:.3} | {recall:.3} | {people} |")?;
        }
    }
    Ok(())
}

fn load(model: &Path) -> Result<Arc<Detector>> {
    let library = Some(cache("onnxruntime/libonnxruntime.so"));
    let settings =
        DetectorSettings { library, model: model.to_owned(), description: None, threads: 0, motion_gate: false };
    Ok(Detector::load(&settings)?)
}

/// The people of each picture, and at how many pictures the detector looked.
fn watch(detector: &Arc<Detector>, units: &[AccessUnit], gated: bool) -> Result<(Vec<Vec<PixelBox>>, usize)> {
    let format = &units.first().context("an empty video")?.format;
    let decoder = Decoder::start(format, &detector.model().input, 60.0)?;
    let person = detector.model().class("person").context("the model knows no people")?;
    let (mut gate, mut eye) = (MotionGate::new(MotionSettings::default(), 1.0), detector.eye());
    let (mut all, mut looks) = (vec![], 0);
    for unit in units {
        decoder.push(unit)?;
        let frame = decoder.next_frame(gstreamer::ClockTime::from_seconds(10))?.context("no picture")?;
        let verdict = if gated { frame.with_image(|image| gate.judge(frame.at, image)) } else { None };
        let found = match verdict {
            Some(Verdict::Still(held)) => held,
            Some(Verdict::Look) | None => {
                looks += 1;
                let (mut found, _) = eye.look(&frame, 0.1)?;
                found.retain(|found| found.class == person);
                gate.found(frame.at, &found);
                found
            }
        };
        all.push(found.iter().filter(|found| found.confidence >= SURE).map(|found: &Detected| found.bbox).collect());
    }
    Ok((all, looks))
}

/// How many of `these` lie on one of `those`.
fn matched(these: &[PixelBox], those: &[PixelBox]) -> usize {
    these.iter().filter(|this| those.iter().any(|that| this.iou(*that) >= 0.5)).count()
}
