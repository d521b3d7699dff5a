//! Decoded pictures in memory, and what decodes them.

use aivms_appliance_core::mask::MaskRaster;
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;
use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use super::error::MaskError;
use super::stage::{Stage, make};
use crate::pipeline::access_unit::{AccessUnit, StreamFormat};
use crate::pipeline::decode::choose_decoder;

/// Brightness of the lines of drawn boxes, and their two colour differences: green.
const LINE: [u8; 3] = [170, 44, 21];
/// Pictures of this many lines get boxes drawn one pixel thick, larger ones in proportion.
const LINES_PER_PIXEL: u32 = 270;

/// One picture: a plane of brightness and two of colour of half its size (I420).
#[derive(Debug, Clone)]
pub struct Picture {
    at: MediaTime,
    info: gst_video::VideoInfo,
    data: Vec<u8>,
}

impl Picture {
    fn of(sample: &gst::Sample) -> Option<Self> {
        let buffer = sample.buffer()?;
        let at = MediaTime::from_nanos(buffer.pts()?.nseconds());
        let given = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &given).ok()?;
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, given.width(), given.height())
            .colorimetry(&given.colorimetry())
            .fps(given.fps())
            .par(given.par())
            .build()
            .ok()?;
        let mut data = vec![0; info.size()];
        for plane in 0..3u32 {
            let (from, to) = (*frame.plane_stride().get(plane as usize)?, info.stride()[plane as usize]);
            let lines = frame.plane_data(plane).ok()?.chunks(usize::try_from(from).ok()?);
            let room = data.get_mut(info.offset()[plane as usize]..)?.chunks_mut(usize::try_from(to).ok()?);
            let height = plane_height(&info, plane);
            for (line, room) in lines.zip(room).take(height) {
                let width = line.len().min(room.len());
                room[..width].copy_from_slice(&line[..width]);
            }
        }
        Some(Self { at, info, data })
    }

    /// Its presentation time.
    #[must_use]
    pub fn at(&self) -> MediaTime {
        self.at
    }

    /// Its size.
    #[must_use]
    pub fn frame(&self) -> FrameSize {
        FrameSize { width: self.info.width(), height: self.info.height() }
    }

    /// Brightness of a pixel.
    #[cfg(test)]
    pub(super) fn luma(&self, x: u32, y: u32) -> u8 {
        self.data[self.info.offset()[0] + y as usize * self.stride(0) + x as usize]
    }

    /// Blackens what a mask hides.
    pub(super) fn hide(&mut self, raster: &MaskRaster) {
        let is_full = self.info.colorimetry().range() == gst_video::VideoColorRange::Range0_255;
        let black = [if is_full { 0 } else { 16 }, 128, 128];
        for (plane, value) in (0u32..).zip(black) {
            let (stride, shift) = (self.stride(plane), u32::from(plane > 0));
            raster.fill(self.plane(plane), stride, shift, value);
        }
    }

    /// Draws a box, given in pixels of the picture, as lines whose thickness follows the size of the picture.
    pub fn draw(&mut self, bbox: PixelBox) {
        let FrameSize { width, height } = self.frame();
        let Some(bbox) = bbox.clipped(self.frame()) else { return };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to the frame")]
        let [x1, y1, x2, y2] = bbox.corners().map(|at| at.round() as u32);
        let thick = (height / LINES_PER_PIXEL).max(1) * 2;
        let (right, bottom) = (x2.min(width), y2.min(height));
        self.paint(x1..right, y1..(y1 + thick).min(bottom));
        self.paint(x1..right, bottom.saturating_sub(thick).max(y1)..bottom);
        self.paint(x1..(x1 + thick).min(right), y1..bottom);
        self.paint(right.saturating_sub(thick).max(x1)..right, y1..bottom);
    }

    fn paint(&mut self, columns: std::ops::Range<u32>, lines: std::ops::Range<u32>) {
        for (plane, value) in (0u32..).zip(LINE) {
            let (stride, shift) = (self.stride(plane), u32::from(plane > 0));
            let (from, to) = ((columns.start >> shift) as usize, (columns.end >> shift) as usize);
            let data = self.plane(plane);
            for line in (lines.start >> shift)..(lines.end >> shift) {
                let at = line as usize * stride;
                if let Some(pixels) = data.get_mut(at + from..(at + to).max(at + from)) {
                    pixels.fill(value);
                }
            }
        }
    }

    /// A buffer of it, with its time.
    pub(super) fn into_buffer(self) -> gst::Buffer {
        let mut buffer = gst::Buffer::from_mut_slice(self.data);
        // A buffer that was just made has no other owner.
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_nseconds(self.at.as_nanos()));
        }
        buffer
    }

    /// What the buffer holds.
    pub(super) fn caps(&self) -> Result<gst::Caps, MaskError> {
        self.info.to_caps().map_err(|_| MaskError::Pipeline("encoding"))
    }

    fn stride(&self, plane: u32) -> usize {
        usize::try_from(self.info.stride()[plane as usize]).unwrap_or(0)
    }

    fn plane(&mut self, plane: u32) -> &mut [u8] {
        let start = self.info.offset()[plane as usize];
        let bytes = self.stride(plane) * plane_height(&self.info, plane);
        let end = (start + bytes).min(self.data.len());
        &mut self.data[start.min(end)..end]
    }

    /// Stretches values to the whole range: JPEG has black at 0, most video at 16, and GStreamer's converter leaves that.
    fn widen(&mut self) {
        if self.info.colorimetry().range() == gst_video::VideoColorRange::Range0_255 {
            return;
        }
        for (plane, middle, span) in [(0, 16, 219), (1, 128, 224), (2, 128, 224)] {
            let zero = if plane == 0 { 0 } else { middle };
            let wide = |value: i32| ((value - middle) * 255 / span + zero).clamp(0, 255);
            let table: Vec<u8> = (0..256).map(|value| u8::try_from(wide(value)).unwrap_or(u8::MAX)).collect();
            self.plane(plane).iter_mut().for_each(|value| *value = table[usize::from(*value)]);
        }
    }

    /// A JPEG file of it.
    ///
    /// # Errors
    /// The encoder is not installed or fails.
    pub fn to_jpeg(mut self) -> Result<Vec<u8>, MaskError> {
        self.widen();
        let encoder = make("jpegenc")?;
        encoder.set_property_from_str("quality", crate::pipeline::snapshot::QUALITY);
        let stage = Stage::start("making a JPEG", &self.caps()?, vec![encoder], None)?;
        let mut samples = stage.push(self.into_buffer())?;
        samples.extend(stage.finish()?);
        let file = samples.first().and_then(|sample| Some(sample.buffer()?.map_readable().ok()?.to_vec()));
        file.ok_or(MaskError::Hangs("making a JPEG"))
    }
}

