//! The tables in front of a clip's media.

use super::Piece;
use super::map::TimeMap;
use crate::boxes::{Put, boxed, full};
use crate::init::{TrackBoxes, movie_header, track};
use crate::track::{AAC_FRAME, AudioTrack, Tracks, VIDEO_TIMESCALE, VideoCodec};

/// Ticks of sound by which it may run ahead of or behind the pictures before it is set right: 100 ms at 48 kHz.
const SOUND_DRIFT: i64 = 4800;

/// Most seconds between a fragment's pictures and its sound; more is damage.
const SOUND_APART_SECS: i128 = 10;

/// Writes all in front of the media, the media box's header included.
pub(crate) fn layout(tracks: &Tracks, pieces: &[Piece], map: &TimeMap) -> Vec<u8> {
    let media: u64 = pieces.iter().map(|piece| u64::from(piece.range.bytes)).sum();
    let sound = tracks.audio.as_ref().and_then(|audio| Sound::new(audio, pieces));
    // Tables have the same size wherever the media begins, so a first pass tells where.
    let wide = media > u64::from(u32::MAX) - (64 << 20);
    let draft = write(tracks, pieces, map, sound.as_ref(), Place { begin: 0, media, wide });
    write(tracks, pieces, map, sound.as_ref(), Place { begin: draft.len() as u64, media, wide })
}

/// Where the media is.
#[derive(Clone, Copy)]
struct Place {
    begin: u64,
    media: u64,
    /// Whether positions need 64 bits.
    wide: bool,
}

fn write(tracks: &Tracks, pieces: &[Piece], map: &TimeMap, sound: Option<&Sound<'_>>, place: Place) -> Vec<u8> {
    let pictures: usize = pieces.iter().map(|piece| piece.head.video.len()).sum();
    let mut out =
        Vec::with_capacity(2048 + pictures * 24 + pieces.len() * 16 + sound.map_or(0, |s| s.durations.len() * 8));
    boxed(&mut out, *b"ftyp", |out| {
        out.put(b"isom\0\0\x02\0isomiso2mp41");
        out.put(if tracks.video.codec == VideoCodec::H264 { b"avc1" } else { b"hvc1" });
    });
    let span = map.shown.end.abs_diff(map.shown.start);
    let start = map.start_wall();
    boxed(&mut out, *b"moov", |out| {
        movie_header(out, start, VIDEO_TIMESCALE, span);
        let ticks = pieces.iter().map(|piece| u64::from(piece.head.duration())).sum();
        let from = u64::try_from(map.shown.start).unwrap_or(0);
        let mut boxes = TrackBoxes::video(&tracks.video, start);
        (boxes.durations, boxes.edit) = ([span, ticks], Some((0, from, span)));
        track(out, &boxes, |out| video_tables(out, pieces, place));
        if let (Some(audio), Some(sound)) = (&tracks.audio, sound) {
            let mut boxes = TrackBoxes::audio(audio, start);
            let (wait, from, played) = sound.edit(from, span);
            (boxes.durations, boxes.edit) = ([wait + played, sound.ticks()], Some((wait, from, played)));
            track(out, &boxes, |out| sound_tables(out, pieces, sound, place));
        }
    });
    if place.wide {
        out.u32(1);
        out.put(b"mdat");
        out.u64(place.media + 16);
    } else {
        out.u32(u32::try_from(place.media + 8).unwrap_or(u32::MAX));
        out.put(b"mdat");
    }
    out
}

fn video_tables(out: &mut Vec<u8>, pieces: &[Piece], place: Place) {
    let pictures = || pieces.iter().flat_map(|piece| &piece.head.video);
    runs(out, *b"stts", 0, pictures().map(|picture| picture.duration));
    if pictures().any(|picture| picture.composition != 0) {
        runs(out, *b"ctts", 1, pictures().map(|picture| picture.composition.cast_unsigned()));
    }
    let keys = pictures().enumerate().filter(|(_, picture)| picture.key).map(|(at, _)| short(at + 1));
    let keys: Vec<u32> = keys.collect();
    full(out, *b"stss", 0, 0, |out| {
        out.u32(short(keys.len()));
        keys.iter().for_each(|key| out.u32(*key));
    });
    sizes(out, pictures().map(|picture| picture.size));
    chunks(out, pieces.iter().map(|piece| piece.head.video.len()));
    let mut at = place.begin;
    let positions = pieces.iter().map(|piece| {
        let position = at;
        at += u64::from(piece.range.bytes);
        position
    });
    offsets(out, &positions.collect::<Vec<_>>(), place.wide);
}

fn sound_tables(out: &mut Vec<u8>, pieces: &[Piece], sound: &Sound<'_>, place: Place) {
    runs(out, *b"stts", 0, sound.durations.iter().copied());
    sizes(out, pieces.iter().flat_map(|piece| &piece.head.audio).map(|frame| frame.size));
    // A fragment without sound has no chunk.
    chunks(out, pieces.iter().map(|piece| piece.head.audio.len()).filter(|count| *count > 0));
    let mut at = place.begin;
    let mut positions = Vec::with_capacity(pieces.len());
    for piece in pieces {
        if !piece.head.audio.is_empty() {
            positions.push(at + u64::from(piece.head.video_bytes()));
        }
        at += u64::from(piece.range.bytes);
    }
    offsets(out, &positions, place.wide);
}

