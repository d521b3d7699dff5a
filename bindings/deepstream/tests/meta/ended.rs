//! Ended tracks: read back as written, in both layouts, through copies.

use aivms_deepstream::{EndedTrack, EndedTrackFrame, Rect};
use gstreamer as gst;

use super::{frame_info, libraries};

fn track(pad_index: u32, object_id: u64, frames: u32) -> EndedTrack {
    let frame = |age: u32| EndedTrackFrame {
        frame_num: 1000 + age,
        rect: Rect { left: age as f32, top: 2.0, width: 3.0, height: 4.0 },
        confidence: age.is_multiple_of(2).then_some(0.25),
        age,
    };
    EndedTrack { pad_index, object_id, class_id: 2, label: "car".to_owned(), frames: (0..frames).map(frame).collect() }
}

#[test]
fn ended_tracks_come_out_as_they_went_in_and_survive_a_copy() {
    let ended = [track(0, 5, 3), track(0, u64::MAX - 1, 0), track(4, 5, 1)];
    for library in libraries() {
        let mut buffer = gst::Buffer::new();
        let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 1).unwrap();
        batch.add_frame(&frame_info(0)).unwrap();
        assert_eq!(batch.ended_tracks(), []);
        batch.attach_ended_tracks(&ended).unwrap();
        assert_eq!(batch.ended_tracks(), ended);
        let copy = buffer.copy();
        drop(buffer);
        assert_eq!(library.read_batch(&copy).unwrap().unwrap().ended_tracks(), ended);
    }
}
