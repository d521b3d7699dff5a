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
        let copied = self.keeps_all() && from.copy(&mut to).is_ok();
        if !copied {
            self.converter.frame_ref(&from, &mut to);
        }
        drop(to);
        Some(scaled)
    }

    /// Whether the pictures stay as they are.
    fn keeps_all(&self) -> bool {
        let (from, to) = (&self.from, &self.to);
        let colours = |info: &gst_video::VideoInfo| (info.colorimetry().matrix(), info.colorimetry().range());
        let kept = |info: &gst_video::VideoInfo| (info.format(), info.width(), info.height(), colours(info));
        kept(from) == kept(to)
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

/// Fits a batch's pictures into a network's input, to the same bytes as the CPU engine does: to planes, to the size, to
/// three channels, as rounding differs when they are one step.
pub(crate) struct Fitter([Scaler; 3]);

impl Fitter {
    /// Makes BGR of `width` x `height` pixels from `pictures` in NV12.
    pub(crate) fn new(pictures: &gst_video::VideoInfo, size: (u32, u32)) -> Result<Self, glib::BoolError> {
        let whole = (pictures.width(), pictures.height());
        let planes = Scaler::new(pictures, gst_video::VideoFormat::I420, whole)?;
        let scaled = Scaler::new(planes.to(), gst_video::VideoFormat::I420, size)?;
        let coloured = Scaler::new(scaled.to(), gst_video::VideoFormat::Bgr, size)?;
        Ok(Self([planes, scaled, coloured]))
    }

    /// The fitted picture; `None` when the given one can't be read.
    pub(crate) fn fit(&self, picture: &gst::BufferRef) -> Option<gst::Buffer> {
        let Self([planes, scaled, coloured]) = self;
        coloured.scale(scaled.scale(planes.scale(picture)?.as_ref())?.as_ref())
    }

    /// What it makes.
    pub(crate) fn to(&self) -> &gst_video::VideoInfo {
        self.0[2].to()
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use gstreamer::prelude::*;
    use gstreamer_app as gst_app;

    #[test]
    fn a_picture_is_fitted_to_the_very_bytes_that_the_cpu_engine_makes_of_it() {
        gst::init().unwrap();
        crate::plugin_register_static().unwrap();
        for pattern in ["smpte", "snow", "zone-plate kx2=9 ky2=9"] {
            let launch = format!(
                "videotestsrc pattern={pattern} num-buffers=1 ! video/x-raw,format=I420,width=768,height=576 ! tee name=tee \
                 tee. ! queue ! videoscale add-borders=false ! videoconvert ! \
                 video/x-raw,format=BGR,width=416,height=312,pixel-aspect-ratio=1/1 ! appsink name=cpu sync=false \
                 tee. ! queue ! nvvideoconvert ! video/x-raw(memory:NVMM),format=NV12 ! appsink name=gpu sync=false"
            );
            let pipeline = gst::parse::launch(&launch).unwrap().downcast::<gst::Pipeline>().unwrap();
            pipeline.set_state(gst::State::Playing).unwrap();
            let [cpu, gpu] = ["cpu", "gpu"].map(|name| {
                let sink = pipeline.by_name(name).unwrap().downcast::<gst_app::AppSink>().unwrap();
                sink.pull_sample().unwrap().buffer_owned().unwrap()
            });
            pipeline.set_state(gst::State::Null).unwrap();
            let muxed = of_batch((768, 576)).unwrap();
            let through_mux =
                Scaler::new(&muxed, gst_video::VideoFormat::Nv12, (768, 576)).unwrap().scale(&gpu).unwrap();
            let fitted = Fitter::new(&muxed, (416, 312)).unwrap().fit(&through_mux).unwrap();
            let (cpu, gpu) = (cpu.map_readable().unwrap(), fitted.map_readable().unwrap());
            let farthest = cpu.iter().zip(gpu.iter()).map(|(a, b)| a.abs_diff(*b)).max();
            assert_eq!((cpu.len(), farthest), (gpu.len(), Some(0)), "{pattern}");
        }
    }
}
