//! Footage for tests: video by ffmpeg whose pictures tell their number, through the real recorder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::desired::{CamerasFile, Recording};
use aivms_contract::id::CameraId;
use aivms_contract::time::{MediaClock, MediaTime, UtcMillis};
use aivms_footage::VideoCodec;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use tempfile::TempDir;
use tokio::sync::{broadcast, watch};

use super::eventually;
use crate::chain::{Chain, ChainSettings};
use crate::masks::{Gate, GateKeeper};
use crate::pipeline::access_unit::{AccessUnit, AudioFormat, AudioUnit, StreamFormat};
use crate::pipeline::consumer::{StreamConsumer as _, StreamEnd, StreamFeed, StreamRole};
use crate::recorder::{Folders, Footage, Recorder, RecorderSettings, RecordingPolicy};
use crate::uploads::Outgoing;

/// Size of the pictures.
pub(crate) const WIDTH: usize = 128;
pub(crate) const HEIGHT: usize = 96;
/// Pictures per second.
pub(crate) const FPS: u64 = 25;
/// A picture's brightness tells its number, up to this one.
pub(crate) const NUMBERS: u64 = 40;

/// Wall time in milliseconds after that at which the tests' media begins.
pub(crate) fn at(millis: i64) -> UtcMillis {
    UtcMillis::from_millis(1_795_352_700_000 + millis)
}

/// Access units of a video of `seconds`; the brightness of each picture tells its number.
pub(crate) fn numbered(codec: VideoCodec, b_pictures: u32, seconds: u32) -> Vec<AccessUnit> {
    let dir = tempfile::tempdir().unwrap();
    let source = format!(
        "color=black:size={WIDTH}x{HEIGHT}:rate={FPS}:duration={seconds},\
         geq=lum='40+4*mod(N,{NUMBERS})':cb=128:cr=128"
    );
    let b_pictures = b_pictures.to_string();
    let x265 = format!("keyint=25:min-keyint=25:scenecut=0:open-gop=0:bframes={b_pictures}:log-level=error");
    let (name, arguments) = match codec {
        VideoCodec::H264 => ("h264", vec!["-c:v", "libx264", "-bf", &b_pictures, "-sc_threshold", "0"]),
        VideoCodec::H265 => ("h265", vec!["-c:v", "libx265", "-tag:v", "hvc1", "-x265-params", &x265]),
    };
    let arguments = [&["-crf", "8", "-g", "25", "-pix_fmt", "yuv420p"], arguments.as_slice()].concat();
    encoded(dir.path(), &source, name, &arguments)
}

/// The access units of a video that ffmpeg makes of the filter `source`, the first shown at zero.
pub(crate) fn encoded(dir: &Path, source: &str, codec: &str, arguments: &[&str]) -> Vec<AccessUnit> {
    let file = dir.join("source.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y", "-f", "lavfi", "-i", source]).args(arguments).arg(&file);
    assert!(ffmpeg.status().unwrap().success());
    gst::init().unwrap();
    let launch = format!(
        "filesrc location={} ! qtdemux ! {codec}parse config-interval=-1 ! \
         video/x-{codec},stream-format=byte-stream,alignment=au ! appsink name=sink sync=false",
        file.display()
    );
    let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let samples: Vec<gst::Sample> = std::iter::from_fn(|| sink.pull_sample().ok()).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    let format = Arc::new(StreamFormat::new(samples[0].caps_owned().unwrap()));
    let pts = |sample: &gst::Sample| sample.buffer().unwrap().pts().unwrap();
    let first = samples.iter().map(pts).min().unwrap();
    let unit = |sample: &gst::Sample| {
        let mut buffer = sample.buffer_owned().unwrap();
        let (at, key) = (pts(sample) - first, !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
        buffer.make_mut().set_pts(at);
        AccessUnit { format: Arc::clone(&format), at: MediaTime::from_nanos(at.nseconds()), key, buffer }
    };
    samples.iter().map(unit).collect()
}

/// A recorder and what works with its footage, in a folder of its own.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) recorder: Recorder,
    pub(crate) footage: Footage,
    pub(crate) outgoing: Outgoing,
    pub(crate) gate: Gate,
    pub(crate) chain: Chain,
    pub(crate) keeper: GateKeeper,
    _policy: watch::Sender<Arc<RecordingPolicy>>,
}

