//! A muxer between hands: pictures are pushed into its inputs, and what comes out is read.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use aivms_deepstream::{Abi, FrameInfo, Library};
use gstreamer as gst;
use gstreamer::prelude::*;

use crate::{SOON, init};

/// Size of the batches' pictures.
pub(crate) const SIZE: (u32, u32) = (64, 48);

/// What left the muxer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Out {
    /// The frames of a batch, in the order of its places, and a byte of each frame's picture.
    Batch(Vec<(FrameInfo, u8)>),
    /// An event, with the input that it tells of.
    Event(String, Option<u32>),
}

pub(crate) struct Bench {
    pub(crate) mux: gst::Element,
    sink: gst::Pad,
    out: Receiver<Out>,
}

impl Bench {
    /// Starts a muxer; `settings` are further properties.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        init();
        let mut mux = gst::ElementFactory::make("nvstreammux").property("width", SIZE.0).property("height", SIZE.1);
        for (name, value) in settings {
            mux = mux.property_from_str(name, value);
        }
        let mux = mux.build().unwrap();
        let (said, out) = channel();
        let told = said.clone();
        let library = Library::own(Abi::V90);
        let sink = gst::Pad::builder(gst::PadDirection::Sink)
            .chain_function(move |_, _, buffer| {
                let _ = said.send(Out::Batch(read(&library, &buffer)));
                Ok(gst::FlowSuccess::Ok)
            })
            .event_function(move |_, _, event| {
                let source = event.structure().and_then(|said| said.get("source-id").ok());
                let name = match event.view() {
                    gst::EventView::CustomDownstream(custom) => custom.structure().unwrap().name().to_string(),
                    _ => event.type_().name().to_string(),
                };
                told.send(Out::Event(name, source)).is_ok()
            })
            .build();
        sink.set_active(true).unwrap();
        mux.static_pad("src").unwrap().link(&sink).unwrap();
        mux.set_state(gst::State::Playing).unwrap();
        Self { mux, sink, out }
    }

    /// Adds an input for pictures of a size.
    pub(crate) fn input(&self, name: &str, (width, height): (u32, u32)) -> Input {
        let info = gstreamer_video::VideoInfo::builder(gstreamer_video::VideoFormat::Nv12, width, height).build();
        let mut caps = info.as_ref().unwrap().to_caps().unwrap();
        caps.make_mut().set_features(0, Some(gst::CapsFeatures::new(["memory:NVMM"])));
        let src = gst::Pad::builder(gst::PadDirection::Src).build();
        src.set_active(true).unwrap();
        let pad = self.mux.request_pad_simple(name).unwrap();
        src.link(&pad).unwrap();
        assert!(src.push_event(gst::event::StreamStart::new("test")));
        assert!(src.push_event(gst::event::Caps::new(&caps)));
        assert!(src.push_event(gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new())));
        Input { src, pad, bytes: info.unwrap().size() }
    }

    /// What comes next.
    pub(crate) fn next(&self) -> Out {
        self.out.recv_timeout(SOON).unwrap()
    }

    /// The next batch; events before it are dropped.
    pub(crate) fn batch(&self) -> Vec<(FrameInfo, u8)> {
        loop {
            if let Out::Batch(frames) = self.next() {
                return frames;
            }
        }
    }

    /// The next thing told of an input; batches before it are dropped.
    pub(crate) fn told(&self) -> (String, Option<u32>) {
        loop {
            if let Out::Event(name, source) = self.next()
                && (source.is_some() || name == "eos")
            {
                return (name, source);
            }
        }
    }

    /// What came and was not asked for.
    pub(crate) fn rest(&self) -> Vec<Out> {
        self.out.try_iter().collect()
    }

    pub(crate) fn nothing_came(&self) -> bool {
        self.rest().iter().all(|out| matches!(out, Out::Event(..)))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.sink.set_active(false);
        self.mux.set_state(gst::State::Null).unwrap();
    }
}

#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) src: gst::Pad,
    pub(crate) pad: gst::Pad,
    bytes: usize,
}

impl Input {
    /// A picture that is all of one byte; `kept` lives as long as its memory.
    pub(crate) fn picture(&self, byte: u8, ms: u64, kept: Option<Arc<()>>) -> gst::Buffer {
        let mut buffer = gst::Buffer::from_mut_slice(Pixels { bytes: vec![byte; self.bytes], _kept: kept });
        buffer.get_mut().unwrap().set_pts(gst::ClockTime::from_mseconds(ms));
        buffer
    }

    pub(crate) fn push(&self, byte: u8, ms: u64) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.src.push(self.picture(byte, ms, None))
    }
}

struct Pixels {
    bytes: Vec<u8>,
    _kept: Option<Arc<()>>,
}

impl AsMut<[u8]> for Pixels {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

fn read(library: &Arc<Library>, buffer: &gst::Buffer) -> Vec<(FrameInfo, u8)> {
    let pixels = buffer.map_readable().unwrap();
    let picture = (SIZE.0 * SIZE.1 * 3 / 2) as usize;
    let batch = library.read_batch(buffer).unwrap().expect("every buffer has its batch");
    let mut frames: Vec<_> = batch
        .frames()
        .map(|frame| {
            let info = FrameInfo {
                source_id: frame.source_id(),
                pad_index: frame.pad_index(),
                batch_id: frame.batch_id(),
                frame_num: frame.frame_num(),
                pts: frame.pts(),
                source_size: frame.source_size(),
                pipeline_size: frame.pipeline_size(),
            };
            let first = pixels[info.batch_id as usize * picture];
            (info, first)
        })
        .collect();
    frames.sort_by_key(|(frame, _)| frame.batch_id);
    assert_eq!(pixels.len(), frames.len() * picture);
    frames
}