fn plane_height(info: &gst_video::VideoInfo, plane: u32) -> usize {
    let height = info.height() as usize;
    if plane == 0 { height } else { height.div_ceil(2) }
}

/// Decodes access units into pictures, all of them, in the order of showing. It may block.
pub struct PictureDecoder {
    stage: Stage,
    caps: gst::Caps,
}

impl PictureDecoder {
    /// Starts to decode a format.
    ///
    /// # Errors
    /// No decoder for it is installed, or none can be started.
    pub fn start(format: &StreamFormat) -> Result<Self, MaskError> {
        let decoder = choose_decoder(format)?;
        let i420 = gst::Caps::builder("video/x-raw").field("format", "I420").build();
        let stage = Stage::start("decoding", &format.caps, vec![decoder, make("videoconvert")?], Some(&i420))?;
        Ok(Self { stage, caps: format.caps.clone() })
    }

    /// Hands over a unit, the first one a key picture, and takes the pictures that are ready.
    ///
    /// # Errors
    /// The decoder has failed.
    pub fn push(&mut self, unit: &AccessUnit) -> Result<Vec<Picture>, MaskError> {
        if unit.format.caps != self.caps {
            self.caps = unit.format.caps.clone();
            self.stage.set_caps(&self.caps);
        }
        Ok(self.stage.push(unit.buffer.clone())?.iter().filter_map(Picture::of).collect())
    }

    /// Gives the pictures that were still held back; nothing may be pushed after.
    ///
    /// # Errors
    /// The decoder has failed.
    pub fn drain(&mut self) -> Result<Vec<Picture>, MaskError> {
        Ok(self.stage.finish()?.iter().filter_map(Picture::of).collect())
    }
}
