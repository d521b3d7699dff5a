//! The front of a segment: the tracks, and whose footage it is, so that a file found alone still speaks for itself.

use aivms_contract::id::{CameraId, EdgeId};
use aivms_contract::time::UtcMillis;
use bytes::Bytes;

use crate::boxes::{Put, Taker, boxed, find, find_own, find_path, full, own};
use crate::track::{AUDIO_TRACK, AudioTrack, Tracks, VIDEO_TIMESCALE, VIDEO_TRACK, VideoCodec, VideoTrack};

/// Marks our box that says whose footage a file is.
const ABOUT_BOX: &[u8; 16] = b"aivms segment\0\0\0";
/// Version of what is in it.
const ABOUT_VERSION: u8 = 1;
/// Seconds from 1904, where MP4 counts from, to 1970.
const MP4_TO_UNIX_SECS: i64 = 2_082_844_800;

/// Whose footage a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentAbout {
    /// The edge that recorded it, when it had a name.
    pub edge: Option<EdgeId>,
    /// The camera that filmed it.
    pub camera: CameraId,
    /// Wall time of the first picture.
    pub start: UtcMillis,
}

/// The boxes in front of a segment's first fragment; also an initialisation segment of MSE.
#[must_use]
pub fn init_segment(tracks: &Tracks, about: &SegmentAbout) -> Vec<u8> {
    let mut out = front_boxes(tracks, about.start);
    about_box(&mut out, about);
    out
}

/// The initialisation segment of MSE for what never becomes a file: it says nothing of edge and camera.
#[must_use]
pub fn init_segment_live(tracks: &Tracks) -> Vec<u8> {
    front_boxes(tracks, UtcMillis::from_millis(0))
}

fn front_boxes(tracks: &Tracks, start: UtcMillis) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let brand = match tracks.video.codec {
        VideoCodec::H264 => b"avc1",
        VideoCodec::H265 => b"hvc1",
    };
    boxed(&mut out, *b"ftyp", |out| {
        out.put(b"iso6\0\0\0\0iso6mp41");
        out.put(brand);
    });
    boxed(&mut out, *b"moov", |out| {
        movie_header(out, start, VIDEO_TIMESCALE, 0);
        track(out, &TrackBoxes::video(&tracks.video, start), empty_tables);
        if let Some(audio) = &tracks.audio {
            track(out, &TrackBoxes::audio(audio, start), empty_tables);
        }
        boxed(out, *b"mvex", |out| {
            fragments_follow(out, VIDEO_TRACK);
            if tracks.audio.is_some() {
                fragments_follow(out, AUDIO_TRACK);
            }
        });
    });
    out
}

/// Reads the tracks in the body of a `moov` box; `None` when it was not written here.
pub(crate) fn read_tracks(moov: &[u8]) -> Option<Tracks> {
    let traks = crate::boxes::each(moov).filter(|(kind, _)| kind == b"trak").map(|(_, body)| body);
    let mut video = None;
    let mut audio = None;
    for trak in traks {
        let stsd = find_path(trak, &[b"mdia", b"minf", b"stbl", b"stsd"])?.get(8..)?;
        if let Some(entry) = find(stsd, *b"avc1") {
            video = Some(video_track(VideoCodec::H264, entry, *b"avcC")?);
        } else if let Some(entry) = find(stsd, *b"hvc1") {
            video = Some(video_track(VideoCodec::H265, entry, *b"hvcC")?);
        } else {
            audio = Some(audio_track(trak, find(stsd, *b"mp4a")?)?);
        }
    }
    Some(Tracks { video: video?, audio })
}

/// Reads our box among the `boxes` in front of the first fragment.
pub(crate) fn read_about(boxes: &[u8]) -> Option<SegmentAbout> {
    let mut taker = Taker(find_own(boxes, ABOUT_BOX)?);
    if taker.u8()? != ABOUT_VERSION {
        return None;
    }
    let start = UtcMillis::from_millis(i64::from_be_bytes(taker.array()?));
    let mut text = || {
        let length = taker.u8()?.into();
        std::str::from_utf8(taker.bytes(length)?).ok()
    };
    let camera = text()?.parse().ok()?;
    let edge = text()?;
    let edge = if edge.is_empty() { None } else { Some(edge.parse().ok()?) };
    Some(SegmentAbout { edge, camera, start })
}

fn about_box(out: &mut Vec<u8>, about: &SegmentAbout) {
    // Names have at most 64 characters.
    let text = |out: &mut Vec<u8>, text: &str| {
        out.u8(u8::try_from(text.len()).unwrap_or(0));
        out.put(text.as_bytes());
    };
    own(out, ABOUT_BOX, |out| {
        out.u8(ABOUT_VERSION);
        out.put(&about.start.as_millis().to_be_bytes());
        text(out, about.camera.as_str());
        text(out, about.edge.as_ref().map_or("", EdgeId::as_str));
    });
}

