//! What a camera saw, kept as records, and judged again from them: the same records give the same messages, byte for
//! byte, under the same rules or under others.
//!
//! Every input of a [`CameraAnalysis`] is a record: what it was made with ([`Header`]), the frames, and whatever
//! happened between two of them. `docs/ref/replay.md` describes the form in which they are written.

use aivms_contract::desired::{Camera, Cameras, Fps, TimeZoneName};
use aivms_contract::time::{MediaClock, UtcMillis};
use serde::{Deserialize, Serialize};

use crate::analysis::{AnalysisSettings, CameraAnalysis, Findings};
use crate::detection::FrameDetections;
use crate::rules::CameraRules;
use crate::schedule::{SiteZone, UnknownZone};
use crate::tracks::{RestSettings, Session, SessionError};

/// The version of the records that this program writes and reads.
pub const VERSION: u32 = 1;

/// What one camera's analysis was made with; the first record of each part of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`VERSION`].
    pub tracks: Version,
    /// Which part of the session this is, from 0. A part continues the one before, with the objects in the picture.
    pub part: u32,
    /// The session in the ids of the tracks.
    pub session: SessionName,
    /// The camera with its rules, without its address's credentials.
    pub camera: Camera,
    /// The site's time zone, in which schedules are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
    /// Frames analysed per second.
    pub fps: Fps,
    /// When objects are at rest.
    #[serde(default)]
    pub stationary: RestSettings,
    /// Wall time of the media time 0 of the frames that follow.
    pub clock_zero: UtcMillis,
    /// Names of the classes, in order of their ids.
    pub labels: Vec<String>,
}

/// The number of a known version of the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Version;

/// A [`Session`] as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionName(pub Session);

/// Other rules from here on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRules {
    /// The camera with its new rules.
    pub rules: Camera,
    /// The site's time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
}

/// Another clock from here on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewClock {
    /// Wall time of the media time 0.
    pub clock_zero: UtcMillis,
}

/// One input of an analysis.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A recording begins, or its next part does.
    Header(Box<Header>),
    /// What was seen in a frame.
    Frame(FrameDetections),
    /// The wall clock was set.
    Clock(NewClock),
    /// The rules were changed.
    Rules(Box<NewRules>),
    /// The stream ended; what follows may lie on another timeline.
    End,
    /// That many frames were not recorded.
    Lost(u64),
}

/// Says why a record can't be taken; each text begins with the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Something comes before the first header.
    #[error("tracks: a header must come first")]
    NoHeader,
    /// A time zone that this program does not know.
    #[error("time_zone: {0}")]
    TimeZone(#[from] UnknownZone),
    /// The other rules have no such camera.
    #[error("camera.id: the cameras to judge by have none with the id {0:?}")]
    NoCamera(String),
}

/// Whose rules are judged by.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Judge {
    /// Those of the recording.
    #[default]
    Recorded,
    /// Those of the camera with the same id among these.
    SameCamera(Cameras),
    /// Those of this camera.
    Camera(Box<Camera>),
}

/// Judges recordings again.
#[derive(Debug, Default)]
pub struct Replay {
    judge: Judge,
    run: Option<Run>,
}

#[derive(Debug)]
struct Run {
    session: Session,
    camera: Camera,
    part: u32,
    clock: MediaClock,
    analysis: CameraAnalysis,
}

impl Replay {
    /// Starts with no recording.
    #[must_use]
    pub fn new(judge: Judge) -> Self {
        Self { judge, run: None }
    }

    /// Takes the next record.
    ///
    /// A header that does not continue the recording before it ends that one first.
    ///
    /// # Errors
    /// Says which field is wrong; the record is left out then.
    pub fn take(&mut self, record: Record) -> Result<Findings, ReplayError> {
        match record {
            Record::Header(header) => return self.begin(&header),
            Record::Rules(new) if self.judge == Judge::Recorded => {
                let rules = rules_of(&new.rules, new.time_zone.as_ref())?;
                let run = self.run.as_mut().ok_or(ReplayError::NoHeader)?;
                return Ok(run.analysis.replace_rules(&rules));
            }
            _ => {}
        }
        let run = self.run.as_mut().ok_or(ReplayError::NoHeader)?;
        Ok(match record {
            Record::Frame(frame) => run.analysis.on_frame(&frame, &run.clock),
            Record::End => run.analysis.on_end(),
            Record::Clock(new) => {
                run.clock = MediaClock { zero_at: new.clock_zero };
                Findings::default()
            }
            Record::Header(_) | Record::Rules(_) | Record::Lost(_) => Findings::default(),
        })
    }

    /// Whether a header goes on with the recording that is being judged.
    #[must_use]
    pub fn goes_on_with(&self, header: &Header) -> bool {
        self.run.as_ref().is_some_and(|run| run.continues_with(header))
    }

    /// Takes the end of the records: every track ends where it was last seen.
    pub fn finish(&mut self) -> Findings {
        self.run.take().map(|mut run| run.analysis.on_end()).unwrap_or_default()
    }

    fn begin(&mut self, header: &Header) -> Result<Findings, ReplayError> {
        let SessionName(session) = &header.session;
        let clock = MediaClock { zero_at: header.clock_zero };
        if let Some(run) = &mut self.run
            && run.continues_with(header)
        {
            (run.part, run.clock) = (header.part, clock);
            return Ok(Findings::default());
        }
        let judge = match &self.judge {
            Judge::Recorded => &header.camera,
            Judge::Camera(camera) => camera,
            Judge::SameCamera(cameras) => cameras
                .as_slice()
                .iter()
                .find(|camera| camera.id == header.camera.id)
                .ok_or_else(|| ReplayError::NoCamera(header.camera.id.to_string()))?,
        };
        let rules = rules_of(judge, header.time_zone.as_ref())?;
        let mut settings = AnalysisSettings::for_rate(header.fps.get());
        settings.tracks.rest = header.stationary;
        let (camera, labels) = (header.camera.clone(), header.labels.clone());
        let analysis = CameraAnalysis::new(camera.id.clone(), session, labels, &rules, settings);
        let findings = self.finish();
        self.run = Some(Run { session: session.clone(), camera, part: header.part, clock, analysis });
        Ok(findings)
    }
}

impl Run {
    fn continues_with(&self, header: &Header) -> bool {
        self.session == header.session.0
            && self.camera.id == header.camera.id
            && self.part.checked_add(1) == Some(header.part)
    }
}

fn rules_of(camera: &Camera, time_zone: Option<&TimeZoneName>) -> Result<CameraRules, UnknownZone> {
    Ok(CameraRules::of(camera, &SiteZone::of(time_zone)?))
}

impl TryFrom<u32> for Version {
    type Error = String;
    fn try_from(version: u32) -> Result<Self, String> {
        match version {
            VERSION => Ok(Self),
            other => Err(format!("version {other} is not known, only {VERSION} is")),
        }
    }
}

impl From<Version> for u32 {
    fn from(_: Version) -> Self {
        VERSION
    }
}

impl TryFrom<String> for SessionName {
    type Error = SessionError;
    fn try_from(text: String) -> Result<Self, SessionError> {
        text.parse().map(Self)
    }
}

impl From<SessionName> for String {
    fn from(SessionName(session): SessionName) -> Self {
        session.to_string()
    }
}
