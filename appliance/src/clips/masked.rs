//! The file of a clip with a privacy mask burned in: decoded, blackened, encoded again; sound is passed through.
//!
//! It is gathered into fragments in a file beside the clip's first, since the tables in front of a clip are known when
//! all pictures are.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::clip::ClipJob;
use aivms_appliance_core::clip::cut::{Cut, Piece};
use aivms_contract::time::{MediaTime, UtcMillis};
use aivms_footage::access_unit::UnitError;
use aivms_footage::gather::SECOND;
use aivms_footage::{
    AccessUnits, AudioTrack, ByteStream, ClipPlan, ClipPlanner, Fragment, FragmentHead, Gather, Shot, Timed, Tracks,
    VideoCodec, VideoTrack, write_fragment,
};
use gstreamer as gst;

use super::cutter::CutError;
use super::span::Span;
use super::written::HashedFile;
use crate::masks::{Encoding, Exportable, MaskError, Masker, Masks};
use crate::pipeline::access_unit::{AccessUnit, StreamFormat};

/// Ticks of video per second.
const TICKS: u64 = aivms_footage::track::VIDEO_TIMESCALE as u64;
/// Time of the clip's first decoded picture, so that no picture lies before zero.
const BEGIN: u64 = TICKS;
/// Tolerance in ticks, of a millisecond: wall times are whole ones.
const MILLISECOND: i64 = 90;
/// Pictures from one key picture to the next: about two seconds.
const KEY_EVERY: u32 = 50;

/// Writes the clip to `path`; returns it with its codecs.
pub(super) fn write(
    span: &Span,
    cut: &Cut,
    (job, plan): (&ClipJob, &ClipPlan),
    masks: &Masks,
    path: &Path,
) -> Result<(Exportable<HashedFile>, String), CutError> {
    let pieces = &span.pieces()[cut.pieces.clone()];
    let tracks = span.tracks(&pieces[0]);
    let mut draft = Draft::new(path, tracks.audio.clone())?;
    let mut timeline = Timeline { ticks: BEGIN };
    let shown = shown(span, pieces, plan.start(), job.end)?;
    let mut gathering = Gathering::new(&shown, plan.start(), tracks.audio.as_ref());
    let mut masker = Masker::start(masks, &format(&tracks.video), encoding(span, pieces))?
        .showing(time(shown.start)..time(shown.end));
    let stream = ByteStream::of(&tracks.video);
    let source = Arc::new(format(&tracks.video));
    let mut passed = None;
    for piece in pieces {
        let fragment = span.fragment(piece)?;
        gathering.sound(&fragment, timeline.ticks, tracks.audio.as_ref());
        for sample in &fragment.video {
            let unit = unit(&source, timeline.showing(sample), sample.key, stream.unit(&sample.data, sample.key));
            for masked in masker.push(&unit)? {
                draft.add(gathering.picture(masked.get())?)?;
                passed = Some(masked);
            }
            timeline.ticks += u64::from(sample.duration);
        }
    }
    for masked in masker.finish()? {
        draft.add(gathering.picture(masked.get())?)?;
        passed = Some(masked);
    }
    draft.add(gathering.end())?;
    let video = gathering.units.track().cloned();
    // Only what came out of the masker is in the file, and only the masker's word makes the file exportable.
    let (Some(passed), Some(video)) = (passed, video) else { return Err(MaskError::Hangs("masking").into()) };
    let codecs = Tracks { video: video.clone(), audio: tracks.audio.clone() }.codecs();
    let written = passed.into_form(|_| draft.write(video, path)).transpose()?;
    Ok((written, codecs))
}

/// Where the source's pictures lie on the timeline of the clip.
struct Timeline {
    /// When the next picture is decoded.
    ticks: u64,
}

impl Timeline {
    fn showing(&self, sample: &aivms_footage::Sample) -> MediaTime {
        time(i64::try_from(self.ticks).unwrap_or(i64::MAX).saturating_add(sample.composition.into()))
    }
}

/// From when to when pictures are shown, in ticks of the clip's timeline.
fn shown(span: &Span, pieces: &[Piece], start: UtcMillis, end: UtcMillis) -> io::Result<Range<i64>> {
    let mut begin = i64::try_from(BEGIN).unwrap_or(0);
    let mut shown = begin..begin;
    for piece in pieces {
        let head = span.head(piece)?;
        let mut dts = begin;
        let pts = head.video.iter().map(|picture| {
            let pts = dts + i64::from(picture.composition);
            dts += i64::from(picture.duration);
            pts
        });
        let first = pts.min().unwrap_or(begin);
        let at = |wall: UtcMillis| first + i64::try_from(wall.since(piece.wall).as_millis()).unwrap_or(0) * MILLISECOND;
        if piece.wall <= start || piece == &pieces[0] {
            shown.start = at(start);
        }
        // With B-pictures a fragment's last picture may be shown after the fragment's length.
        shown.end = at(end);
        begin += i64::from(head.duration());
    }
    Ok(shown.start - MILLISECOND..shown.end - MILLISECOND)
}

/// Joins masked pictures and the source's sound into fragments.
struct Gathering {
    units: AccessUnits,
    gather: Gather,
    /// Wall time of the first picture, and its tick.
    start: (UtcMillis, i64),
    shown: Range<i64>,
}

impl Gathering {
    fn new(shown: &Range<i64>, start: UtcMillis, audio: Option<&AudioTrack>) -> Self {
        let gather = Gather::new(SECOND, audio.map(|audio| audio.sample_rate));
        Self { units: AccessUnits::new(VideoCodec::H264), gather, start: (start, shown.start), shown: shown.clone() }
    }

