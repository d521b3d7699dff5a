//! Parameter sets: what an encoder sends in front of key pictures, and what a file holds once, in front of all.

use aivms_contract::geometry::FrameSize;
use bytes::Bytes;
use h264_reader::nal::sps::{PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::{BitReader, decode_nal};

use crate::boxes::{Put, Taker};
use crate::hevc::{HevcSps, read_sps};
use crate::track::{VideoCodec, VideoTrack};

/// Most parameter sets of one kind: what H.264's record can count.
const MAX_SETS: usize = 31;
/// Most pictures of reordering that any level allows.
const MAX_REORDER: u32 = 16;
/// Profiles of H.264 whose record ends in the chroma format and bit depths.
const HIGH_PROFILES: [u8; 4] = [100, 110, 122, 144];

/// Says what is wrong with parameter sets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// One is missing.
    #[error("no {0} parameter set has come")]
    Missing(&'static str),
    /// The sequence parameter set cannot be read.
    #[error("the sequence parameter set cannot be read: {0}")]
    Sequence(String),
}

/// The parameter sets in force, each as a NAL unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ParameterSets {
    /// Video parameter sets; H.265 only.
    pub(crate) video: Vec<Bytes>,
    /// Sequence parameter sets.
    pub(crate) sequence: Vec<Bytes>,
    /// Picture parameter sets.
    pub(crate) picture: Vec<Bytes>,
}

impl ParameterSets {
    /// Adds a set unless it is there already.
    pub(crate) fn add(sets: &mut Vec<Bytes>, nal: &[u8]) {
        if sets.len() < MAX_SETS && nal.len() <= usize::from(u16::MAX) && !sets.iter().any(|set| set == nal) {
            sets.push(Bytes::copy_from_slice(nal));
        }
    }

    /// Whether any set is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.video.is_empty() && self.sequence.is_empty() && self.picture.is_empty()
    }

    /// What is in force once a picture has brought `new`: each kind that it brings replaces the kind, unless all it
    /// brings is in force already. One that comes without a sequence parameter set is one more.
    pub(crate) fn updated(&self, new: Self) -> Self {
        let whole = !new.sequence.is_empty();
        let kind = |old: &Vec<Bytes>, new: Vec<Bytes>| {
            if new.iter().all(|set| old.contains(set)) {
                return old.clone();
            }
            let mut kept = if whole { Vec::new() } else { old.clone() };
            new.iter().for_each(|set| Self::add(&mut kept, set));
            kept
        };
        Self {
            video: kind(&self.video, new.video),
            sequence: kind(&self.sequence, new.sequence),
            picture: kind(&self.picture, new.picture),
        }
    }

    /// The track they describe.
    pub(crate) fn track(&self, codec: VideoCodec) -> Result<VideoTrack, ParameterError> {
        let first = self.sequence.first().ok_or(ParameterError::Missing("sequence"))?;
        if self.picture.is_empty() {
            return Err(ParameterError::Missing("picture"));
        }
        let (frame, config) = match codec {
            VideoCodec::H264 => self.avc(first)?,
            VideoCodec::H265 => self.hevc(first)?,
        };
        Ok(VideoTrack { codec, frame, config: config.into() })
    }

    /// The size, and the AVCDecoderConfigurationRecord.
    fn avc(&self, first: &Bytes) -> Result<(FrameSize, Vec<u8>), ParameterError> {
        let sps = read_avc(first)?;
        let (width, height) = sps.pixel_dimensions().map_err(|error| ParameterError::Sequence(format!("{error:?}")))?;
        let mut out = vec![1];
        // Profile, its constraints and the level stand behind the NAL header; read_avc has read them.
        out.put(first.get(1..4).unwrap_or(&[0; 3]));
        out.put(&[0xff, 0xe0 | self.sequence.len() as u8]);
        put_sets(&mut out, &self.sequence);
        out.u8(self.picture.len() as u8);
        put_sets(&mut out, &self.picture);
        if HIGH_PROFILES.contains(&out[1]) {
            let chroma = &sps.chroma_info;
            let format = chroma_number(chroma.chroma_format);
            out.put(&[0xfc | format, 0xf8 | chroma.bit_depth_luma_minus8, 0xf8 | chroma.bit_depth_chroma_minus8, 0]);
        }
        Ok((FrameSize { width, height }, out))
    }

    /// The size, and the HEVCDecoderConfigurationRecord.
    fn hevc(&self, first: &Bytes) -> Result<(FrameSize, Vec<u8>), ParameterError> {
        if self.video.is_empty() {
            return Err(ParameterError::Missing("video"));
        }
        let sps = read_sps(first).ok_or_else(|| ParameterError::Sequence("it is damaged".into()))?;
        let HevcSps { chroma_format, bit_depth_luma, bit_depth_chroma, .. } = sps;
        let mut out = vec![1];
        out.put(&sps.profile);
        // Nothing is known of slices for parallel decoding, nor of the frame rate.
        out.put(&[
            0xf0,
            0,
            0xfc,
            0xfc | chroma_format,
            0xf8 | (bit_depth_luma - 8),
            0xf8 | (bit_depth_chroma - 8),
            0,
            0,
        ]);
        out.u8(sps.temporal_layers << 3 | u8::from(sps.temporal_nested) << 2 | 3);
        out.u8(3);
        for (kind, sets) in [(32, &self.video), (33, &self.sequence), (34, &self.picture)] {
            out.u8(0x80 | kind);
            out.u16(sets.len() as u16);
            put_sets(&mut out, sets);
        }
        Ok((sps.frame, out))
    }
}

