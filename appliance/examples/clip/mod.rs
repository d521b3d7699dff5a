//! Variants of the demo video, encoded by ffmpeg and read as access units without waiting for real time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use aivms_appliance::pipeline::access_unit::{AccessUnit, StreamFormat};
use aivms_contract::time::MediaTime;
use anyhow::{Context, Result, ensure};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

/// A file that `make setup` has fetched.
pub(crate) fn cache(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache").join(name)
}

/// Encodes a variant of the demo video, 5 pictures per second, and reads its access units.
pub(crate) fn encode(folder: &Path, name: &str, filter: &str) -> Result<Vec<AccessUnit>> {
    let file = folder.join(name).with_extension("mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-loglevel", "error", "-y", "-i"]).arg(cache("video/vtest.avi")).args(["-vf", filter, "-r", "5"]);
    ffmpeg.args(["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "25", "-pix_fmt", "yuv420p"]).arg(&file);
    ensure!(ffmpeg.status().context("ffmpeg")?.success(), "ffmpeg could not encode {name}");
    let launch = format!(
        "filesrc location={} ! qtdemux ! h264parse config-interval=-1 ! \
         video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=sink sync=false",
        file.display()
    );
    let pipeline = gst::parse::launch(&launch)?.downcast::<gst::Pipeline>().ok().context("a pipeline")?;
    let sink = pipeline.by_name("sink").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok()).context("a sink")?;
    pipeline.set_state(gst::State::Playing)?;
    let (mut units, mut format) = (vec![], None);
    while let Ok(sample) = sink.pull_sample() {
        let caps = sample.caps_owned().context("caps")?;
        let format = format.get_or_insert_with(|| Arc::new(StreamFormat::new(caps)));
        let buffer = sample.buffer_owned().context("a buffer")?;
        let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let at = MediaTime::from_nanos(buffer.pts().map_or(0, gst::ClockTime::nseconds));
        units.push(AccessUnit { format: Arc::clone(format), at, key, buffer });
    }
    pipeline.set_state(gst::State::Null)?;
    Ok(units)
}
