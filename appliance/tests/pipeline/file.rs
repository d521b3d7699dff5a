//! A file as a camera: it never ends, its time only goes forward, and it plays at its own speed.

use std::time::{Duration, Instant};

use aivms_appliance::pipeline::access_unit::{AccessUnit, fan_out};
use aivms_appliance::pipeline::source::{Source, SourceEnd, SourceOutput, address::Address};
use aivms_appliance_core::supervise::Failure;
use aivms_contract::geometry::FrameSize;

fn collect(address: &Address, until: impl Fn(&[AccessUnit]) -> bool) -> Vec<AccessUnit> {
    let (units, mut received) = fan_out();
    let (output, _end) = SourceOutput::new(units);
    let source = Source::start(address, output).unwrap();
    let (start, mut all) = (Instant::now(), vec![]);
    while !until(&all) {
        assert!(start.elapsed() < Duration::from_secs(30), "only {} units", all.len());
        match received.try_recv() {
            Ok(unit) => all.push(unit),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    source.stop();
    all
}

fn first_end(address: &Address) -> SourceEnd {
    let (units, _received) = fan_out();
    let (output, mut ends) = SourceOutput::new(units);
    match Source::start(address, output) {
        Err(failure) => failure.into(),
        Ok(source) => {
            let end = ends.blocking_recv().unwrap();
            source.stop();
            end
        }
    }
}

#[test]
fn a_file_plays_in_real_time_and_its_time_goes_on_over_the_end() {
    // 1.2 s of 25 pictures per second, so that 3 s cross the end twice.
    let folder = tempfile::tempdir().unwrap();
    let address = Address::File(crate::video::mp4(folder.path(), 30, FrameSize { width: 320, height: 240 }));
    let start = Instant::now();
    let units = collect(&address, |units| units.len() == 76);
    let took = start.elapsed();
    assert!(units.windows(2).all(|pair| pair[0].at < pair[1].at), "time goes back");
    let media = units[75].at.since(units[0].at);
    assert_eq!(media, Duration::from_secs(3), "75 pictures of 40 ms");
    assert!(took >= Duration::from_millis(2900), "played in {took:?}");
    assert!(took <= Duration::from_millis(4500), "played in {took:?}");
    assert!(units[0].key && units[30].key && units[60].key, "each round begins with a key picture");
    assert_eq!(units[0].format.codec(), "H.264");
    let text = units[0].format.caps.to_string();
    assert!(text.contains("byte-stream") && text.contains("alignment=(string)au"), "{text}");
}

#[test]
fn the_demo_video_gives_every_picture_a_time() {
    let units = collect(&Address::File(crate::cache("video/vtest.avi")), |units| units.len() == 12);
    let steps: Vec<_> = units.windows(2).map(|pair| pair[1].at.since(pair[0].at).as_millis()).collect();
    assert_eq!(steps, [100; 11]);
    assert_eq!(units[0].format.frame, Some(FrameSize { width: 768, height: 576 }));
}

#[test]
fn a_file_that_is_missing_or_no_video_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.mp4");
    let end = first_end(&Address::File(missing.clone()));
    assert_eq!(end, Failure::Missing.into());
    let text = folder.path().join("text.mp4");
    std::fs::write(&text, "not a video at all, only words ".repeat(1000)).unwrap();
    let end = first_end(&Address::File(text));
    assert_eq!(end, Failure::NotVideo.into());
}

#[test]
fn a_pipe_that_nobody_writes_is_no_file_and_hangs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.mp4");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (said, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || said.send(first_end(&Address::File(pipe))));
    assert_eq!(end.recv_timeout(Duration::from_secs(15)).expect("it says so"), Failure::NotVideo.into());
}
