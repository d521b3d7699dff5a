//! Records what running cameras see, within a bound of bytes.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::detection::FrameDetections;
use aivms_appliance_core::replay::{Header, NewRules, SessionName};
use aivms_appliance_core::rules::CameraRules;
use aivms_appliance_core::tracks::{RestSettings, Session};
use aivms_contract::desired::{Camera, Fps, TimeZoneName};
use aivms_contract::time::MediaClock;
use tokio::sync::mpsc;

use super::files::Files;

/// Records on their way to the disk: some seconds of many cameras. When full, the disk is stuck; frames are then left
/// out of the recording and counted in it, and nothing else feels it.
const NOTES: usize = 2048;
/// Changes of rules and ends of streams that wait for room, of each camera; they are rare, and more are lost.
const OWED: usize = 64;
/// Records written at once.
const AT_ONCE: usize = 512;
/// Pause in which records gather before they are written, so that a quiet camera does not cost a write per frame.
const GATHER: Duration = Duration::from_millis(200);

/// Where recordings go and how much they may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderSettings {
    /// Their folder; each camera has one of its own in it.
    pub dir: PathBuf,
    /// Most bytes of all files together. The oldest are deleted for new ones.
    pub max_bytes: u64,
}

/// What a camera's analysis was made with.
#[derive(Debug, Clone, PartialEq)]
pub struct RunInfo {
    /// The camera with its rules. Its address is recorded without credentials.
    pub camera: Camera,
    /// The site's time zone.
    pub time_zone: Option<TimeZoneName>,
    /// The session in track ids.
    pub session: Session,
    /// Frames analysed per second.
    pub fps: f64,
    /// When objects are at rest.
    pub stationary: RestSettings,
    /// Names of the classes.
    pub labels: Vec<String>,
}

/// The way to the recordings of an appliance, for all of its cameras.
#[derive(Debug, Clone)]
pub struct TracksRecorder(mpsc::Sender<Note>);

/// The way to the recording of one camera. Nothing here waits.
#[derive(Debug)]
pub struct CameraTap {
    notes: mpsc::Sender<Note>,
    info: Arc<RunInfo>,
    owed: VecDeque<What>,
    lost: u64,
}

/// Something to record of one camera.
#[derive(Debug)]
pub struct Note {
    /// What its analysis is made with now.
    pub(super) info: Arc<RunInfo>,
    /// Frames left out just before.
    pub(super) lost: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Frame(FrameDetections, MediaClock),
    Rules(Box<NewRules>),
    End,
}

impl TracksRecorder {
    /// Makes the way to recordings; what goes in comes out of the other side, for [`write_tracks`].
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Note>) {
        let (notes, written) = mpsc::channel(NOTES);
        (Self(notes), written)
    }

    /// The way to the recording of one run of a camera.
    #[must_use]
    pub fn tap(&self, mut info: RunInfo) -> CameraTap {
        info.camera = without_credentials(info.camera);
        CameraTap { notes: self.0.clone(), info: Arc::new(info), owed: VecDeque::new(), lost: 0 }
    }
}

impl CameraTap {
    /// Records what was seen in a frame.
    pub fn frame(&mut self, frame: &FrameDetections, clock: MediaClock) {
        if !self.pay() || !self.send(What::Frame(frame.clone(), clock)) {
            self.lost += 1;
        }
    }

    /// Records that the rules were changed.
    pub fn rules(&mut self, rules: &CameraRules) {
        let mut info = RunInfo::clone(&self.info);
        let camera = &mut info.camera;
        // They come out of such lists, so they go into them again.
        let lists = (rules.zones.clone().try_into(), rules.lines.clone().try_into());
        let (Ok(zones), Ok(lines)) = lists else { return };
        (camera.zones, camera.lines) = (zones, lines);
        (camera.masks, camera.filters) = (rules.masks.clone(), rules.filters.clone());
        info.time_zone = TimeZoneName::try_from(rules.time_zone.name().to_owned()).ok();
        let new = NewRules { rules: info.camera.clone(), time_zone: info.time_zone.clone() };
        self.info = Arc::new(info);
        self.owe(What::Rules(Box::new(new)));
    }

    /// Records that the stream has ended.
    pub fn end(&mut self) {
        self.owe(What::End);
    }

    fn owe(&mut self, what: What) {
        if self.owed.len() < OWED {
            self.owed.push_back(what);
        }
        self.pay();
    }

    /// Sends what had no room before; whether nothing is owed any more.
    fn pay(&mut self) -> bool {
        while let Some(what) = self.owed.pop_front() {
            let Ok(room) = self.notes.try_reserve() else {
                self.owed.push_front(what);
                return false;
            };
            room.send(Note { info: Arc::clone(&self.info), lost: std::mem::take(&mut self.lost), what });
        }
        true
    }

    fn send(&mut self, what: What) -> bool {
        let Ok(room) = self.notes.try_reserve() else { return false };
        room.send(Note { info: Arc::clone(&self.info), lost: std::mem::take(&mut self.lost), what });
        true
    }
}

impl RunInfo {
    /// The header of a part of this run's recording.
    pub(super) fn header(&self, part: u32, clock: MediaClock) -> Header {
        Header {
            tracks: aivms_appliance_core::replay::Version,
            part,
            session: SessionName(self.session.clone()),
            camera: self.camera.clone(),
            time_zone: self.time_zone.clone(),
            fps: Fps::try_from(self.fps).unwrap_or_default(),
            stationary: self.stationary,
            clock_zero: clock.zero_at,
            labels: self.labels.clone(),
        }
    }
}

/// Writes records until all cameras have ended and everything is written.
pub async fn write_tracks(mut notes: mpsc::Receiver<Note>, settings: RecorderSettings) {
    let mut files = Files::open(settings);
    let mut batch = Vec::with_capacity(AT_ONCE);
    while notes.recv_many(&mut batch, AT_ONCE).await > 0 {
        let ready = std::mem::take(&mut batch);
        let writing = tokio::task::spawn_blocking(move || {
            files.write(ready);
            files
        });
        match writing.await {
            Ok(written) => files = written,
            Err(error) => return tracing::error!(%error, "the recording of tracks panicked; none is written any more"),
        }
        if !notes.is_closed() {
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// A camera's address may hold a password, which has no place in a file that people hand around.
fn without_credentials(camera: Camera) -> Camera {
    let address = crate::pipeline::source::address::Address::of(&camera);
    let url = address.map(|address| address.to_string()).unwrap_or_default();
    Camera { url, username: None, password: None, ..camera }
}
