//! Whatever objects go in come out, whatever their labels and numbers.

use aivms_deepstream::{NewObject, Rect};
use gstreamer as gst;
use proptest::prelude::*;

use super::{frame_info, libraries};

#[derive(Debug, Clone)]
struct Made {
    class_id: i32,
    label: String,
    confidence: f32,
    rect: [f32; 4],
    component_id: i32,
    object_id: Option<u64>,
}

fn made() -> impl Strategy<Value = Made> {
    let number = -1e6_f32..1e6;
    let rect = [number.clone(), number, 0.01..1e6_f32, 0.01..1e6_f32];
    let id = proptest::option::of(0..u64::MAX);
    (any::<i32>(), ".{0,200}", 0.0..=1.0_f32, rect, any::<i32>(), id).prop_map(
        |(class_id, label, confidence, rect, component_id, object_id)| Made {
            class_id,
            label,
            confidence,
            rect,
            component_id,
            object_id,
        },
    )
}

impl Made {
    fn rect(&self) -> Rect {
        let [left, top, width, height] = self.rect;
        Rect { left, top, width, height }
    }

    /// What a label of 127 bytes at most keeps of a text, up to the first NUL.
    fn kept_label(&self) -> &str {
        let end = self.label.find('\0').unwrap_or(self.label.len()).min(127);
        let end = (0..=end).rev().find(|&end| self.label.is_char_boundary(end)).unwrap();
        &self.label[..end]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_objects_go_in_come_out_of_the_buffer_and_of_its_copy(frames in prop::collection::vec(prop::collection::vec(made(), 0..12), 1..5)) {
        for library in libraries() {
            let mut buffer = gst::Buffer::new();
            let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 4).unwrap();
            for (source, objects) in frames.iter().enumerate() {
                let mut frame = batch.add_frame(&frame_info(source as u32)).unwrap();
                for (number, one) in objects.iter().enumerate() {
                    let Made { class_id, confidence, component_id, .. } = *one;
                    let new = NewObject { class_id, label: &one.label, confidence, rect: one.rect(), component_id };
                    let mut object = frame.add_object(&new).unwrap();
                    object.set_object_id(one.object_id);
                    object.set_tracker_confidence(Some(number as f32));
                }
            }
            for buffer in [buffer.copy(), buffer] {
                let batch = library.read_batch(&buffer).unwrap().unwrap();
                prop_assert_eq!(batch.frames().count(), frames.len());
                for frame in batch.frames() {
                    let expected = &frames[frame.pad_index() as usize];
                    prop_assert_eq!(frame.objects().count(), expected.len());
                    for object in frame.objects() {
                        let one = &expected[object.tracker_confidence().unwrap() as usize];
                        prop_assert_eq!(object.class_id(), one.class_id);
                        prop_assert_eq!(object.label(), one.kept_label());
                        prop_assert_eq!(object.confidence(), Some(one.confidence));
                        prop_assert_eq!(object.rect(), one.rect());
                        prop_assert_eq!(object.detector_box(), Some(one.rect()));
                        prop_assert_eq!(object.component_id(), one.component_id);
                        prop_assert_eq!(object.object_id(), one.object_id);
                    }
                }
            }
        }
    }
}
