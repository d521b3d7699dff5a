//! Makes the file of a clip.

use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::clip::cut::{Cut, Lack, Why, cut};
use aivms_appliance_core::clip::{ClipCause, ClipJob};
use aivms_appliance_core::uploads::Worth;
use aivms_contract::clip::{Clip, Missing};
use aivms_contract::footage::GapCause;
use aivms_contract::id::CameraId;
use aivms_contract::media::MediaKind;
use aivms_contract::time::UtcMillis;
use aivms_footage::chain::Treatment;
use aivms_footage::clip::ClipError;
use aivms_footage::{ClipPlan, ClipPlanner};

use super::masked;
use super::span::Span;
use super::written::{HashedFile, Written};
use crate::chain::{Chain, ClipOrigin};
use crate::masks::{Exportable, Gate, Leave, MaskError, Pass};
use crate::recorder::Footage;
use crate::uploads::{Outgoing, OutgoingError, OutgoingJob};

/// Knows why there is no footage of a span.
pub trait Causes: Send + Sync + 'static {
    /// The causes of a span without footage, in order and without gaps, together as long as the span.
    fn causes(&self, camera: &CameraId, from: UtcMillis, to: UtcMillis) -> Vec<Missing>;
}

/// Says why there is no clip.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// Nothing was recorded then.
    #[error("camera {camera}: no footage from {start} to {end}; {nearest}")]
    NoFootage {
        /// The camera.
        camera: CameraId,
        /// First moment wanted.
        start: UtcMillis,
        /// End of what was wanted.
        end: UtcMillis,
        /// Where there is some.
        nearest: Nearest,
    },
    /// It may not leave as it is and can't be masked.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// It was made with other masks than the camera has now; it is to be made again.
    #[error("the privacy masks have changed while the clip was cut")]
    MasksChanged,
    /// The footage does not make a clip.
    #[error(transparent)]
    Clip(#[from] ClipError),
    /// Reading footage or writing the clip fails.
    #[error("the clip can't be written: {0}")]
    Disk(#[from] io::Error),
    /// The queue to the cloud does not take it.
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
}

/// The footage nearest to a span without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nearest {
    /// End of the last one before.
    pub before: Option<UtcMillis>,
    /// Beginning of the first one after.
    pub after: Option<UtcMillis>,
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.before, self.after) {
            (None, None) => f.write_str("there is none of this camera at all"),
            (Some(before), None) => write!(f, "the nearest ends at {before}"),
            (None, Some(after)) => write!(f, "the nearest begins at {after}"),
            (Some(before), Some(after)) => write!(f, "the nearest ends at {before} and begins again at {after}"),
        }
    }
}

/// What makes clips.
#[derive(Clone)]
pub struct Cutter {
    /// What was recorded.
    pub footage: Footage,
    /// What may leave.
    pub gate: Gate,
    /// Where clips go.
    pub outgoing: Outgoing,
    /// Why something was not recorded.
    pub causes: Arc<dyn Causes>,
    /// What signs clips.
    pub chain: Chain,
}

/// A clip that lies ready as a file.
pub(crate) struct Draft {
    pub(crate) clip: Clip,
    worth: Worth,
    file: Exportable<Written>,
}

impl Cutter {
    /// Makes the file of a clip beside the queue to the cloud. Blocks, for as long as masking takes.
    pub(crate) fn cut(&self, job: &ClipJob) -> Result<Draft, CutError> {
        let pass = self.gate.pass(&job.camera_id)?;
        let span = Span::open(&self.footage, &job.camera_id, job.start, job.end)?;
        let about = match job.cause {
            ClipCause::Event { at, .. } => Some(at),
            ClipCause::Command { .. } => None,
        };
        let Some(cut) = cut(span.pieces(), job.start, job.end, about) else { return Err(self.no_footage(job)) };
        let plan = plan(&span, &cut, job)?;
        let path = self.outgoing.draft_path(job.id.as_str());
        let (file, codecs) = match &pass {
            Pass::Open(unmasked) => (unmasked.let_through(write(&span, &cut, &plan, &path)?), plan.codecs()),
            Pass::Masked(masks) => masked::write(&span, &cut, (job, &plan), masks, &path)?,
        };
        let origin = origin(&span, &cut, &plan, job, pass.is_masked());
        let file = file.into_form(|file| file.appended(|path| self.seal(path, &origin))?.finish()).transpose()?;
        Ok(Draft { clip: self.clip(job, &cut, &plan, about, &file, codecs), worth: worth(job), file })
    }

