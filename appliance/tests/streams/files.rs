//! What is in the files of the recorder, by ffmpeg and ffprobe, against what a test camera has sent.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance::recorder::{Folders, Footage, Recorder, RecorderSettings, RecordingPolicy};
use aivms_contract::desired::Recording;
use aivms_contract::time::UtcMillis;
use aivms_rig::{Clip, slices};
use tokio::sync::watch;

use crate::ledger::Ledger;
use crate::probe;

/// A recorder with segments of some seconds, in a folder of its own, and the ledger of what it lacks.
pub(crate) struct Recordings {
    pub(crate) recorder: Recorder,
    pub(crate) ledger: Ledger,
    footage: Footage,
    _policy: watch::Sender<Arc<RecordingPolicy>>,
    _folder: tempfile::TempDir,
}

impl Recordings {
    pub(crate) fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (policy, changes) = watch::channel(Arc::new(RecordingPolicy::new(Recording::default(), [])));
        let settings = RecorderSettings {
            data_dir: folder.path().join("data"),
            folders: Folders { fast: folder.path().join("recordings"), slow: None },
            segment: Duration::from_secs(3),
            sync: Duration::from_secs(4),
            edge: None,
        };
        std::fs::create_dir_all(&settings.data_dir).unwrap();
        let (recorder, footage) = Recorder::open(settings, changes, |_| {}).unwrap();
        let ledger = Ledger::keep(&folder.path().join("data"), footage.clone(), policy.subscribe());
        Self { recorder, ledger, footage, _policy: policy, _folder: folder }
    }

    /// The files of a camera, oldest first.
    pub(crate) fn files(&self, camera: &str) -> Vec<PathBuf> {
        let end = UtcMillis::from_millis(i64::MAX / 2);
        let segments = self.footage.segments(&camera.parse().unwrap(), UtcMillis::from_millis(0), end);
        assert!(segments.iter().all(|segment| segment.closed), "{camera}");
        segments.into_iter().map(|segment| segment.path).collect()
    }
}

/// Checks that the files hold the clip from its first picture on, over and over, byte for byte, without one picture
/// missing or twice; says how many pictures they hold.
pub(crate) fn pictures_in(files: &[PathBuf], clip: &Arc<Clip>) -> usize {
    let count: usize = files.iter().map(|file| probe::pictures_in(file)).sum();
    let found: Vec<u8> = files.iter().flat_map(|file| slices(&byte_stream(file), clip.spec.codec)).collect();
    let sent: Vec<u8> = clip.slices().into_iter().cycle().take(count).flatten().collect();
    assert!(found == sent, "{count} pictures in {files:?} are others than were sent");
    count
}

fn byte_stream(file: &Path) -> Vec<u8> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(file);
    let done = ffmpeg.args(["-c:v", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "pipe:1"]).output().unwrap();
    assert!(done.status.success(), "{file:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}
