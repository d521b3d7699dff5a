//! Pictures in ordinary memory: scaled by the muxer, fitted into the network's input by the detector.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer_video as gst_video;

/// Between elements all pictures have this matrix; the muxer brings them to it.
const COLOURS: &str = "bt601";

/// Changes format and size of pictures that are all alike.
pub(crate) struct Scaler {
    from: gst_video::VideoInfo,
    to: gst_video::VideoInfo,
    converter: gst_video::VideoConverter,
}

impl Scaler {
    /// Scales pictures of `from` to `width` x `height` pixels of a format, linearly, as the CPU engine does.
    pub(crate) fn new(
        from: &gst_video::VideoInfo,
        format: gst_video::VideoFormat,
        (width, height): (u32, u32),
    ) -> Result<Self, glib::BoolError> {
        let mut to = gst_video::VideoInfo::builder(format, width, height)
            .fps(from.fps())
            .interlace_mode(from.interlace_mode())
            .build()?;
        if to.is_yuv() {
            to = info(format, (width, height), from)?;
        }
        let mut config = gst_video::VideoConverterConfig::new();
        config.set_resampler_method(gst_video::VideoResamplerMethod::Linear);
        // As GStreamer's videoscale has it for its linear method.
        config.set("GstVideoResampler.max-taps", 2i32);
        if to.is_yuv() && (from.width(), from.height()) == (width, height) {
            // Chroma is moved, as hardware does it, and not made anew.
            config.set_chroma_mode(gst_video::VideoChromaMode::None);
        }
        config.set_dither_method(gst_video::VideoDitherMethod::None);
        let converter = gst_video::VideoConverter::new(from, &to, Some(config))?;
        Ok(Self { from: from.clone(), to, converter })
    }

    /// Whether it was made for such pictures.
    pub(crate) fn fits(&self, from: &gst_video::VideoInfo) -> bool {
        self.from == *from
    }

    /// The scaled picture, in memory of its own; `None` when the given one can't be read.
    pub(crate) fn scale(&self, picture: &gst::BufferRef) -> Option<gst::Buffer> {
        let from = gst_video::VideoFrameRef::from_buffer_ref_readable(picture, &self.from).ok()?;
        let mut scaled = gst::Buffer::with_size(self.to.size()).ok()?;
        let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(scaled.get_mut()?, &self.to).ok()?;
        self.converter.frame_ref(&from, &mut to);
        drop(to);
        Some(scaled)
    }

    /// What it makes.
    pub(crate) fn to(&self) -> &gst_video::VideoInfo {
        &self.to
    }
}

fn info(
    format: gst_video::VideoFormat,
    (width, height): (u32, u32),
    like: &gst_video::VideoInfo,
) -> Result<gst_video::VideoInfo, glib::BoolError> {
    let colours: gst_video::VideoColorimetry = COLOURS.parse()?;
    gst_video::VideoInfo::builder(format, width, height)
        .fps(like.fps())
        .interlace_mode(like.interlace_mode())
        .colorimetry(&colours)
        .build()
}

/// One picture of a batch of `width` x `height` pixels in NV12.
pub(crate) fn of_batch(size: (u32, u32)) -> Result<gst_video::VideoInfo, glib::BoolError> {
    let any = gst_video::VideoInfo::builder(gst_video::VideoFormat::Nv12, size.0, size.1).build()?;
    info(gst_video::VideoFormat::Nv12, size, &any)
}

/// The picture of the frame that lies at `index` in a batch. No pixel is copied.
pub(crate) fn picture(batch: &gst::BufferRef, index: u32, of: &gst_video::VideoInfo) -> Option<gst::Buffer> {
    let start = of.size().checked_mul(usize::try_from(index).ok()?)?;
    batch.copy_region(gst::BufferCopyFlags::MEMORY, start..start.checked_add(of.size())?).ok()
}
