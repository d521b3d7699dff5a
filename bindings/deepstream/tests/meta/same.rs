//! Our own implementation does what NVIDIA's does, as far as anything here can see.

use std::sync::Arc;

use aivms_deepstream::{Abi, Library};
use gstreamer as gst;

use super::{counted, frame_info, libraries, person, real, tensors};

/// Does many operations and writes down all that can be seen after each, list orders included.
fn diary(library: &Arc<Library>) -> Vec<String> {
    let mut diary = Vec::new();
    let mut note = |what: &str, buffer: &gst::Buffer| {
        let batch = library.read_batch(buffer).unwrap().unwrap();
        let frames: Vec<_> = batch
            .frames()
            .map(|frame| {
                let objects: Vec<_> = frame
                    .objects()
                    .map(|object| (object.rect().left, object.object_id(), object.label().into_owned()))
                    .collect();
                let tensors: Vec<_> = frame.tensors().map(|output| output.unique_id()).collect();
                format!("{} {:?} {} {objects:?} {tensors:?}", frame.pad_index(), frame.pts(), frame.detected())
            })
            .collect();
        diary.push(format!("{what}: {frames:#?}"));
    };
    let mut buffer = gst::Buffer::new();
    let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 2).unwrap();
    for source in 0..3 {
        let mut frame = batch.add_frame(&frame_info(source)).unwrap();
        for left in 0..4 {
            frame.add_object(&person(left as f32)).unwrap().set_object_id(Some(left));
            let mut outputs = tensors(&[left as f32]);
            outputs.unique_id = left as u32;
            frame.attach_tensors(outputs).unwrap();
        }
    }
    note("made", &buffer);
    note("copied", &buffer.copy());
    note("copied twice", &buffer.copy().copy());
    let mut batch = library.batch(buffer.get_mut().unwrap()).unwrap().unwrap();
    for mut frame in batch.frames_mut() {
        frame.set_detected(frame.pad_index() != 1);
        frame.remove_tensors(Some(2));
        frame.retain_objects(|object| object.object_id() != Some(1));
    }
    note("changed", &buffer);
    note("changed and copied", &buffer.copy());
    let region = buffer.copy_region(gst::BufferCopyFlags::META, ..).unwrap();
    note("region of everything", &region);
    diary
}

#[test]
fn both_of_our_layouts_behave_alike() {
    let _counted = counted();
    libraries();
    assert_eq!(diary(&Library::own(Abi::V71)), diary(&Library::own(Abi::V90)));
}

#[test]
fn our_own_library_behaves_as_nvidia_s_does() {
    let _counted = counted();
    libraries();
    if let Some(real) = real() {
        assert_eq!(diary(&Library::own(Abi::V90)), diary(&real));
    }
}
