//! What H.265's sequence parameter set says of the pictures, and the name of the codec.

use aivms_contract::geometry::FrameSize;
use h264_reader::rbsp::{BitRead, BitReader, BitReaderError, ByteReader};

/// Bytes of a NAL unit before its payload.
const NAL_HEADER_BYTES: std::num::NonZeroUsize = std::num::NonZeroUsize::new(2).expect("two");
/// Largest side of a picture that any level allows, with room.
const MAX_SIDE: u32 = 16_384;
/// Bytes of the general profile, tier and level.
pub(crate) const PROFILE_BYTES: usize = 12;

/// What is needed of a sequence parameter set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HevcSps {
    /// The general part of profile_tier_level as it stands there.
    pub(crate) profile: [u8; PROFILE_BYTES],
    pub(crate) temporal_layers: u8,
    pub(crate) temporal_nested: bool,
    pub(crate) chroma_format: u8,
    pub(crate) bit_depth_luma: u8,
    pub(crate) bit_depth_chroma: u8,
    /// Size as shown.
    pub(crate) frame: FrameSize,
    /// How many pictures may come before one that is shown earlier.
    pub(crate) reorder: usize,
}

/// Reads a sequence parameter set with its NAL header; `None` when it is not one.
pub(crate) fn read_sps(nal: &[u8]) -> Option<HevcSps> {
    let mut bits = BitReader::new(ByteReader::skipping_bytes(nal, NAL_HEADER_BYTES));
    sps(&mut bits).ok().flatten()
}

fn sps(bits: &mut impl BitRead) -> Result<Option<HevcSps>, BitReaderError> {
    bits.skip(4, "sps_video_parameter_set_id")?;
    let sub_layers: u8 = bits.read::<3, u8>("sps_max_sub_layers_minus1")?;
    let temporal_nested = bits.read_bit("sps_temporal_id_nesting_flag")?;
    let mut profile = [0; PROFILE_BYTES];
    for byte in &mut profile {
        *byte = bits.read::<8, u8>("profile_tier_level")?;
    }
    skip_sub_layers(bits, sub_layers)?;
    bits.read_ue("sps_seq_parameter_set_id")?;
    let chroma_format = bits.read_ue("chroma_format_idc")?;
    if chroma_format == 3 {
        bits.skip(1, "separate_colour_plane_flag")?;
    }
    let coded = [bits.read_ue("pic_width_in_luma_samples")?, bits.read_ue("pic_height_in_luma_samples")?];
    let crop = if bits.read_bit("conformance_window_flag")? { window(bits)? } else { [0; 4] };
    let depths = [bits.read_ue("bit_depth_luma_minus8")?, bits.read_ue("bit_depth_chroma_minus8")?];
    bits.read_ue("log2_max_pic_order_cnt_lsb_minus4")?;
    let all = bits.read_bit("sps_sub_layer_ordering_info_present_flag")?;
    let mut reorder = 0;
    for _ in if all { 0 } else { sub_layers }..=sub_layers {
        bits.read_ue("sps_max_dec_pic_buffering_minus1")?;
        reorder = bits.read_ue("sps_max_num_reorder_pics")?;
        bits.read_ue("sps_max_latency_increase_plus1")?;
    }
    if chroma_format > 3 || depths.iter().any(|depth| *depth > 8) || sub_layers > 6 {
        return Ok(None);
    }
    let depth = depths.map(|depth| depth as u8 + 8);
    Ok(cropped(coded, crop, chroma_format).map(|frame| HevcSps {
        profile,
        temporal_layers: sub_layers + 1,
        temporal_nested,
        chroma_format: chroma_format as u8,
        bit_depth_luma: depth[0],
        bit_depth_chroma: depth[1],
        frame,
        reorder: reorder.min(16) as usize,
    }))
}

fn skip_sub_layers(bits: &mut impl BitRead, sub_layers: u8) -> Result<(), BitReaderError> {
    let mut present = Vec::with_capacity(8);
    for _ in 0..sub_layers {
        present
            .push((bits.read_bit("sub_layer_profile_present_flag")?, bits.read_bit("sub_layer_level_present_flag")?));
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - u32::from(sub_layers)), "reserved_zero_2bits")?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 }, "sub_layer")?;
    }
    Ok(())
}

/// Left, right, top and bottom of what is not shown, in units of the chroma format.
fn window(bits: &mut impl BitRead) -> Result<[u32; 4], BitReaderError> {
    Ok([
        bits.read_ue("conf_win_left_offset")?,
        bits.read_ue("conf_win_right_offset")?,
        bits.read_ue("conf_win_top_offset")?,
        bits.read_ue("conf_win_bottom_offset")?,
    ])
}

fn cropped([width, height]: [u32; 2], [left, right, top, bottom]: [u32; 4], chroma: u32) -> Option<FrameSize> {
    let (across, down) = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let less = |side: u32, a: u32, b: u32, unit: u32| {
        let shown = side.checked_sub(a.checked_add(b)?.checked_mul(unit)?)?;
        (side <= MAX_SIDE && shown > 0).then_some(shown)
    };
    Some(FrameSize { width: less(width, left, right, across)?, height: less(height, top, bottom, down)? })
}

/// The codec of an HEVCDecoderConfigurationRecord in the form of RFC 6381 (ISO/IEC 14496-15, annex E).
pub(crate) fn codecs(config: &[u8]) -> String {
    let Some(profile) = config.get(1..1 + PROFILE_BYTES) else { return "hvc1".into() };
    let space = ["", "A", "B", "C"][usize::from(profile[0] >> 6)];
    let tier = if profile[0] & 0x20 == 0 { 'L' } else { 'H' };
    let compatible = u32::from_be_bytes([profile[1], profile[2], profile[3], profile[4]]).reverse_bits();
    let mut codecs = format!("hvc1.{space}{}.{compatible:X}.{tier}{}", profile[0] & 0x1f, profile[11]);
    let constraints = &profile[5..11];
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        codecs.push_str(&format!(".{byte:X}"));
    }
    codecs
}
