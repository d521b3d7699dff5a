//! Takes a picture out of recorded footage.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::clip::cut::{Piece, cut};
use aivms_appliance_core::uploads::Worth;
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::id::{CameraId, CommandId, EventId, SnapshotId};
use aivms_contract::media::MediaKind;
use aivms_contract::snapshot::{Pictured, Snapshot};
use aivms_contract::time::{MediaTime, UtcMillis};
use aivms_footage::ByteStream;

use super::boxes::RecentBoxes;
use crate::clips::{HashedFile, Span, Written, format, unit};
use crate::masks::{Exportable, Gate, Leave, MaskError, Picture, PictureDecoder};
use crate::recorder::Footage;
use crate::uploads::{Outgoing, OutgoingError, OutgoingJob};

/// Most that a picture may be away from the time wanted.
const NEAR: Duration = Duration::from_secs(2);
/// Ticks of video per second.
const TICKS: i64 = aivms_footage::track::VIDEO_TIMESCALE as i64;
/// Time of the first decoded picture, so that none lies before zero.
const BEGIN: i64 = TICKS;

/// A picture that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) id: SnapshotId,
    pub(super) camera: CameraId,
    /// When; for now, the newest there is.
    pub(super) at: Option<UtcMillis>,
    /// What it is to show, and the size that its box refers to.
    pub(super) object: Option<(Pictured, FrameSize)>,
    /// Whether boxes are drawn: the object's, else those of all that was seen then.
    pub(super) boxes: bool,
    pub(super) event: Option<EventId>,
    pub(super) command: Option<CommandId>,
}

/// Says why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Nothing was recorded then.
    #[error("camera {camera}: no footage of {at}; {newest}")]
    NoFootage {
        /// The camera.
        camera: CameraId,
        /// The time wanted.
        at: UtcMillis,
        /// What there is, in words.
        newest: String,
    },
    /// It can't be decoded, or may not leave as it is and can't be masked.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// It was made with other masks than the camera has now; it is to be made again.
    #[error("the privacy masks have changed while the snapshot was taken")]
    MasksChanged,
    /// Nothing is known of what was seen then.
    #[error("boxes: what was seen at {0} is not known any more; ask for the picture without them")]
    NoBoxes(UtcMillis),
    /// Reading footage or writing the picture fails.
    #[error("the snapshot can't be written: {0}")]
    Disk(#[from] io::Error),
    /// The queue to the cloud does not take it.
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
}

/// A picture that lies ready as a file.
pub(super) struct Draft {
    pub(super) snapshot: Snapshot,
    file: Exportable<Written>,
}

/// What takes pictures.
#[derive(Clone)]
pub struct Taker {
    /// What was recorded.
    pub footage: Footage,
    /// What may leave.
    pub gate: Gate,
    /// Where pictures go.
    pub outgoing: Outgoing,
    /// Where objects were.
    pub boxes: RecentBoxes,
}

impl Taker {
    /// Makes the file of a picture beside the queue to the cloud. Blocks.
    pub(super) fn take(&self, wish: Wish, now: UtcMillis) -> Result<Draft, TakeError> {
        let pass = self.gate.pass(&wish.camera)?;
        let at = match wish.at {
            Some(at) => at,
            None => self.newest(&wish.camera, now)?,
        };
        let (mut picture, shown_at) = self.picture(&wish.camera, at)?;
        let object = wish.object.map(|(object, frame)| {
            let bbox = scaled(object.bbox, frame, picture.frame());
            Pictured { bbox, ..object }
        });
        if wish.boxes {
            let boxes = match &object {
                Some(object) => vec![object.bbox],
                None => self.boxes_at(&wish.camera, shown_at, picture.frame())?,
            };
            boxes.into_iter().for_each(|bbox| picture.draw(bbox));
        }
        let frame = picture.frame();
        // After the boxes: what is hidden is black, whatever was drawn there.
        let jpeg = pass.picture(picture).into_form(Picture::to_jpeg).transpose()?;
        let path = self.outgoing.draft_path(wish.id.as_str());
        let file = jpeg.into_form(|jpeg| written(&path, &jpeg)).transpose()?;
        let snapshot = Snapshot {
            snapshot_id: wish.id,
            camera_id: wish.camera,
            timestamp: shown_at,
            frame,
            size_bytes: file.get().bytes,
            sha256: file.get().sha256.as_str().to_owned(),
            object,
            event_id: wish.event,
            command_id: wish.command,
            boxes: wish.boxes,
            masked: file.masked(),
        };
        Ok(Draft { snapshot, file })
    }

    /// Puts a picture into the queue to the cloud, durably. Blocks.
    pub(super) fn hand_over(&self, Draft { snapshot, file }: Draft) -> Result<Snapshot, TakeError> {
        let hidden = file.hidden().clone();
        let written = file.into_inner();
        let job = OutgoingJob {
            kind: MediaKind::Snapshot,
            id: snapshot.snapshot_id.clone().into(),
            camera: snapshot.camera_id.clone(),
            worth: if snapshot.command_id.is_some() { Worth::Requested } else { Worth::Event },
            sha256: written.sha256,
            bytes: written.bytes,
            captured_at: snapshot.timestamp,
            event_id: snapshot.event_id,
            hidden,
        };
        let put = match self.gate.leave(&job.camera, &job.hidden) {
            Leave::Now => self.outgoing.put(job, &written.path).map_err(TakeError::from),
            Leave::Held | Leave::Never => Err(TakeError::MasksChanged),
        };
        if put.is_err() {
            let _ = std::fs::remove_file(&written.path);
        }
        put.map(|()| snapshot)
    }

