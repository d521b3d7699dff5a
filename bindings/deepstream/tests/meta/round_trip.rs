//! What goes in comes out, through copies and after the original is gone.

use aivms_deepstream::{DataType, Frame, MetaError, Object, Rect, TensorError, tensors_alive};
use gstreamer as gst;

use super::{counted, frame_info, libraries, person, tensors};

#[test]
fn a_buffer_without_a_batch_has_none() {
    for library in libraries() {
        let mut buffer = gst::Buffer::new();
        assert!(library.batch(buffer.get_mut().unwrap()).unwrap().is_none());
        assert!(library.read_batch(&buffer).unwrap().is_none());
    }
}

#[test]
fn a_second_batch_on_a_buffer_is_refused() {
    for library in libraries() {
        let mut buffer = gst::Buffer::new();
        library.attach_batch(buffer.get_mut().unwrap(), 1).unwrap();
        let second = library.attach_batch(buffer.get_mut().unwrap(), 1);
        assert!(matches!(second, Err(MetaError::AlreadyAttached)));
    }
}

#[test]
fn frames_say_what_the_muxer_said() {
    for library in libraries() {
        let mut buffer = gst::Buffer::new();
        let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 4).unwrap();
        for source in 0..4 {
            batch.add_frame(&frame_info(source)).unwrap();
        }
        let mut late = frame_info(9);
        (late.pts, late.pipeline_size) = (None, None);
        batch.add_frame(&late).unwrap().set_detected(true);

        let batch = library.read_batch(&buffer).unwrap().unwrap();
        let mut frames: Vec<_> = batch.frames().collect();
        frames.sort_by_key(Frame::pad_index);
        assert_eq!(frames.len(), 5);
        for (source, frame) in frames[..4].iter().enumerate() {
            let info = frame_info(source as u32);
            assert_eq!(frame.source_id(), info.source_id);
            assert_eq!((frame.batch_id(), frame.frame_num()), (info.batch_id, info.frame_num));
            assert_eq!(frame.pts(), info.pts);
            assert_eq!((frame.source_size(), frame.pipeline_size()), (info.source_size, info.pipeline_size));
            assert!(!frame.detected());
        }
        assert_eq!((frames[4].pts(), frames[4].pipeline_size()), (None, None));
        assert!(frames[4].detected());
    }
}

#[test]
fn a_new_object_is_untracked_and_has_its_box_in_both_places() {
    for library in libraries() {
        let mut buffer = gst::Buffer::new();
        let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 1).unwrap();
        let mut frame = batch.add_frame(&frame_info(0)).unwrap();
        frame.add_object(&person(10.0)).unwrap();
        let object = frame.objects().next().unwrap();
        let rect = Rect { left: 10.0, top: 20.0, width: 30.0, height: 40.0 };
        assert_eq!((object.rect(), object.detector_box()), (rect, Some(rect)));
        assert_eq!((object.object_id(), object.tracker_confidence()), (None, None));
        assert_eq!((object.class_id(), object.component_id(), object.confidence()), (0, 1, Some(0.75)));
        assert_eq!(object.label(), "person");
    }
}

#[test]
fn a_tracker_moves_numbers_and_removes_objects() {
    for library in libraries() {
        let mut buffer = gst::Buffer::new();
        let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 1).unwrap();
        let mut frame = batch.add_frame(&frame_info(0)).unwrap();
        for left in 0..5 {
            frame.add_object(&person(left as f32)).unwrap();
        }
        let moved = Rect { left: 1.0, top: 2.0, width: 3.0, height: 4.0 };
        frame.retain_objects(|object| {
            object.set_object_id(Some(u64::MAX - 1 - object.rect().left as u64));
            object.set_tracker_confidence(Some(0.5));
            object.rect().left >= 3.0
        });
        for mut object in frame.objects_mut() {
            object.set_rect(moved);
        }
        frame.objects_mut().for_each(|mut object| {
            if object.object_id() == Some(u64::MAX - 4) {
                object.set_detector_box(None);
            }
        });
        let mut objects: Vec<_> = frame.objects().collect();
        objects.sort_by_key(Object::object_id);
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0].object_id(), Some(u64::MAX - 5), "all 64 bits count");
        assert_eq!((objects[0].rect(), objects[0].tracker_confidence()), (moved, Some(0.5)));
        assert_eq!(objects[0].detector_box().unwrap().left, 4.0);
        assert_eq!(objects[1].detector_box(), None, "a box of no size is none");
    }
}