fn video_track(codec: VideoCodec, entry: &[u8], kind: [u8; 4]) -> Option<VideoTrack> {
    let mut size = Taker(entry.get(24..28)?);
    let frame = aivms_contract::geometry::FrameSize { width: size.u16()?.into(), height: size.u16()?.into() };
    let config = find(entry.get(VISUAL_BYTES..)?, kind)?;
    Some(VideoTrack { codec, frame, config: Bytes::copy_from_slice(config) })
}

fn audio_track(trak: &[u8], entry: &[u8]) -> Option<AudioTrack> {
    let channels = u8::try_from(Taker(entry.get(16..18)?).u16()?).ok()?;
    let mut mdhd = Taker(find_path(trak, &[b"mdia", b"mdhd"])?);
    let version = mdhd.version()?.0;
    mdhd.bytes(if version == 0 { 8 } else { 16 })?;
    let sample_rate = mdhd.u32()?;
    let esds = find(entry.get(SOUND_BYTES..)?, *b"esds")?.get(4..)?;
    Some(AudioTrack { sample_rate, channels, config: Bytes::copy_from_slice(decoder_config(esds)?) })
}

/// Bytes of a sample entry for pictures before its boxes.
const VISUAL_BYTES: usize = 78;
/// Bytes of a sample entry for sound before its boxes.
const SOUND_BYTES: usize = 28;

/// Finds the AudioSpecificConfig in the descriptors of ISO/IEC 14496-1: in 3 (stream), in 4 (decoder), 5 (its config).
fn decoder_config(esds: &[u8]) -> Option<&[u8]> {
    let stream = descriptor(esds, 3)?.get(3..)?;
    let decoder = descriptor(stream, 4)?.get(13..)?;
    descriptor(decoder, 5)
}

fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut taker = Taker(bytes);
    if taker.u8()? != tag {
        return None;
    }
    let mut length = 0;
    for _ in 0..4 {
        let byte = taker.u8()?;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    taker.bytes(length)
}

fn mp4_seconds(at: UtcMillis) -> u64 {
    u64::try_from(at.as_millis().div_euclid(1000) + MP4_TO_UNIX_SECS).unwrap_or(0)
}

/// Writes the box about the whole film. `duration` counts in `timescale`; 0 where fragments follow.
pub(crate) fn movie_header(out: &mut Vec<u8>, start: UtcMillis, timescale: u32, duration: u64) {
    full(out, *b"mvhd", 1, 0, |out| {
        out.u64(mp4_seconds(start));
        out.u64(mp4_seconds(start));
        out.u32(timescale);
        out.u64(duration);
        out.u32(0x0001_0000);
        out.u16(0x0100);
        out.zeros(10);
        matrix(out);
        out.zeros(24);
        out.u32(AUDIO_TRACK + 1);
    });
}

/// Upright and not scaled.
fn matrix(out: &mut Vec<u8>) {
    for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        out.u32(value);
    }
}

fn fragments_follow(out: &mut Vec<u8>, track: u32) {
    full(out, *b"trex", 0, 0, |out| {
        out.u32(track);
        out.u32(1);
        out.zeros(12);
    });
}

fn empty_tables(out: &mut Vec<u8>) {
    full(out, *b"stts", 0, 0, |out| out.u32(0));
    full(out, *b"stsc", 0, 0, |out| out.u32(0));
    full(out, *b"stsz", 0, 0, |out| out.zeros(8));
    full(out, *b"stco", 0, 0, |out| out.u32(0));
}

/// What differs between the boxes of a track of pictures and one of sound.
pub(crate) struct TrackBoxes<'a> {
    number: u32,
    start: UtcMillis,
    timescale: u32,
    size: [u16; 2],
    entry: Entry<'a>,
    /// Ticks of the film, and of the track.
    pub(crate) durations: [u64; 2],
    /// Ticks of the film to wait, if any; then first tick of the track to play, and how many ticks of the film.
    pub(crate) edit: Option<(u64, u64, u64)>,
}