impl Site {
    /// A site with segments of two seconds and the camera `gate`, whose picture is hidden where `masks` say.
    pub(crate) fn new(masks: &serde_json::Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Recording { audio: Some(true), ..Recording::default() };
        let (policy, changes) = watch::channel(Arc::new(RecordingPolicy::new(site, [])));
        let recordings = dir.path().join("recordings");
        let settings = RecorderSettings {
            data_dir: dir.path().to_owned(),
            folders: Folders { fast: recordings.clone(), slow: None },
            segment: Duration::from_secs(2),
            sync: Duration::from_secs(1),
            edge: None,
        };
        let (recorder, footage) = Recorder::open(settings, changes, |_| {}).unwrap();
        let outgoing = Outgoing::open(dir.path().join("outgoing"), &uploads()).unwrap();
        let (keeper, gate) = Gate::new();
        let chain = ChainSettings { recordings, slow: None, edge: "edge_1".parse().unwrap() };
        let (chain, _writer) = Chain::new(chain, watch::channel(None).1);
        let site = Self { dir, recorder, footage, outgoing, gate, chain, keeper, _policy: policy };
        site.mask(masks);
        site
    }

    /// Hides other parts from now on.
    pub(crate) fn mask(&self, masks: &serde_json::Value) {
        let cameras = serde_json::json!({"cameras": [{"id": "gate", "url": "file:///a", "privacy_masks": masks}]});
        let cameras: CamerasFile = serde_json::from_value(cameras).unwrap();
        self.keeper.set(cameras.cameras.as_slice());
    }

    /// Records one connection of the camera `gate` that begins at `zero`, with sound, and waits until it is on the disk.
    pub(crate) async fn record(&self, zero: UtcMillis, units: &[AccessUnit]) {
        let (pictures, unit_feed) = broadcast::channel(4096);
        let (sounds, sound_feed) = broadcast::channel(4096);
        let (_clock, clock_feed) = watch::channel(MediaClock { zero_at: zero });
        let feed = StreamFeed { role: StreamRole::Main, units: unit_feed, audio: sound_feed, clock: clock_feed };
        self.recorder.connected(&gate(), feed);
        let end = units.iter().map(|unit| unit.at).max().unwrap();
        for number in 0..end.as_nanos() / 64_000_000 {
            sounds.send(sound(number)).unwrap();
        }
        // Then the first segment has it already.
        eventually("the sound is taken", || sounds.is_empty()).await;
        for unit in units {
            pictures.send(unit.clone()).unwrap();
        }
        drop((pictures, sounds));
        self.recorder.disconnected(&gate(), StreamRole::Main, StreamEnd::Restarted);
        let through = MediaClock { zero_at: zero }.utc(end);
        eventually("the footage is there", || self.footage.newest(&gate()).is_some_and(|end| end > through)).await;
    }

    /// The file that waits for the cloud under a name such as `clip-c-1`.
    pub(crate) fn waiting(&self, name: &str) -> PathBuf {
        self.dir.path().join("outgoing").join(format!("{name}.media"))
    }
}

pub(crate) fn gate() -> CameraId {
    "gate".parse().unwrap()
}

fn uploads() -> crate::config::Uploads {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("appliance.toml");
    std::fs::write(&path, "").unwrap();
    crate::config::Config::load(Some(&path), &crate::config::Environment::default()).unwrap().uploads
}

/// A silent frame of AAC, 64 ms long: one channel without any band, and the end.
fn sound(number: u64) -> AudioUnit {
    let format = AudioFormat { sample_rate: 16_000, channels: 1, config: vec![0x14, 0x08] };
    let at = MediaTime::from_millis(number * 64);
    AudioUnit { format: Arc::new(format), at, buffer: gst::Buffer::from_slice([0, 0, 0, 7]) }
}

/// The pictures that ffmpeg shows of a file, as planes of brightness.
pub(crate) fn shown(file: &Path) -> Vec<Vec<u8>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-map", "0:v", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    output.stdout.chunks_exact(WIDTH * HEIGHT * 3 / 2).map(|picture| picture[..WIDTH * HEIGHT].to_vec()).collect()
}

/// The number that a picture tells by its top left corner.
pub(crate) fn number(picture: &[u8]) -> u64 {
    (u64::from(picture[4 * WIDTH + 4]).saturating_sub(38)) / 4
}

/// What ffprobe says of a file.
pub(crate) fn probed(file: &Path, entries: &str) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", entries, "-of", "default=noprint_wrappers=1:nokey=1"])
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
