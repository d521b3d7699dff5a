//! The element around the trackers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use aivms_appliance_core::detection::{ClassId, Detected, Tracked};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;
use aivms_deepstream::{FrameMut, NewObject, Object, Rect};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer_base as gst_base;
use gstreamer_base::subclass::prelude::*;

use super::config::{self, Config};
use super::follow::{Follower, origin};
use crate::elements::{Values, boolean, describe, keep_properties, lock, text, uint};
use crate::mux::news;
use crate::nvmm::BATCHED;

/// What NVIDIA's metadata says of an object that no detector saw in the frame.
const NOT_DETECTED: f32 = -0.1;

#[derive(Default)]
pub(crate) struct Tracker {
    values: Values,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    config: Option<Config>,
    /// By number of the input.
    followers: BTreeMap<u32, Follower>,
    /// Names and detectors of the classes that have been seen.
    classes: BTreeMap<ClassId, (String, i32)>,
}

#[glib::object_subclass]
impl ObjectSubclass for Tracker {
    const NAME: &'static str = "AivmsStandinTracker";
    type Type = super::Tracker;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for Tracker {
    keep_properties!(
        text("ll-lib-file"),
        text("ll-config-file"),
        uint("tracker-width", 960),
        uint("tracker-height", 544),
        boolean("display-tracking-id", true)
    );
}

impl GstObjectImpl for Tracker {}

impl ElementImpl for Tracker {
    describe!("Tracker", "Filter/Effect/Video", [BATCHED, BATCHED]);
}

impl BaseTransformImpl for Tracker {
    const MODE: gst_base::subclass::BaseTransformMode = gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let refuse = |why: String| gst::error_msg!(gst::LibraryError::Settings, ("{why}"));
        let library = self.values.text("ll-lib-file").ok_or_else(|| refuse("ll-lib-file must be set".into()))?;
        if !Path::new(&library).is_file() {
            return Err(refuse(format!("ll-lib-file: there is no {library}")));
        }
        let path = self.values.text("ll-config-file").ok_or_else(|| refuse("ll-config-file must be set".into()))?;
        let text = std::fs::read_to_string(&path).map_err(|error| refuse(format!("{path}: {error}")))?;
        let config = config::parse(&text).map_err(|error| refuse(format!("{path}: {error}")))?;
        *lock(&self.state) = State { config: Some(config), ..State::default() };
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if let gst::EventView::CustomDownstream(news) = event.view()
            && let Some(said) = news.structure()
            && [news::PAD_ADDED, news::PAD_DELETED, news::STREAM_EOS].contains(&said.name().as_str())
            && let Ok(source) = said.get::<u32>(news::SOURCE)
        {
            lock(&self.state).followers.remove(&source);
        }
        self.parent_sink_event(event)
    }

    fn transform_ip(&self, buffer: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.follow(buffer).map_err(|why| {
            gst::element_imp_error!(self, gst::StreamError::Failed, ("{why}"));
            gst::FlowError::Error
        })
    }
}

impl Tracker {
    fn follow(&self, buffer: &mut gst::BufferRef) -> Result<gst::FlowSuccess, String> {
        let library = crate::meta::library()?;
        let batch = library.batch(buffer).map_err(|error| error.to_string())?;
        let mut batch = batch.ok_or("a buffer without batch metadata")?;
        let mut frames: Vec<_> = batch.frames_mut().collect();
        // An input may have several frames in a batch; the order of the list says nothing.
        frames.sort_by_key(|frame| frame.batch_id());
        let mut state = lock(&self.state);
        for frame in &mut frames {
            state.on_frame(frame)?;
        }
        Ok(gst::FlowSuccess::Ok)
    }
}

impl State {
    fn on_frame(&mut self, frame: &mut FrameMut<'_>) -> Result<(), String> {
        let config = self.config.ok_or("not started")?;
        let (width, height) = frame.pipeline_size().ok_or("a frame without the size of its picture")?;
        let size = FrameSize { width, height };
        let at = MediaTime::from_nanos(frame.pts().ok_or("a frame without a time")?);
        let source = frame.source_id();
        let follower = self.followers.entry(source).or_insert_with(|| Follower::new(config));
        let number = |track: u64| if config.unique_ids { (u64::from(source) + 1) << 32 | track } else { track };
        if !frame.detected() {
            let predicted = follower.predict(at, size);
            return predicted.iter().try_for_each(|object| add(frame, object, number(object.track), &self.classes));
        }
        let found: Vec<_> = frame.objects().map(|object| read(&object)).collect();
        for (object, read) in frame.objects().zip(&found) {
            let (class, ..) = read.as_ref().map_err(Clone::clone)?;
            self.classes.entry(*class).or_insert_with(|| (object.label().into_owned(), object.component_id()));
        }
        let found: Vec<_> = found.into_iter().collect::<Result<_, _>>()?;
        let mut detected: Vec<_> =
            found.iter().map(|&(class, confidence, bbox)| Detected { class, confidence, bbox }).collect();
        // The list says nothing by its order, so that of the decoder is restored.
        detected.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        let confirmed = follower.update(at, size, &detected);
        let mut of_object: Vec<Option<Tracked>> = vec![None; found.len()];
        for object in confirmed {
            let taken: Vec<_> = of_object.iter().map(Option::is_some).collect();
            if let Some(at) = origin(&object, &found, &taken) {
                of_object[at] = Some(object);
            }
        }
        let mut of_object = of_object.into_iter();
        frame.retain_objects(|object| {
            let Some(confirmed) = of_object.next().flatten() else { return false };
            object.set_object_id(Some(number(confirmed.track)));
            object.set_rect(rect(confirmed.bbox));
            object.set_tracker_confidence(Some(1.0));
            true
        });
        Ok(())
    }
}

fn read(object: &Object<'_>) -> Result<(ClassId, f32, PixelBox), String> {
    let class = ClassId::try_from(object.class_id()).map_err(|_| format!("class {}", object.class_id()))?;
    let Rect { left, top, width, height } = object.rect();
    let bbox = PixelBox::new(left, top, left + width, top + height).map_err(|error| error.to_string())?;
    Ok((class, object.confidence().ok_or("an object without confidence")?, bbox))
}

fn add(
    frame: &mut FrameMut<'_>,
    object: &Tracked,
    number: u64,
    classes: &BTreeMap<ClassId, (String, i32)>,
) -> Result<(), String> {
    let Some((label, component_id)) = classes.get(&object.class) else { return Ok(()) };
    let (rect, class_id) = (rect(object.bbox), i32::from(object.class));
    let new = NewObject { class_id, label, confidence: NOT_DETECTED, rect, component_id: *component_id };
    let mut added = frame.add_object(&new).map_err(|error| error.to_string())?;
    added.set_object_id(Some(number));
    added.set_detector_box(None);
    added.set_tracker_confidence(Some(1.0));
    Ok(())
}

fn rect(bbox: PixelBox) -> Rect {
    let [left, top, right, bottom] = bbox.corners();
    Rect { left, top, width: right - left, height: bottom - top }
}