    /// Puts a file into the queue to the cloud, durably. Blocks. A file that is there already under this id stays.
    pub(crate) fn hand_over(&self, draft: Draft) -> Result<Option<Clip>, CutError> {
        let Draft { clip, worth, file } = draft;
        let hidden = file.hidden().clone();
        let written = file.into_inner();
        if self.gate.leave(&clip.camera_id, &hidden) != Leave::Now {
            let _ = std::fs::remove_file(&written.path);
            return Err(CutError::MasksChanged);
        }
        let job = OutgoingJob {
            kind: MediaKind::Clip,
            id: clip.clip_id.clone().into(),
            camera: clip.camera_id.clone(),
            worth,
            sha256: written.sha256,
            bytes: written.bytes,
            captured_at: clip.start,
            event_id: clip.event_id,
            hidden,
        };
        let put = self.outgoing.put(job, &written.path);
        if put.is_err() {
            let _ = std::fs::remove_file(&written.path);
        }
        match put {
            Ok(()) => Ok(Some(clip)),
            // The work was cut off after this last time, and its file differs from the one now.
            Err(OutgoingError::Taken { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends the manifest by which the clip can be verified. Without it a clip is still worth having.
    fn seal(&self, path: &Path, origin: &ClipOrigin) {
        if let Err(error) = self.chain.seal_clip(path, origin) {
            tracing::error!(%error, "a clip is not signed");
        }
    }

    fn clip(
        &self,
        job: &ClipJob,
        cut: &Cut,
        plan: &ClipPlan,
        about: Option<UtcMillis>,
        file: &Exportable<Written>,
        codecs: String,
    ) -> Clip {
        let missing: Vec<_> = cut.missing.iter().flat_map(|lack| self.missing(&job.camera_id, lack)).collect();
        let (event_id, command_id) = match &job.cause {
            ClipCause::Event { id, .. } => (Some(*id), None),
            ClipCause::Command { id } => (None, Some(id.clone())),
        };
        Clip {
            clip_id: job.id.clone(),
            camera_id: job.camera_id.clone(),
            start: plan.start(),
            duration_ms: millis(plan.duration()),
            size_bytes: file.get().bytes,
            event_id,
            command_id,
            missing_ms: missing.iter().map(|missing| millis(missing.end.since(missing.start))).sum(),
            missing,
            event_offset_ms: about.filter(|at| plan.covers(*at)).map(|at| millis(plan.offset_of(at))),
            codecs: Some(codecs),
            sha256: Some(file.get().sha256.as_str().to_owned()),
            masked: file.masked(),
        }
    }

    fn missing(&self, camera: &CameraId, lack: &Lack) -> Vec<Missing> {
        match lack.why {
            Why::NoFootage => self.causes.causes(camera, lack.start, lack.end),
            Why::OtherParameters => vec![Missing { start: lack.start, end: lack.end, cause: GapCause::Camera }],
        }
    }

    fn no_footage(&self, job: &ClipJob) -> CutError {
        let all = self.footage.summaries(&job.camera_id);
        let before = all.iter().map(|segment| segment.end).filter(|end| *end <= job.start).max();
        let after = all.iter().map(|segment| segment.start).filter(|start| *start >= job.end).min();
        let nearest = Nearest { before, after };
        CutError::NoFootage { camera: job.camera_id.clone(), start: job.start, end: job.end, nearest }
    }
}

fn worth(job: &ClipJob) -> Worth {
    match job.cause {
        ClipCause::Event { .. } => Worth::Event,
        ClipCause::Command { .. } => Worth::Requested,
    }
}

fn plan(span: &Span, cut: &Cut, job: &ClipJob) -> Result<ClipPlan, CutError> {
    let pieces = &span.pieces()[cut.pieces.clone()];
    let tracks = span.tracks(&pieces[0]);
    let mut planner = ClipPlanner::new(tracks.clone(), job.start..job.end);
    let mut segment = None;
    for piece in pieces {
        if segment != Some(piece.segment) {
            planner.segment(span.tracks(piece), piece.wall)?;
            segment = Some(piece.segment);
        }
        let info = span.info(piece);
        planner.fragment(span.head(piece)?, info.offset, info.hash)?;
    }
    Ok(planner.plan()?)
}

/// Copies the media of the pieces behind the clip's tables.
fn write(span: &Span, cut: &Cut, plan: &ClipPlan, path: &Path) -> io::Result<HashedFile> {
    let mut segments: Vec<usize> = span.pieces()[cut.pieces.clone()].iter().map(|piece| piece.segment).collect();
    segments.dedup();
    let (mut file, mut buffer) = (HashedFile::create(path)?, vec![]);
    plan.write(&mut file, |range, out| {
        buffer.resize(range.bytes as usize, 0);
        span.read_into(segments[range.segment], range.offset, &mut buffer)?;
        out.write_all(&buffer)
    })?;
    Ok(file)
}

/// Of which fragments of which segments the clip is made.
fn origin(span: &Span, cut: &Cut, plan: &ClipPlan, job: &ClipJob, is_masked: bool) -> ClipOrigin {
    let pieces = &span.pieces()[cut.pieces.clone()];
    let (mut parts, mut done) = (vec![], 0);
    for run in pieces.chunk_by(|one, next| one.segment == next.segment) {
        let fragments = &plan.fragments[done..done + run.len()];
        let samples = fragments.iter().map(|fragment| (fragment.pictures, fragment.sounds)).collect();
        parts.push(span.part(&run[0], run.len(), if is_masked { vec![] } else { samples }));
        done += run.len();
    }
    let event = match job.cause {
        ClipCause::Event { id, .. } => Some(id),
        ClipCause::Command { .. } => None,
    };
    let end = plan.shown().last().map_or(job.end, |span| span.end);
    let treatment = if is_masked { Treatment::Masked } else { Treatment::Copied };
    ClipOrigin { camera: job.camera_id.clone(), start: plan.start(), end, event, treatment, parts }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