#[test]
fn tensors_are_read_where_they_lie_and_freed_with_the_last_buffer() {
    let _counted = counted();
    for library in libraries() {
        let before = tensors_alive();
        let values: Vec<f32> = (0..500).map(|value| value as f32 / 8.0).collect();
        let mut original = gst::Buffer::new();
        let mut batch = library.attach_batch(original.get_mut().unwrap(), 2).unwrap();
        for source in 0..2 {
            batch.add_frame(&frame_info(source)).unwrap().attach_tensors(tensors(&values)).unwrap();
        }
        assert_eq!(tensors_alive(), before + 2);

        let copy = original.copy();
        assert_eq!(tensors_alive(), before + 4, "a copy of the buffer has its own");
        drop(original);
        assert_eq!(tensors_alive(), before + 2);

        let batch = library.read_batch(&copy).unwrap().expect("a copy keeps its batch");
        assert_eq!(batch.frames().count(), 2);
        for frame in batch.frames() {
            let output = frame.tensors().next().unwrap();
            assert_eq!((output.unique_id(), output.network()), (3, (640, 384)));
            assert!(output.maintain_aspect_ratio() && output.symmetric_padding());
            assert_eq!(output.layers().count(), 2);
            let layer = output.layer("boxes").unwrap();
            assert_eq!((layer.dims(), layer.data_type()), (&[500, 1][..], DataType::F32));
            assert_eq!(layer.data().unwrap(), values);
            assert_eq!(output.layer("empty").unwrap().data().unwrap(), []);
            assert!(matches!(output.layer("scores"), Err(TensorError::NoLayer { .. })));
        }
        drop(copy);
        assert_eq!(tensors_alive(), before);
    }
}

#[test]
fn tensors_are_removed_by_the_number_of_their_element() {
    let _counted = counted();
    for library in libraries() {
        let before = tensors_alive();
        let mut buffer = gst::Buffer::new();
        let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 1).unwrap();
        let mut frame = batch.add_frame(&frame_info(0)).unwrap();
        let mut other = tensors(&[1.0]);
        other.unique_id = 4;
        for outputs in [tensors(&[1.0]), other, tensors(&[2.0])] {
            frame.attach_tensors(outputs).unwrap();
        }
        assert_eq!(frame.remove_tensors(Some(3)), 2);
        assert_eq!(frame.tensors().map(|output| output.unique_id()).collect::<Vec<_>>(), [4]);
        assert_eq!(tensors_alive(), before + 1, "removed ones are freed at once");
        assert_eq!(frame.remove_tensors(None), 1);
        assert_eq!((frame.tensors().count(), tensors_alive()), (0, before));
    }
}

#[test]
fn objects_and_frames_survive_a_copy_of_the_buffer_and_the_end_of_the_original() {
    for library in libraries() {
        let mut original = gst::Buffer::new();
        let mut batch = library.attach_batch(original.get_mut().unwrap(), 1).unwrap();
        let mut frame = batch.add_frame(&frame_info(2)).unwrap();
        for left in 0..40 {
            frame.add_object(&person(left as f32)).unwrap().set_object_id(Some(left));
        }
        let mut copy = original.copy();
        // The original is changed afterwards: the copy must not see it.
        let mut batch = library.batch(original.get_mut().unwrap()).unwrap().unwrap();
        batch.frames_mut().for_each(|mut frame| frame.retain_objects(|_| false));
        drop(original);

        let batch = library.batch(copy.get_mut().unwrap()).unwrap().unwrap();
        let frame = batch.frames().next().unwrap();
        assert_eq!((frame.source_id(), frame.pts()), (102, Some(80_000_000)));
        let mut lefts: Vec<_> = frame.objects().map(|object| object.rect().left).collect();
        lefts.sort_by(f32::total_cmp);
        assert_eq!(lefts, (0..40).map(|left| left as f32).collect::<Vec<_>>());
        assert!(frame.objects().all(|object| object.label() == "person"));
    }
}

#[test]
fn pools_grow_beyond_what_they_started_with() {
    for library in libraries() {
        let mut buffer = gst::Buffer::new();
        let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 1).unwrap();
        for source in 0..20 {
            let mut frame = batch.add_frame(&frame_info(source)).unwrap();
            for left in 0..100 {
                frame.add_object(&person(left as f32)).unwrap();
            }
        }
        assert_eq!(batch.frames().count(), 20);
        assert_eq!(batch.frames().map(|frame| frame.objects().count()).sum::<usize>(), 2000);
    }
}

#[test]
fn an_object_that_is_no_number_is_refused_by_the_name_of_its_field() {
    for library in libraries() {
        let mut buffer = gst::Buffer::new();
        let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 1).unwrap();
        let mut frame = batch.add_frame(&frame_info(0)).unwrap();
        let error = frame.add_object(&person(f32::NAN)).unwrap_err();
        assert!(error.to_string().contains("rect.left"), "{error}");
        assert_eq!(frame.objects().count(), 0);
    }
}

#[test]
fn another_library_s_batch_is_invisible_or_refused() {
    let all = libraries();
    // All are made first: NVIDIA's library learns its own tag when it first attaches something.
    let buffers: Vec<_> = all
        .iter()
        .map(|library| {
            let mut buffer = gst::Buffer::new();
            library.attach_batch(buffer.get_mut().unwrap(), 1).unwrap();
            buffer
        })
        .collect();
    for (maker, buffer) in buffers.iter().enumerate() {
        for (reader, library) in all.iter().enumerate() {
            match library.read_batch(buffer) {
                Ok(Some(_)) => assert_eq!(maker, reader),
                Ok(None) => assert!((maker == 2) != (reader == 2), "own libraries see each other's batches"),
                Err(MetaError::Layout { .. }) => assert!(maker < 2 && reader < 2 && maker != reader),
                Err(error) => panic!("{error}"),
            }
        }
    }
}