/// A table in which each value stands with how often it follows itself.
fn runs(out: &mut Vec<u8>, kind: [u8; 4], version: u8, values: impl Iterator<Item = u32>) {
    full(out, kind, version, 0, |out| {
        let place = out.len();
        out.u32(0);
        let (mut count, mut current) = (0u32, None::<(u32, u32)>);
        for value in values {
            match &mut current {
                Some((same, times)) if *same == value => *times += 1,
                other => {
                    if let Some((value, times)) = other.replace((value, 1)) {
                        count += 1;
                        out.u32(times);
                        out.u32(value);
                    }
                }
            }
        }
        if let Some((value, times)) = current {
            count += 1;
            out.u32(times);
            out.u32(value);
        }
        out[place..place + 4].copy_from_slice(&count.to_be_bytes());
    });
}

fn sizes(out: &mut Vec<u8>, sizes: impl Iterator<Item = u32> + Clone) {
    full(out, *b"stsz", 0, 0, |out| {
        out.u32(0);
        out.u32(short(sizes.clone().count()));
        sizes.for_each(|size| out.u32(size));
    });
}

/// Says how many samples stand together in each chunk, where that changes.
fn chunks(out: &mut Vec<u8>, counts: impl Iterator<Item = usize>) {
    let mut entries: Vec<(u32, u32)> = Vec::new();
    for (at, count) in counts.enumerate() {
        if entries.last().is_none_or(|(_, last)| *last != short(count)) {
            entries.push((short(at + 1), short(count)));
        }
    }
    full(out, *b"stsc", 0, 0, |out| {
        out.u32(short(entries.len()));
        for (first, count) in &entries {
            out.u32(*first);
            out.u32(*count);
            out.u32(1);
        }
    });
}

fn offsets(out: &mut Vec<u8>, positions: &[u64], wide: bool) {
    full(out, if wide { *b"co64" } else { *b"stco" }, 0, 0, |out| {
        out.u32(short(positions.len()));
        for position in positions {
            if wide { out.u64(*position) } else { out.u32(u32::try_from(*position).unwrap_or(u32::MAX)) }
        }
    });
}

fn short(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The sound of a clip: frames one after the other, set right against the pictures where a gap was closed.
struct Sound<'a> {
    audio: &'a AudioTrack,
    /// When the first frame begins, in ticks of the sound since the first picture is decoded.
    begin: i64,
    durations: Vec<u32>,
}

impl<'a> Sound<'a> {
    /// `None` when no piece has sound.
    fn new(audio: &'a AudioTrack, pieces: &[Piece]) -> Option<Self> {
        let mut sound = None::<Self>;
        let mut dts = 0;
        for piece in pieces {
            let ticks = |ticks: i128| ticks * i128::from(audio.sample_rate) / i128::from(VIDEO_TIMESCALE);
            let head = &piece.head;
            // Where its sound is to begin: as far from its first picture as in the segment.
            let apart = i128::from(head.audio_start) - ticks(head.start.into());
            let most = i128::from(audio.sample_rate) * SOUND_APART_SECS;
            let at = i64::try_from(ticks(dts) + apart.clamp(-most, most)).unwrap_or(i64::MAX / 2);
            dts += i128::from(head.duration());
            if head.audio.is_empty() {
                continue;
            }
            let sound = sound.get_or_insert_with(|| Self { audio, begin: at, durations: Vec::new() });
            sound.set_right(at);
            sound.durations.extend(head.audio.iter().map(|_| AAC_FRAME));
        }
        sound
    }

    /// Stretches or shortens the last frame when the next is to begin at another time than it does.
    fn set_right(&mut self, at: i64) {
        let drift = at - (self.begin + self.ticks().cast_signed());
        if let Some(last) = self.durations.last_mut()
            && drift.abs() > SOUND_DRIFT
        {
            *last = u32::try_from((i64::from(*last) + drift).max(1)).unwrap_or(u32::MAX);
        }
    }

    fn ticks(&self) -> u64 {
        self.durations.iter().map(|duration| u64::from(*duration)).sum()
    }

    /// Ticks of the film to wait, the first tick of the sound to play and the ticks of the film it plays, so that it
    /// goes with pictures from tick `from` on for `span`.
    fn edit(&self, from: u64, span: u64) -> (u64, u64, u64) {
        let rate = u64::from(self.audio.sample_rate.max(1));
        let wanted = i64::try_from(u128::from(from) * u128::from(rate) / u128::from(VIDEO_TIMESCALE)).unwrap_or(0);
        let first = u64::try_from(wanted - self.begin).unwrap_or(0);
        let late = u64::try_from(self.begin - wanted).unwrap_or(0);
        let film = |ticks: u64| ticks.saturating_mul(u64::from(VIDEO_TIMESCALE)) / rate;
        let wait = film(late).min(span);
        (wait, first, (span - wait).min(film(self.ticks().saturating_sub(first))))
    }
}
