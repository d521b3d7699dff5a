//! From units to fragments of some 120 ms, with the wall time of each.

use std::time::Duration;

use aivms_contract::time::{MediaClock, UtcMillis};
use aivms_footage::track::{Tracks, VIDEO_TIMESCALE, VideoCodec, ticks, ticks_to_millis};
use aivms_footage::{
    AccessUnits, DecodeTimes, Fragment, Gather, Sample, Shot, Timed, init_segment_live, write_fragment,
};

use crate::pipeline::access_unit::AccessUnit;

/// Length aimed at, in ticks: a picture or two may come on top.
const LENGTH: u32 = VIDEO_TIMESCALE / 1000 * 120;

/// Makes one stream's fragments.
pub(super) struct Packager {
    codec: VideoCodec,
    units: AccessUnits,
    times: Option<DecodeTimes<Shot>>,
    gather: Gather,
    tracks: Option<Tracks>,
    zero: Option<UtcMillis>,
    sequence: u32,
    /// Whether units are passed over up to the next key picture.
    needs_key: bool,
}

/// What a unit gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packed {
    /// A stream begins, or goes on with other parameters; the init segment with the wall time of media time zero.
    Init { tracks: Tracks, bytes: Vec<u8>, zero: UtcMillis },
    /// A fragment.
    Fragment(Piece),
}

/// A fragment in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) wall: UtcMillis,
    pub(super) media_ms: u32,
    pub(super) duration_ms: u32,
    pub(super) key: bool,
}

impl Packager {
    pub(super) fn new(codec: VideoCodec) -> Self {
        Self {
            codec,
            units: AccessUnits::new(codec),
            times: None,
            gather: Gather::new(LENGTH, None),
            tracks: None,
            zero: None,
            sequence: 0,
            needs_key: true,
        }
    }

    /// Units were lost: what follows can't be decoded up to the next key picture.
    pub(super) fn lost(&mut self) {
        self.needs_key = true;
    }

    /// Takes the next unit. One that can't be used is passed over; the next key picture brings everything anew.
    pub(super) fn push(&mut self, unit: &AccessUnit, clock: MediaClock) -> Vec<Packed> {
        if self.needs_key && !unit.key {
            return Vec::new();
        }
        let Ok(bytes) = unit.buffer.map_readable() else { return Vec::new() };
        let Ok(picture) = self.units.take(&bytes) else { return Vec::new() };
        self.needs_key = false;
        if picture.changed && self.tracks.is_some() {
            self.begin_anew();
        }
        let Some(track) = self.units.track() else { return Vec::new() };
        let times = self.times.get_or_insert_with(|| DecodeTimes::new(track.reorder()));
        let shot = Shot { data: picture.data, key: picture.key, wall: clock.utc(unit.at) };
        let mut timed = Vec::new();
        times.push(ticks(unit.at, VIDEO_TIMESCALE), picture.refresh, shot, &mut timed);
        timed.into_iter().flat_map(|timed| self.gathered(timed)).collect()
    }

    fn begin_anew(&mut self) {
        (self.times, self.tracks, self.zero, self.sequence) = (None, None, None, 0);
        self.gather = Gather::new(LENGTH, None);
    }

    fn gathered(&mut self, timed: Timed<Shot>) -> Vec<Packed> {
        let Some(fragment) = self.gather.picture(timed) else { return Vec::new() };
        let mut packed = Vec::new();
        let zero = match self.zero {
            Some(zero) => zero,
            None => {
                let Some(video) = self.units.track().cloned() else { return packed };
                let tracks = Tracks { video, audio: None };
                let zero = fragment.wall - Duration::from_millis(first_shown_ms(&fragment));
                let bytes = init_segment_live(&tracks);
                self.tracks = Some(tracks.clone());
                packed.push(Packed::Init { tracks, bytes, zero });
                *self.zero.insert(zero)
            }
        };
        self.sequence += 1;
        packed.extend(piece(&fragment, self.sequence, zero).map(Packed::Fragment));
        packed
    }

    /// How the pictures are encoded.
    pub(super) fn codec(&self) -> VideoCodec {
        self.codec
    }
}

/// A fragment in bytes; `None` for one that can't be written.
pub(super) fn piece(fragment: &Fragment, sequence: u32, zero: UtcMillis) -> Option<Piece> {
    let mut bytes = Vec::new();
    write_fragment(fragment, sequence, 0, &mut bytes)
        .inspect_err(|error| tracing::warn!(%error, "a fragment can't be shown"))
        .ok()?;
    let ticks = fragment.video.iter().map(|sample| u64::from(sample.duration)).sum();
    Some(Piece {
        bytes,
        wall: fragment.wall,
        media_ms: u32::try_from(fragment.wall.since(zero).as_millis()).unwrap_or(u32::MAX),
        duration_ms: u32::try_from(ticks_to_millis(ticks, VIDEO_TIMESCALE)).unwrap_or(u32::MAX),
        key: fragment.video.first().is_some_and(|sample| sample.key),
    })
}

/// Media time of a fragment's first picture shown, in milliseconds.
fn first_shown_ms(fragment: &Fragment) -> u64 {
    let first = fragment.video.iter().map(Sample::pts).min().unwrap_or(0);
    ticks_to_millis(u64::try_from(first).unwrap_or(0), VIDEO_TIMESCALE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::footage::{at, encoded};

    /// Lengths of the fragments of four seconds of video, in milliseconds.
    fn lengths(rate: u32) -> Vec<u32> {
        let (dir, source) = (tempfile::tempdir().unwrap(), format!("testsrc2=size=128x96:rate={rate}:duration=4"));
        let arguments = ["-pix_fmt", "yuv420p", "-c:v", "libx264", "-bf", "2", "-g", "30"];
        let mut packager = Packager::new(VideoCodec::H264);
        let clock = MediaClock { zero_at: at(0) };
        let units = encoded(dir.path(), &source, "h264", &arguments);
        let packed = units.iter().flat_map(|unit| packager.push(unit, clock));
        packed
            .filter_map(|packed| if let Packed::Fragment(piece) = packed { Some(piece.duration_ms) } else { None })
            .collect()
    }

    #[test]
    fn a_live_fragment_is_no_longer_than_200_ms_and_holds_a_picture_however_few_there_are() {
        let (many, few) = (lengths(25), lengths(10));
        assert!(many.len() > 25 && many.iter().all(|length| (40..=140).contains(length)), "{many:?}");
        assert!(few.len() > 30 && few.iter().all(|length| (99..=101).contains(length)), "{few:?}");
    }
}
