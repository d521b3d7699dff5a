//! Buffers on many threads, and one buffer read by many.

use std::thread;

use aivms_deepstream::tensors_alive;
use gstreamer as gst;

use super::{counted, frame_info, libraries, person, tensors};

#[test]
fn many_threads_make_copy_read_and_free_batches_of_their_own_and_lose_none() {
    let _counted = counted();
    for library in libraries() {
        let before = tensors_alive();
        thread::scope(|scope| {
            for worker in 0..8 {
                let library = &library;
                scope.spawn(move || {
                    for round in 0..50 {
                        let mut buffer = gst::Buffer::new();
                        let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 2).unwrap();
                        let mut frame = batch.add_frame(&frame_info(worker)).unwrap();
                        frame.attach_tensors(tensors(&[worker as f32, round as f32])).unwrap();
                        for left in 0..10 {
                            frame.add_object(&person(left as f32)).unwrap();
                        }
                        let copy = buffer.copy();
                        // What one thread made is freed by another.
                        let freed = thread::spawn(move || drop(buffer));
                        let batch = library.read_batch(&copy).unwrap().unwrap();
                        let frame = batch.frames().next().unwrap();
                        let values = frame.tensors().next().unwrap().layer("boxes").unwrap().data().unwrap();
                        assert_eq!(values, [worker as f32, round as f32]);
                        assert_eq!(frame.objects().count(), 10);
                        freed.join().unwrap();
                    }
                });
            }
        });
        assert_eq!(tensors_alive(), before);
    }
}

#[test]
fn many_readers_of_one_buffer_take_the_lock_in_turn_and_again_within() {
    for library in libraries() {
        let mut buffer = gst::Buffer::new();
        let mut batch = library.attach_batch(buffer.get_mut().unwrap(), 1).unwrap();
        let mut frame = batch.add_frame(&frame_info(0)).unwrap();
        for left in 0..30 {
            frame.add_object(&person(left as f32)).unwrap();
        }
        thread::scope(|scope| {
            for _ in 0..8 {
                let (library, buffer) = (&library, buffer.clone());
                scope.spawn(move || {
                    let batch = library.read_batch(&buffer).unwrap().unwrap();
                    for _ in 0..200 {
                        let _outer = batch.lock();
                        let _inner = batch.lock();
                        assert_eq!(batch.frames().map(|frame| frame.objects().count()).sum::<usize>(), 30);
                    }
                });
            }
        });
    }
}