enum Entry<'a> {
    Video(&'a VideoTrack),
    Audio(&'a AudioTrack),
}

impl<'a> TrackBoxes<'a> {
    pub(crate) fn video(track: &'a VideoTrack, start: UtcMillis) -> Self {
        let size = [track.frame.width, track.frame.height].map(|side| u16::try_from(side).unwrap_or(u16::MAX));
        let (number, timescale) = (VIDEO_TRACK, VIDEO_TIMESCALE);
        Self { number, start, timescale, size, entry: Entry::Video(track), durations: [0; 2], edit: None }
    }

    pub(crate) fn audio(track: &'a AudioTrack, start: UtcMillis) -> Self {
        let (number, timescale) = (AUDIO_TRACK, track.sample_rate);
        Self { number, start, timescale, size: [0; 2], entry: Entry::Audio(track), durations: [0; 2], edit: None }
    }
}

/// Writes a track; `tables` writes what stands behind the sample description.
pub(crate) fn track(out: &mut Vec<u8>, track: &TrackBoxes<'_>, tables: impl FnOnce(&mut Vec<u8>)) {
    boxed(out, *b"trak", |out| {
        track_header(out, track);
        if let Some((wait, from, span)) = track.edit {
            boxed(out, *b"edts", |out| edit_list(out, wait, from, span));
        }
        boxed(out, *b"mdia", |out| {
            media_header(out, track);
            boxed(out, *b"minf", |out| {
                match track.entry {
                    Entry::Video(_) => full(out, *b"vmhd", 0, 1, |out| out.zeros(8)),
                    Entry::Audio(_) => full(out, *b"smhd", 0, 0, |out| out.zeros(4)),
                }
                boxed(out, *b"dinf", |out| {
                    full(out, *b"dref", 0, 0, |out| {
                        out.u32(1);
                        full(out, *b"url ", 0, 1, |_| {});
                    });
                });
                boxed(out, *b"stbl", |out| {
                    full(out, *b"stsd", 0, 0, |out| {
                        out.u32(1);
                        sample_entry(out, track);
                    });
                    tables(out);
                });
            });
        });
    });
}

fn track_header(out: &mut Vec<u8>, track: &TrackBoxes<'_>) {
    let sound = matches!(track.entry, Entry::Audio(_));
    full(out, *b"tkhd", 1, 3, |out| {
        out.u64(mp4_seconds(track.start));
        out.u64(mp4_seconds(track.start));
        out.u32(track.number);
        out.u32(0);
        out.u64(track.durations[0]);
        out.zeros(12);
        out.u16(if sound { 0x0100 } else { 0 });
        out.u16(0);
        matrix(out);
        for side in track.size {
            out.u32(u32::from(side) << 16);
        }
    });
}

fn edit_list(out: &mut Vec<u8>, wait: u64, from: u64, span: u64) {
    full(out, *b"elst", 1, 0, |out| {
        out.u32(if wait > 0 { 2 } else { 1 });
        if wait > 0 {
            out.u64(wait);
            out.u64(u64::MAX);
            out.u32(0x0001_0000);
        }
        out.u64(span);
        out.u64(from);
        out.u32(0x0001_0000);
    });
}

fn media_header(out: &mut Vec<u8>, track: &TrackBoxes<'_>) {
    full(out, *b"mdhd", 1, 0, |out| {
        out.u64(mp4_seconds(track.start));
        out.u64(mp4_seconds(track.start));
        out.u32(track.timescale);
        out.u64(track.durations[1]);
        // "und": no language.
        out.u16(0x55c4);
        out.u16(0);
    });
    let (handler, name): (&[u8; 4], &[u8]) = match track.entry {
        Entry::Video(_) => (b"vide", b"pictures\0"),
        Entry::Audio(_) => (b"soun", b"sound\0"),
    };
    full(out, *b"hdlr", 0, 0, |out| {
        out.u32(0);
        out.put(handler);
        out.zeros(12);
        out.put(name);
    });
}

fn sample_entry(out: &mut Vec<u8>, track: &TrackBoxes<'_>) {
    match track.entry {
        Entry::Video(video) => video_entry(out, video, track.size),
        Entry::Audio(audio) => audio_entry(out, audio),
    }
}

fn video_entry(out: &mut Vec<u8>, video: &VideoTrack, size: [u16; 2]) {
    let (entry, config) = match video.codec {
        VideoCodec::H264 => (*b"avc1", *b"avcC"),
        VideoCodec::H265 => (*b"hvc1", *b"hvcC"),
    };
    boxed(out, entry, |out| {
        out.zeros(6);
        out.u16(1);
        out.zeros(16);
        out.u16(size[0]);
        out.u16(size[1]);
        out.u32(0x0048_0000);
        out.u32(0x0048_0000);
        out.u32(0);
        out.u16(1);
        out.zeros(32);
        out.u16(24);
        out.u16(0xffff);
        boxed(out, config, |out| out.put(&video.config));
    });
}

fn audio_entry(out: &mut Vec<u8>, audio: &AudioTrack) {
    boxed(out, *b"mp4a", |out| {
        out.zeros(6);
        out.u16(1);
        out.zeros(8);
        out.u16(audio.channels.into());
        out.u16(16);
        out.u32(0);
        // 16.16; a rate above 65535 is only in the decoder's configuration.
        out.u32(u32::from(u16::try_from(audio.sample_rate).unwrap_or(0)) << 16);
        full(out, *b"esds", 0, 0, |out| elementary_stream(out, audio));
    });
}

fn elementary_stream(out: &mut Vec<u8>, audio: &AudioTrack) {
    // An AudioSpecificConfig has a few bytes, so every length fits in seven bits.
    let config = u8::try_from(audio.config.len().min(64)).unwrap_or(0);
    out.put(&[3, 3 + 2 + 13 + 2 + config + 3, 0, 0, 0]);
    // AAC, a stream of sound; its buffer and rates are not known.
    out.put(&[4, 13 + 2 + config, 0x40, 0x15]);
    out.zeros(11);
    out.put(&[5, config]);
    out.put(&audio.config[..config.into()]);
    out.put(&[6, 1, 2]);
}
