//! The muxer's batches, and inputs that come and go.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::SOON;
use crate::bench::{Bench, Out, SIZE};

const AT_ONCE: [(&str, &str); 2] = [("batch-size", "1"), ("batched-push-timeout", "33000")];
const FULL_ONLY: [(&str, &str); 2] = [("batch-size", "3"), ("batched-push-timeout", "-1")];

#[test]
fn each_frame_of_a_batch_tells_its_input_its_size_and_its_time() {
    let bench = Bench::start(&FULL_ONLY);
    let (near, far) = (bench.input("sink_0", SIZE), bench.input("sink_7", (128, 96)));
    near.push(10, 40).unwrap();
    far.push(20, 1000).unwrap();
    near.push(30, 80).unwrap();
    let batch = bench.batch();
    let told: Vec<_> = batch
        .iter()
        .map(|(frame, byte)| (frame.source_id, frame.frame_num, frame.pts.unwrap() / 1_000_000, *byte))
        .collect();
    assert_eq!(told, [(0, 0, 40, 10), (7, 0, 1000, 20), (0, 1, 80, 30)]);
    let sizes: Vec<_> = batch.iter().map(|(frame, _)| frame.source_size).collect();
    assert_eq!(sizes, [SIZE, (128, 96), SIZE]);
    assert!(batch.iter().all(|(frame, _)| frame.pipeline_size == Some(SIZE) && frame.pad_index == frame.source_id));
}

#[test]
fn a_batch_waits_until_it_is_full_where_there_is_no_time_out() {
    let bench = Bench::start(&FULL_ONLY);
    let input = bench.input("sink_0", SIZE);
    input.push(1, 0).unwrap();
    input.push(2, 40).unwrap();
    assert!(bench.nothing_came());
    input.push(3, 80).unwrap();
    assert_eq!(bench.batch().len(), 3);
}

#[test]
fn a_lone_picture_goes_when_the_time_out_is_over() {
    let bench = Bench::start(&[("batch-size", "16"), ("batched-push-timeout", "5000")]);
    let (input, _silent) = (bench.input("sink_0", SIZE), bench.input("sink_1", SIZE));
    input.push(9, 40).unwrap();
    assert_eq!(bench.batch().len(), 1);
}

#[test]
fn inputs_are_named_by_the_smallest_free_number() {
    let bench = Bench::start(&AT_ONCE);
    let (first, second) = (bench.input("sink_%u", SIZE), bench.input("sink_%u", SIZE));
    assert_eq!((first.pad.name(), second.pad.name()), ("sink_0".into(), "sink_1".into()));
    bench.mux.release_request_pad(&first.pad);
    assert_eq!(bench.input("sink_%u", SIZE).pad.name(), "sink_0");
    assert!(bench.mux.request_pad_simple("sink_1").is_none(), "it is taken");
}

#[test]
fn an_input_comes_and_goes_while_another_flows() {
    let bench = Bench::start(&AT_ONCE);
    let steady = bench.input("sink_0", SIZE);
    let (mut pushed, mut seen) = (0, vec![]);
    let mut both = |other: Option<&crate::bench::Input>| {
        pushed += 1;
        steady.push(1, pushed * 40).unwrap();
        let count = other.map_or(1, |other| {
            other.push(2, pushed * 40).unwrap();
            2
        });
        for _ in 0..count {
            seen.extend(bench.batch().iter().map(|(frame, _)| (frame.source_id, frame.frame_num)));
        }
    };
    for _ in 0..20 {
        both(None);
        let other = bench.input("sink_1", (32, 32));
        both(Some(&other));
        // As the engine does: whatever waits in the branch is let go before the pad is taken away.
        assert!(other.src.push_event(gst::event::FlushStart::new()));
        assert!(other.src.push_event(gst::event::FlushStop::new(false)));
        bench.mux.release_request_pad(&other.pad);
        assert_eq!(other.push(3, 0), Err(gst::FlowError::NotLinked));
    }
    let of = |source| seen.iter().filter(move |(seen, _)| *seen == source).map(|(_, number)| *number);
    assert!(of(0).eq(0..40), "no frame of the other input is lost");
    assert!(of(1).eq([0; 20]), "a new input counts anew");
}

