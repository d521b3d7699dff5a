//! From the byte stream of an encoder to what a file holds: parameter sets apart, each NAL unit behind its length.

use bytes::Bytes;
use memchr::memmem::Finder;

pub use crate::parameters::ParameterError;
use crate::parameters::ParameterSets;
use crate::track::{VideoCodec, VideoTrack};

/// Says why an access unit cannot be recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no start code in it, or nothing between them.
    #[error("the access unit holds no picture")]
    NoPicture,
    /// No picture can be decoded yet.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
}

/// One picture as a file holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoPicture {
    /// NAL units, each behind its length in 32 bits, without parameter sets, delimiters and filler.
    pub data: Bytes,
    /// Whether decoding can start here.
    pub key: bool,
    /// Whether every picture before this one in decoding order is also shown before it and all that come after: an
    /// instantaneous refresh.
    pub refresh: bool,
    /// Whether the track is another from this picture on: a new segment begins with it, or where it is no key
    /// picture, with the next one that is.
    pub changed: bool,
}

/// Takes one stream's access units apart and knows its parameter sets.
#[derive(Debug, Clone)]
pub struct AccessUnits {
    codec: VideoCodec,
    sets: ParameterSets,
    track: Option<VideoTrack>,
}

/// What is in a NAL unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nal {
    Picture {
        key: bool,
        refresh: bool,
    },
    VideoSet,
    SequenceSet,
    PictureSet,
    /// Says of a picture of H.264 whether decoding can start there.
    Supplement,
    /// Delimiters and filler.
    Dropped,
    Kept,
}

impl AccessUnits {
    /// Begins a stream.
    #[must_use]
    pub fn new(codec: VideoCodec) -> Self {
        Self { codec, sets: ParameterSets::default(), track: None }
    }

    /// The track, as of the last picture taken; `None` before the first.
    #[must_use]
    pub fn track(&self) -> Option<&VideoTrack> {
        self.track.as_ref()
    }

    /// Takes the next access unit of the byte stream (annex B), with the parameter sets in front of key pictures.
    ///
    /// # Errors
    /// It holds no picture, or none that can be decoded with the parameter sets so far.
    pub fn take(&mut self, byte_stream: &[u8]) -> Result<VideoPicture, UnitError> {
        let mut data = Vec::with_capacity(byte_stream.len() + 64);
        let mut new = ParameterSets::default();
        let mut picture = None;
        let mut recovery = false;
        for nal in nal_units(byte_stream) {
            match self.kind(nal) {
                Nal::VideoSet => ParameterSets::add(&mut new.video, nal),
                Nal::SequenceSet => ParameterSets::add(&mut new.sequence, nal),
                Nal::PictureSet => ParameterSets::add(&mut new.picture, nal),
                Nal::Dropped => {}
                kind => {
                    if let Nal::Picture { key, refresh } = kind {
                        picture.get_or_insert((key, refresh));
                    }
                    recovery |= kind == Nal::Supplement && recovers_at_once(nal);
                    data.extend_from_slice(&u32::try_from(nal.len()).unwrap_or(u32::MAX).to_be_bytes());
                    data.extend_from_slice(nal);
                }
            }
        }
        let (key, refresh) = picture.ok_or(UnitError::NoPicture)?;
        let changed = self.update(new)?;
        Ok(VideoPicture { data: data.into(), key: key || recovery, refresh, changed })
    }

    /// Takes over what a picture has brought and says whether the track is another.
    fn update(&mut self, new: ParameterSets) -> Result<bool, ParameterError> {
        if new.is_empty() && self.track.is_some() {
            return Ok(false);
        }
        let sets = self.sets.updated(new);
        if sets == self.sets && self.track.is_some() {
            return Ok(false);
        }
        let track = sets.track(self.codec)?;
        self.sets = sets;
        let changed = self.track.as_ref() != Some(&track);
        self.track = Some(track);
        Ok(changed)
    }

    fn kind(&self, nal: &[u8]) -> Nal {
        match self.codec {
            VideoCodec::H264 => match nal[0] & 0x1f {
                5 => Nal::Picture { key: true, refresh: true },
                1..=4 => Nal::Picture { key: false, refresh: false },
                6 => Nal::Supplement,
                7 => Nal::SequenceSet,
                8 => Nal::PictureSet,
                9 | 12 => Nal::Dropped,
                _ => Nal::Kept,
            },
            VideoCodec::H265 => match nal[0] >> 1 & 0x3f {
                kind @ 0..=31 => Nal::Picture { key: (16..=21).contains(&kind), refresh: matches!(kind, 19 | 20) },
                32 => Nal::VideoSet,
                33 => Nal::SequenceSet,
                34 => Nal::PictureSet,
                35 | 38 => Nal::Dropped,
                _ => Nal::Kept,
            },
        }
    }
}

/// Whether the first message of an H.264 SEI says that decoding can start at this very picture (recovery point with a
/// count of 0): how encoders mark key pictures that are no instantaneous refresh.
fn recovers_at_once(sei: &[u8]) -> bool {
    // Header, kind 6, any length, and the count as the code 1 for 0.
    matches!(sei, [_, 6, _, first, ..] if first & 0x80 != 0)
}

/// The NAL units between the start codes of a byte stream, without the zeros that may follow each. None is empty.
fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let finder = Finder::new(&[0, 0, 1]);
    let mut rest = finder.find(stream).map(|at| &stream[at + 3..]);
    std::iter::from_fn(move || {
        let current = rest?;
        let next = finder.find(current);
        rest = next.map(|at| &current[at + 3..]);
        let nal = &current[..next.unwrap_or(current.len())];
        Some(&nal[..nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)])
    })
    .filter(|nal| !nal.is_empty())
}