fn put_sets(out: &mut Vec<u8>, sets: &[Bytes]) {
    for set in sets {
        // `add` takes none that is longer.
        out.u16(set.len() as u16);
        out.put(set);
    }
}

fn chroma_number(format: h264_reader::nal::sps::ChromaFormat) -> u8 {
    use h264_reader::nal::sps::ChromaFormat::{Monochrome, YUV422, YUV444};
    match format {
        Monochrome => 0,
        YUV422 => 2,
        YUV444 => 3,
        _ => 1,
    }
}

fn read_avc(nal: &[u8]) -> Result<SeqParameterSet, ParameterError> {
    let bad = |why: String| ParameterError::Sequence(why);
    let payload = decode_nal(nal).map_err(|error| bad(error.to_string()))?;
    let sps =
        SeqParameterSet::from_bits(BitReader::new(payload.as_ref())).map_err(|error| bad(format!("{error:?}")))?;
    // Twice what the largest level allows; more would overflow in the sums that follow.
    let sides = [sps.pic_width_in_mbs_minus1, sps.pic_height_in_map_units_minus1];
    if sides.iter().any(|side| *side > 2048) { Err(bad("the picture is too large".into())) } else { Ok(sps) }
}

/// How many pictures may come before one that is shown earlier, as far as the parameter sets in the track say it.
pub(crate) fn reorder(track: &VideoTrack) -> Option<usize> {
    match track.codec {
        VideoCodec::H264 => avc_reorder(&track.config),
        VideoCodec::H265 => hevc_reorder(&track.config),
    }
}

fn avc_reorder(config: &[u8]) -> Option<usize> {
    let mut taker = Taker(config.get(6..)?);
    let length = taker.u16()?.into();
    let sps = read_avc(taker.bytes(length)?).ok()?;
    let baseline = u8::from(sps.profile_idc) == 66;
    if baseline || matches!(sps.pic_order_cnt, PicOrderCntType::TypeTwo) {
        return Some(0);
    }
    let said = sps.vui_parameters?.bitstream_restrictions?.max_num_reorder_frames;
    Some(said.min(MAX_REORDER) as usize)
}

fn hevc_reorder(config: &[u8]) -> Option<usize> {
    let mut taker = Taker(config.get(22..)?);
    for _ in 0..taker.u8()? {
        let kind = taker.u8()? & 0x3f;
        for _ in 0..taker.u16()? {
            let length = taker.u16()?.into();
            let set = taker.bytes(length)?;
            if kind == 33 {
                return read_sps(set).map(|sps| sps.reorder);
            }
        }
    }
    None
}
