//! Lets nvinfer build its engine, in a pipeline of its own that sees one empty picture.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::cache::EngineKey;
use super::elements::{configured, make, nvmm_filter};
use super::error::DeepStreamError;
use super::nvinfer_config::{InferenceSettings, Weights, nvinfer_config};
use super::settings::DeepStreamSettings;
use super::weights::{Network, write};
use crate::pipeline::engine::EngineError;

/// How often the build is spoken for.
const SPEAK_EVERY: gst::ClockTime = gst::ClockTime::from_seconds(10);
/// Longest that a build may take: far more than the largest detectors need on the smallest Jetson.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3600);

/// Builds an engine in `work`. nvinfer writes it beside its ONNX file, under a name of its own choice.
pub(super) fn build(
    settings: &DeepStreamSettings,
    network: &Network,
    key: &EngineKey,
    work: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, DeepStreamError> {
    let onnx = work.join("model.onnx");
    std::fs::copy(&network.onnx, &onnx).map_err(|source| DeepStreamError::io(&onnx, source))?;
    let inference = InferenceSettings {
        weights: Weights::Onnx(onnx),
        batch: key.batch,
        precision: key.precision,
        calibration: settings.calibration.clone(),
        interval: 0,
    };
    let file = work.join("nvinfer.txt");
    write(&file, nvinfer_config(&network.model, &inference)?.as_bytes())?;
    let pipeline = pipeline(&file, key)?;
    let ended = wait(&pipeline, say);
    let _ = pipeline.set_state(gst::State::Null);
    ended?;
    find(work)
}

fn pipeline(file: &Path, key: &EngineKey) -> Result<gst::Pipeline, DeepStreamError> {
    let broken = || EngineError::Pipeline("the building pipeline can't be linked".to_owned());
    let source = configured("videotestsrc", &[("num-buffers", "1"), ("pattern", "black")])?;
    let filter = nvmm_filter("NV12")?;
    let (width, height) = (key.input.0.to_string(), key.input.1.to_string());
    let muxer = configured("nvstreammux", &[("width", &width), ("height", &height), ("batch-size", "1")])?;
    let inference = configured("nvinfer", &[("config-file-path", &file.to_string_lossy())])?;
    let sink = configured("fakesink", &[("sync", "false")])?;
    let pipeline = gst::Pipeline::new();
    let front = [source, make("nvvideoconvert")?, filter.clone()];
    let back = [muxer.clone(), inference, sink];
    let added = pipeline.add_many(&front).and_then(|()| pipeline.add_many(&back));
    let linked = added.and_then(|()| gst::Element::link_many(&front)).and_then(|()| gst::Element::link_many(&back));
    linked.map_err(|_| broken())?;
    filter.link_pads(Some("src"), &muxer, Some("sink_0")).map_err(|_| broken())?;
    Ok(pipeline)
}

/// Starting is what builds, so it is done beside, and its progress told here.
fn wait(pipeline: &gst::Pipeline, say: &mut dyn FnMut(&str)) -> Result<(), DeepStreamError> {
    let bus = pipeline.bus().ok_or_else(|| DeepStreamError::Build("the pipeline has no bus".to_owned()))?;
    let starter = pipeline.clone();
    let starting = std::thread::spawn(move || starter.set_state(gst::State::Playing).is_ok());
    let start = Instant::now();
    let ended = loop {
        let wanted = [gst::MessageType::Error, gst::MessageType::Eos];
        match bus.timed_pop_filtered(SPEAK_EVERY, &wanted) {
            Some(message) => match message.view() {
                gst::MessageView::Error(error) => break Err(error.error().message().to_owned()),
                _ => break Ok(()),
            },
            None if start.elapsed() > GIVE_UP_AFTER => break Err("it takes more than an hour".to_owned()),
            None => say(&format!("building, {} s so far", start.elapsed().as_secs())),
        }
    };
    let _ = starting.join();
    ended.map_err(DeepStreamError::Build)
}

fn find(work: &Path) -> Result<PathBuf, DeepStreamError> {
    let entries = std::fs::read_dir(work).map_err(|source| DeepStreamError::io(work, source))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    let engine = paths.find(|path| path.extension().is_some_and(|extension| extension == "engine"));
    engine.ok_or_else(|| DeepStreamError::Build("nvinfer has written no engine".to_owned()))
}
