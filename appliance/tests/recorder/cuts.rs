//! Where segments begin, and that nothing is lost there.

use std::time::Duration;

use aivms_appliance::recorder::RecorderEvent;
use aivms_contract::footage::GapCause;
use aivms_contract::time::MediaClock;
use aivms_footage::track::VideoCodec;

use crate::material::{Material, Recipe, SMALL, sound};
use crate::probe::pictures_in;
use crate::rig::{Rig, at, within};

const SEGMENT: Duration = Duration::from_secs(2);

/// Feeds `count` pictures and checks that the files hold each of them once, in order, for us and for ffprobe.
async fn holds_all(recipe: Recipe, count: u64, segments: usize) {
    let dir = tempfile::tempdir().unwrap();
    let material = Material::new(dir.path(), recipe);
    let rig = Rig::complete(dir.path(), SEGMENT).await;
    let camera = rig.connect("gate", at(0));
    for number in 0..count {
        camera.feed(material.unit(number));
        camera.taken().await;
    }
    rig.disconnect(camera);
    rig.reaches("gate", at(i64::try_from(count * 40).unwrap() - 1)).await;
    rig.recorder.close().await;
    let found = rig.segments("gate");
    assert_eq!(found.len(), segments);
    assert!(found.iter().all(|segment| segment.closed && segment.fragments[0].key));
    assert!(found.windows(2).all(|pair| pair[0].end == pair[1].start), "{found:#?}");
    assert!(found.iter().flat_map(|segment| segment.fragments.iter()).all(|fragment| fragment.duration <= 90_000));
    let pictures = rig.pictures(&found);
    assert!(pictures.iter().eq((0..count).map(|number| material.stored(number))), "{}", pictures.len());
    assert_eq!(found.iter().map(|segment| pictures_in(&segment.path)).sum::<usize>() as u64, count);
}

#[tokio::test]
async fn cutting_h264_into_segments_loses_no_picture() {
    holds_all(SMALL, 160, 4).await;
}

#[tokio::test]
async fn cutting_h264_with_b_pictures_into_segments_loses_no_picture() {
    holds_all(Recipe { b_pictures: 2, gop: 24, pictures: 48, ..SMALL }, 160, 3).await;
}

#[tokio::test]
async fn cutting_h265_into_segments_loses_no_picture() {
    holds_all(Recipe { codec: VideoCodec::H265, b_pictures: 2, ..SMALL }, 130, 3).await;
}

#[tokio::test]
async fn a_camera_with_a_key_picture_every_ten_seconds_still_gives_a_fragment_each_second() {
    holds_all(Recipe { gop: 250, pictures: 250, ..SMALL }, 240, 1).await;
}

#[tokio::test]
async fn other_parameters_and_a_clock_that_was_set_begin_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let small = Material::new(dir.path(), SMALL);
    let large = Material::new(dir.path(), Recipe { size: (160, 128), ..SMALL });
    let rig = Rig::complete(dir.path(), Duration::from_secs(60)).await;
    let camera = rig.connect("gate", at(0));
    (0..50).for_each(|number| camera.feed(small.unit(number)));
    (50..100).for_each(|number| camera.feed(large.unit(number)));
    camera.taken().await;
    camera.clock.send_replace(MediaClock { zero_at: at(5_000) });
    (100..150).for_each(|number| camera.feed(large.unit(number)));
    rig.disconnect(camera);
    rig.recorder.close().await;
    let found = rig.segments("gate");
    let starts: Vec<_> = found.iter().map(|segment| segment.start).collect();
    assert_eq!(starts, [at(0), at(2_000), at(9_000)]);
    let sizes: Vec<_> =
        found.iter().map(|segment| rig.footage.open(segment).unwrap().tracks().video.frame.width).collect();
    assert_eq!(sizes, [128, 160, 160]);
    assert_eq!(rig.pictures(&found).len(), 150);
}

#[tokio::test]
async fn a_clock_that_was_set_back_hides_no_earlier_segment() {
    let dir = tempfile::tempdir().unwrap();
    let material = Material::new(dir.path(), SMALL);
    let rig = Rig::complete(dir.path(), Duration::from_secs(60)).await;
    for _ in 0..3 {
        let camera = rig.connect("gate", at(0));
        (0..25).for_each(|number| camera.feed(material.unit(number)));
        camera.taken().await;
        rig.disconnect(camera);
    }
    rig.recorder.close().await;
    let starts: Vec<_> = rig.segments("gate").iter().map(|segment| segment.start).collect();
    assert_eq!(starts, [at(0), at(1), at(2)]);
}