#[test]
fn an_input_that_is_held_up_is_set_free_by_a_flush_and_by_its_release() {
    let bench = Bench::start(&[("batch-size", "100"), ("batched-push-timeout", "-1")]);
    for release in [false, true] {
        let input = bench.input("sink_0", SIZE);
        let pusher = input.clone();
        let (said, heard) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let refused = (0..1000).find_map(|n| {
                let flow = pusher.push(1, n);
                let _ = said.send(n);
                flow.err()
            });
            refused.unwrap()
        });
        while heard.recv_timeout(SOON).unwrap() < 3 {}
        if release {
            bench.mux.release_request_pad(&input.pad);
            assert!(matches!(thread.join().unwrap(), gst::FlowError::Flushing | gst::FlowError::NotLinked));
        } else {
            assert!(input.src.push_event(gst::event::FlushStart::new()));
            assert_eq!(thread.join().unwrap(), gst::FlowError::Flushing);
            bench.mux.release_request_pad(&input.pad);
        }
    }
    assert!(bench.nothing_came());
}

#[test]
fn a_flush_of_one_input_is_heard_by_nobody_else() {
    let bench = Bench::start(&AT_ONCE);
    let (flushed, other) = (bench.input("sink_0", SIZE), bench.input("sink_1", SIZE));
    assert!(flushed.src.push_event(gst::event::FlushStart::new()));
    assert_eq!(flushed.push(4, 0), Err(gst::FlowError::Flushing));
    assert!(flushed.src.push_event(gst::event::FlushStop::new(false)));
    assert!(bench.rest().iter().all(|out| !matches!(out, Out::Event(name, _) if name.starts_with("flush"))));
    other.push(5, 40).unwrap();
    assert_eq!(bench.batch()[0].0.source_id, 1);
}

#[test]
fn the_end_of_one_input_is_told_and_the_end_of_all_ends_the_stream() {
    let bench = Bench::start(&[("batch-size", "4"), ("batched-push-timeout", "-1")]);
    let (first, second) = (bench.input("sink_0", SIZE), bench.input("sink_1", SIZE));
    let added = [bench.told(), bench.told()];
    assert_eq!(added, [0, 1].map(|n| ("nvevent-pad-added".to_owned(), Some(n))));
    assert!(first.src.push_event(gst::event::Eos::new()));
    assert_eq!(bench.told(), ("nvevent-stream-eos".to_owned(), Some(0)));
    assert_eq!(first.push(1, 0), Err(gst::FlowError::Eos));
    second.push(2, 40).unwrap();
    assert!(second.src.push_event(gst::event::Eos::new()));
    assert!(matches!(bench.next(), Out::Batch(frames) if frames.len() == 1), "what waited goes before the end");
    assert_eq!(bench.told(), ("nvevent-stream-eos".to_owned(), Some(1)));
    assert_eq!(bench.told(), ("eos".to_owned(), None));
}

#[test]
fn a_thousand_buffers_leave_nothing_behind() {
    let kept = Arc::new(());
    let bench = Bench::start(&[("batch-size", "4"), ("batched-push-timeout", "1000")]);
    let inputs = [bench.input("sink_0", SIZE), bench.input("sink_1", (128, 96))];
    for n in 0..500 {
        for input in &inputs {
            input.src.push(input.picture(1, n * 40, Some(Arc::clone(&kept)))).unwrap();
        }
    }
    let mut frames = 0;
    while frames < 1000 {
        frames += bench.batch().len();
    }
    assert_eq!(frames, 1000);
    drop(bench);
    assert_eq!(Arc::strong_count(&kept), 1, "pictures are still held");
}