    fn picture(&mut self, unit: &AccessUnit) -> Result<Option<Fragment>, MaskError> {
        let failed = |cause: String| MaskError::Failed { what: "reading masked video", cause };
        let bytes = unit.buffer.map_readable().map_err(|error| failed(error.to_string()))?;
        let picture = self.units.take(&bytes).map_err(|error: UnitError| failed(error.to_string()))?;
        let pts = aivms_footage::track::ticks(unit.at, aivms_footage::track::VIDEO_TIMESCALE);
        let (wall, first) = self.start;
        let passed = u64::try_from(pts - first).unwrap_or(0) * 1000 / TICKS;
        let shot = Shot { data: picture.data, key: picture.key, wall: wall + Duration::from_millis(passed) };
        // What is encoded here has no picture that overtakes another.
        Ok(self.gather.picture(Timed { dts: pts, pts, item: shot }))
    }

    fn sound(&mut self, fragment: &Fragment, begin: u64, audio: Option<&AudioTrack>) {
        let (Some(audio), Some(first)) = (audio, fragment.video.first()) else { return };
        let rate = i128::from(audio.sample_rate.max(1));
        for sample in &fragment.audio {
            let after = i128::from(sample.dts) * i128::from(TICKS) / rate - i128::from(first.dts);
            let at = i64::try_from(i128::from(begin) + after).unwrap_or(0);
            if self.shown.contains(&at) {
                self.gather.sound(time(at), sample.data.clone());
            }
        }
    }

    fn end(&mut self) -> Option<Fragment> {
        self.gather.cut(None)
    }
}

/// The fragments on their way into the clip, in a file that is deleted with this.
struct Draft {
    path: PathBuf,
    file: BufWriter<File>,
    audio: Option<AudioTrack>,
    bytes: u64,
    fragments: Vec<(FragmentHead, u64)>,
}

impl Draft {
    fn new(clip: &Path, audio: Option<AudioTrack>) -> io::Result<Self> {
        let path = crate::state::durable::beside(clip, "pictures");
        if let Some(dir) = path.parent() {
            crate::state::durable::make_dir(dir)?;
        }
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(Self { path, file: BufWriter::new(file), audio, bytes: 0, fragments: vec![] })
    }

    fn add(&mut self, fragment: Option<Fragment>) -> Result<(), CutError> {
        let Some(fragment) = fragment else { return Ok(()) };
        let damaged = |cause: String| io::Error::new(io::ErrorKind::InvalidData, cause);
        let sequence = u32::try_from(self.fragments.len() + 1).unwrap_or(u32::MAX);
        let mut bytes = vec![];
        write_fragment(&fragment, sequence, self.bytes, &mut bytes).map_err(|error| damaged(error.to_string()))?;
        let head = FragmentHead::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        self.file.write_all(&bytes)?;
        self.fragments.push((head, self.bytes));
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Writes the clip of all that was added.
    fn write(mut self, video: VideoTrack, path: &Path) -> Result<HashedFile, CutError> {
        self.file.flush()?;
        let tracks = Tracks { video, audio: self.audio.clone() };
        let (Some(first), Some(last)) = (self.fragments.first(), self.fragments.last()) else {
            return Err(aivms_footage::clip::ClipError::Empty.into());
        };
        let (from, until) = (first.0.wall, last.0.wall + Duration::from_secs(3600));
        let mut planner = ClipPlanner::new(tracks.clone(), from..until);
        planner.segment(&tracks, from)?;
        for (head, offset) in &self.fragments {
            planner.fragment(head.clone(), *offset, None)?;
        }
        let plan = planner.plan()?;
        let (mut out, mut buffer) = (HashedFile::create(path)?, vec![]);
        let media = self.file.get_ref();
        plan.write(&mut out, |range, out| {
            buffer.resize(range.bytes as usize, 0);
            media.read_exact_at(&mut buffer, range.offset)?;
            out.write_all(&buffer)
        })?;
        Ok(out)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What a decoder is told of the byte stream of a track.
pub(crate) fn format(track: &VideoTrack) -> StreamFormat {
    let media_type = match track.codec {
        VideoCodec::H264 => "video/x-h264",
        VideoCodec::H265 => "video/x-h265",
    };
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let caps = gst::Caps::builder(media_type)
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .field("width", number(track.frame.width))
        .field("height", number(track.frame.height));
    StreamFormat::new(caps.build())
}

/// An access unit of the byte stream.
pub(crate) fn unit(format: &Arc<StreamFormat>, at: MediaTime, key: bool, bytes: Vec<u8>) -> AccessUnit {
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    // A buffer that was just made has no other owner.
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gst::ClockTime::from_nseconds(at.as_nanos()));
        if !key {
            buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
    }
    AccessUnit { format: Arc::clone(format), at, key, buffer }
}

fn encoding(span: &Span, pieces: &[Piece]) -> Encoding {
    let bytes = pieces.iter().map(|piece| u64::from(span.info(piece).bytes)).sum();
    let ticks: u64 = pieces.iter().map(|piece| u64::from(piece.ticks)).sum();
    let is_h265 = span.tracks(&pieces[0]).video.codec == VideoCodec::H265;
    Encoding::like(bytes, ticks * 1000 / TICKS, is_h265, KEY_EVERY)
}

/// Ticks as time.
fn time(ticks: i64) -> MediaTime {
    let nanos = u128::from(ticks.max(0).unsigned_abs()) * 1_000_000_000 / u128::from(TICKS);
    // Upwards, so that reading rounds down to the same tick.
    MediaTime::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