    /// The time of the newest picture, if it is new enough to be called the present one.
    fn newest(&self, camera: &CameraId, now: UtcMillis) -> Result<UtcMillis, TakeError> {
        /// Age at which a picture does not show the present.
        const PRESENT: Duration = Duration::from_secs(10);
        match self.footage.newest(camera) {
            // A little behind it: its last picture is the one on the screen.
            Some(newest) if now.since(newest) <= PRESENT => Ok(newest + Duration::from_secs(1)),
            _ => Err(self.no_footage(camera, now)),
        }
    }

    /// The picture on the screen at `at`, or the nearest one, and its time.
    fn picture(&self, camera: &CameraId, at: UtcMillis) -> Result<(Picture, UtcMillis), TakeError> {
        let missing = || self.no_footage(camera, at);
        let span = Span::open(&self.footage, camera, at - NEAR, at + NEAR)?;
        // The last that has begun by then: with B-pictures, one before it may end later and still not hold the picture.
        let begun = span.pieces().iter().rfind(|piece| piece.wall <= at && at.since(piece.end()) <= NEAR);
        let piece = begun.or_else(|| span.pieces().iter().find(|piece| piece.wall.since(at) <= NEAR));
        let piece = *piece.ok_or_else(missing)?;
        let wanted = at.max(piece.wall);
        let moment = piece.wall..piece.wall + Duration::from_millis(1);
        let needed = cut(span.pieces(), moment.start, moment.end, Some(piece.wall)).ok_or_else(missing)?;
        let (picture, late) = decode(&span, &span.pieces()[needed.pieces], wanted)?.ok_or_else(missing)?;
        Ok((picture, wanted - late))
    }

    fn boxes_at(&self, camera: &CameraId, at: UtcMillis, frame: FrameSize) -> Result<Vec<PixelBox>, TakeError> {
        let seen = self.boxes.at(camera, at).ok_or(TakeError::NoBoxes(at))?;
        Ok(seen.boxes.into_iter().map(|bbox| scaled(bbox, seen.frame, frame)).collect())
    }

    fn no_footage(&self, camera: &CameraId, at: UtcMillis) -> TakeError {
        let newest = match (self.footage.oldest(camera), self.footage.newest(camera)) {
            (Some(oldest), Some(newest)) => format!("there is some from {oldest} to {newest}, perhaps with gaps"),
            _ => "there is none of this camera at all; is it recorded?".to_owned(),
        };
        TakeError::NoFootage { camera: camera.clone(), at, newest }
    }
}

fn written(path: &Path, bytes: &[u8]) -> io::Result<Written> {
    let mut file = HashedFile::create(path)?;
    file.write_all(bytes)?;
    file.finish()
}

/// Decodes pieces that begin with a key picture and gives the last picture shown by `wanted`, and how long before that
/// it appeared.
fn decode(span: &Span, pieces: &[Piece], wanted: UtcMillis) -> Result<Option<(Picture, Duration)>, TakeError> {
    let Some(first) = pieces.first() else { return Ok(None) };
    let track = &span.tracks(first).video;
    let (stream, source) = (ByteStream::of(track), Arc::new(format(track)));
    let mut decoder = PictureDecoder::start(&source)?;
    let (mut begin, mut target, mut best) = (BEGIN, BEGIN, None);
    let mut candidates = vec![];
    for piece in pieces {
        let fragment = span.fragment(piece)?;
        let base = fragment.video.first().map_or(0, |sample| i64::try_from(sample.dts).unwrap_or(0));
        let shown = fragment.video.iter().map(|sample| sample.pts() - base + begin).min().unwrap_or(begin);
        target = shown + i64::try_from(wanted.since(piece.wall).as_millis()).unwrap_or(0) * TICKS / 1000;
        for sample in &fragment.video {
            let at = time(sample.pts() - base + begin);
            let bytes = stream.unit(&sample.data, sample.key);
            candidates.extend(decoder.push(&unit(&source, at, sample.key, bytes))?);
            keep_last(&mut candidates, &mut best, target);
        }
        begin += i64::from(piece.ticks);
    }
    candidates.extend(decoder.drain()?);
    keep_last(&mut candidates, &mut best, target);
    Ok(best.map(|picture: Picture| {
        let late = time(target).since(picture.at());
        (picture, late)
    }))
}

/// Keeps of the decoded pictures the last that is shown by `target`; the first of all where there is none.
fn keep_last(candidates: &mut Vec<Picture>, best: &mut Option<Picture>, target: i64) {
    // Half a millisecond of tolerance: wall times are whole ones.
    let until = time(target + TICKS / 2000);
    for picture in candidates.drain(..) {
        if picture.at() <= until || best.is_none() {
            *best = Some(picture);
        }
    }
}

fn time(ticks: i64) -> MediaTime {
    let nanos = u128::from(ticks.max(0).unsigned_abs()) * 1_000_000_000 / u128::from(TICKS.unsigned_abs());
    MediaTime::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A box of one frame in another one of another size.
#[expect(clippy::cast_precision_loss, reason = "frames are far smaller than 2^24 pixels")]
fn scaled(bbox: PixelBox, from: FrameSize, to: FrameSize) -> PixelBox {
    let across = to.width as f32 / from.width.max(1) as f32;
    let down = to.height as f32 / from.height.max(1) as f32;
    let [x1, y1, x2, y2] = bbox.corners();
    PixelBox::new(x1 * across, y1 * down, x2 * across, y2 * down).unwrap_or(bbox)
}