#[tokio::test]
async fn a_jump_of_media_time_ends_the_segment_and_says_what_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let material = Material::new(dir.path(), SMALL);
    let rig = Rig::complete(dir.path(), Duration::from_secs(60)).await;
    let mut events = rig.footage.subscribe();
    let camera = rig.connect("gate", at(0));
    (0..30).for_each(|number| camera.feed(material.unit(number)));
    // Ten seconds are missing, and the next key picture is 0.8 s behind that.
    (30..100).for_each(|number| {
        let unit = material.unit(number);
        camera
            .feed(aivms_appliance::pipeline::access_unit::AccessUnit { at: unit.at + Duration::from_secs(10), ..unit });
    });
    rig.disconnect(camera);
    rig.recorder.close().await;
    let found: Vec<_> = rig.segments("gate").iter().map(|segment| (segment.start, segment.end)).collect();
    assert_eq!(found, [(at(0), at(1_200)), (at(12_000), at(14_000))]);
    let lost = within("the loss is told", async {
        loop {
            if let RecorderEvent::Lost { from, to, cause, .. } = events.recv().await.unwrap() {
                return (from, to, cause);
            }
        }
    });
    assert_eq!(lost.await, (at(1_200), at(12_000), GapCause::Camera));
}

#[tokio::test]
async fn pictures_that_came_too_fast_are_told_as_our_own_loss() {
    let dir = tempfile::tempdir().unwrap();
    let material = Material::new(dir.path(), SMALL);
    let rig = Rig::complete(dir.path(), Duration::from_secs(60)).await;
    let mut events = rig.footage.subscribe();
    let camera = rig.connect("gate", at(0));
    (0..30).for_each(|number| camera.feed(material.unit(number)));
    camera.taken().await;
    // More than the fan-out holds, while nobody takes any: this test and the recorder share one thread.
    (30..5_000).for_each(|number| camera.feed(material.unit(number)));
    rig.disconnect(camera);
    rig.recorder.close().await;
    let found = rig.segments("gate");
    assert_eq!(found[0].end, at(1_200));
    let mut lost = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let RecorderEvent::Lost { from, to, cause, .. } = event {
            lost.push((from, to, cause));
        }
    }
    assert_eq!(lost, [(at(1_200), found[1].start, GapCause::Internal)]);
}

#[tokio::test]
async fn sound_lies_beside_its_pictures_and_holds_nothing_up_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let material = Material::new(dir.path(), SMALL);
    let rig = Rig::complete(dir.path(), SEGMENT).await;
    let camera = rig.connect("gate", at(0));
    // 15.625 frames per second, until the second 4.
    let mut sounds = 0;
    for number in 0..150 {
        let unit = material.unit(number);
        while sounds < 62 && sound(sounds).at <= unit.at {
            camera.sound(sound(sounds));
            sounds += 1;
        }
        camera.feed(unit);
        camera.taken().await;
    }
    rig.disconnect(camera);
    rig.recorder.close().await;
    let found = rig.segments("gate");
    assert_eq!(rig.pictures(&found).len(), 150);
    let with_sound: Vec<_> =
        found.iter().filter(|one| rig.footage.open(one).unwrap().tracks().audio.is_some()).collect();
    let first = with_sound[0].start;
    let mut frames = 0;
    for segment in with_sound {
        let reader = rig.footage.open(segment).unwrap();
        for number in 0..segment.fragments.len() {
            let fragment = reader.fragment(number).unwrap();
            let (start, end) = (fragment.video[0].dts, fragment.video.last().unwrap().dts);
            for sample in &fragment.audio {
                let at = sample.dts * 90_000 / 16_000;
                assert!(at + 18_000 >= start && at <= end + 18_000, "{at} is not near {start} to {end}");
            }
            frames += fragment.audio.len();
        }
        let pictures: u64 = segment.fragments.iter().map(|info| u64::from(info.duration) / 3_600).sum();
        assert_eq!(pictures_in(&segment.path) as u64, pictures);
    }
    let expected = (4_000 - (first.as_millis() - at(0).as_millis())) * 1000 / 64_000;
    assert!((i64::try_from(frames).unwrap() - expected).abs() <= 3, "{frames} frames, {expected} expected");
}

#[tokio::test]
async fn a_camera_that_is_switched_off_ends_its_segment_and_goes_on_when_it_is_on() {
    let dir = tempfile::tempdir().unwrap();
    let material = Material::new(dir.path(), SMALL);
    let rig = Rig::complete(dir.path(), Duration::from_secs(60)).await;
    let camera = rig.connect("gate", at(0));
    (0..30).for_each(|number| camera.feed(material.unit(number)));
    camera.taken().await;
    rig.enable(false);
    (30..60).for_each(|number| camera.feed(material.unit(number)));
    camera.taken().await;
    rig.enable(true);
    (60..100).for_each(|number| camera.feed(material.unit(number)));
    rig.disconnect(camera);
    rig.recorder.close().await;
    let found: Vec<_> = rig.segments("gate").iter().map(|segment| (segment.start, segment.end)).collect();
    assert_eq!(found, [(at(0), at(1_200)), (at(3_000), at(4_000))]);
}
