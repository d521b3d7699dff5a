//! A machine with DeepStream on it, or what stands in for one, and cameras whose every picture is counted.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use aivms_appliance::pipeline::access_unit::{AccessUnit, fan_out};
use aivms_appliance::pipeline::deepstream::{DeepStreamEngine, DeepStreamSettings, Precision};
use aivms_appliance::pipeline::engine::{Engine, EngineError, EngineOutput, EngineResults, EngineSession, Feed, Watch};
use aivms_appliance::pipeline::frame::FrameGate;
use aivms_appliance::pipeline::infer;
use aivms_appliance_core::detection::FrameDetections;
use aivms_deepstream::{Abi, Library};
use aivms_standin::Metadata;
use gstreamer as gst;
use tokio::sync::broadcast;

/// Longest wait for anything; a loaded machine needs a small part of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A file that `make setup` has fetched into the repository's cache.
pub(crate) fn cache(name: &str) -> PathBuf {
    let path = std::path::absolute(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache").join(name)).unwrap();
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}

/// The detector of bright patches.
pub(crate) fn bright() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deepstream/bright.onnx")
}

/// The folder of NVIDIA's metadata libraries, where they have been fetched.
pub(crate) fn nvidia() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/deepstream/lib");
    folder.join("libnvds_meta.so").exists().then_some(folder)
}

/// Registers the stand-ins once; gives the metadata library that they and the engine use: NVIDIA's where it has been
/// fetched, else our own.
pub(crate) fn library() -> Arc<Library> {
    static LIBRARY: OnceLock<Arc<Library>> = OnceLock::new();
    let opened = LIBRARY.get_or_init(|| {
        gst::init().unwrap();
        aivms_standin::plugin_register_static().unwrap();
        infer::runtime(Some(&cache("onnxruntime/libonnxruntime.so"))).unwrap();
        if let Some(nvidia) = nvidia() {
            aivms_standin::use_metadata(&Metadata::Folder(nvidia.clone())).unwrap();
            return Library::open(Some(&nvidia)).unwrap();
        }
        eprintln!("NVIDIA's metadata libraries are not here: our own stand in for them");
        aivms_standin::use_metadata(&Metadata::Own(Abi::V90)).unwrap();
        Library::own(Abi::V90)
    });
    Arc::clone(opened)
}

/// A folder with what the engine expects of an installed DeepStream, and settings for it.
pub(crate) struct Site {
    pub(crate) settings: DeepStreamSettings,
    _dir: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new(model: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("lib")).unwrap();
        std::fs::write(dir.path().join("lib/libnvds_nvmultiobjecttracker.so"), "").unwrap();
        let settings = DeepStreamSettings {
            model: model.to_owned(),
            description: None,
            dir: dir.path().to_owned(),
            work_dir: dir.path().join("work"),
            engines_dir: dir.path().join("engines"),
            precision: Precision::Fp16,
            calibration: None,
            batch: 4,
            interval: 0,
        };
        Self { settings, _dir: dir }
    }

    pub(crate) fn engine(&self) -> Arc<dyn Engine> {
        DeepStreamEngine::load(self.settings.clone(), library()).unwrap()
    }

    /// Makes the stand-in of nvinfer fail at its next batch, until the file is gone.
    pub(crate) fn fault(&self) -> PathBuf {
        let stem = self.settings.model.file_stem().unwrap().to_str().unwrap();
        self.settings.work_dir.join(format!("{stem}-one-deviation.onnx.fail"))
    }
}

/// A connection of a camera whose units are given by hand, one after the other.
pub(crate) struct Camera {
    pub(crate) session: Box<dyn EngineSession>,
    pub(crate) results: EngineResults,
    units: broadcast::Sender<AccessUnit>,
    gate: FrameGate,
}

impl Camera {
    pub(crate) fn connect(engine: &Arc<dyn Engine>, id: &str, first: &AccessUnit, fps: f64) -> Self {
        Self::try_connect(engine, id, first, fps).unwrap()
    }

    pub(crate) fn try_connect(
        engine: &Arc<dyn Engine>,
        id: &str,
        first: &AccessUnit,
        fps: f64,
    ) -> Result<Self, EngineError> {
        let (units, received) = fan_out();
        let (output, results) = EngineOutput::new();
        let feed = Feed {
            camera: id.parse().unwrap(),
            format: Arc::clone(&first.format),
            units: received,
            watch: Watch { fps, confidence: 0.5, classes: vec![0] },
            output,
        };
        let session = Arc::clone(engine).connect(feed)?;
        Ok(Self { session, results, units, gate: FrameGate::new(fps) })
    }

    /// Where units are put in.
    pub(crate) fn sender(&self) -> broadcast::Sender<AccessUnit> {
        self.units.clone()
    }

    /// Hands over a unit without waiting for anything.
    pub(crate) fn send(&self, unit: &AccessUnit) {
        assert!(self.units.send(unit.clone()).is_ok(), "the engine has let go of the units");
    }

    /// Hands over a unit and waits for what is seen in it; `None` when it is not to be analysed.
    pub(crate) fn show(&mut self, unit: &AccessUnit) -> Option<FrameDetections> {
        let wanted = self.gate.admit(unit.at);
        self.send(unit);
        wanted.then(|| {
            let seen = self.next();
            assert_eq!(seen.pts, unit.at, "each picture comes out once and in its turn");
            seen
        })
    }

    /// Waits for the next analysed frame.
    pub(crate) fn next(&mut self) -> FrameDetections {
        let start = Instant::now();
        loop {
            if let Ok(frame) = self.results.frames.try_recv() {
                return frame;
            }
            if let Ok(end) = self.results.ends.try_recv() {
                panic!("the engine has ended: {end}");
            }
            let counters = self.session.counters();
            assert!(start.elapsed() < PATIENCE, "nothing comes: {counters:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the reason for which the engine stopped.
    pub(crate) fn end(&mut self) -> EngineError {
        let start = Instant::now();
        loop {
            if let Ok(end) = self.results.ends.try_recv() {
                return end;
            }
            let _ = self.results.frames.try_recv();
            assert!(start.elapsed() < PATIENCE, "no end comes: {:?}", self.session.counters());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
