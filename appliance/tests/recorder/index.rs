//! The index: lost, rebuilt, moved, deleted from, and written while something else is wrong.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aivms_appliance::recorder::{DiskTier, RecorderEvent, SegmentSummary, Tags, measure};

use crate::material::{Material, SMALL};
use crate::rig::{Rig, at, files, within};

const SEGMENT: Duration = Duration::from_secs(1);

/// Records four segments of a camera.
async fn recorded(root: &Path) -> Vec<SegmentSummary> {
    let material = Material::new(root, SMALL);
    let rig = Rig::complete(root, SEGMENT).await;
    let camera = rig.connect("gate", at(0));
    (0..100).for_each(|number| camera.feed(material.unit(number)));
    rig.disconnect(camera);
    rig.recorder.close().await;
    let summaries = rig.footage.summaries(&"gate".parse().unwrap());
    assert_eq!(summaries.len(), 4);
    summaries
}

#[tokio::test]
async fn a_closed_recorder_leaves_everything_in_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let before = recorded(dir.path()).await;
    let rig = Rig::complete(dir.path(), SEGMENT).await;
    let camera = "gate".parse().unwrap();
    assert_eq!(rig.footage.summaries(&camera), before, "tags as well: none, and not all as after a loss");
    assert_eq!((rig.footage.oldest(&camera), rig.footage.newest(&camera)), (Some(at(0)), Some(at(4_000))));
    assert_eq!(rig.footage.last_recorded(&camera), Some(at(4_000)));
    let part = rig.footage.segments(&camera, at(1_500), at(2_001));
    assert_eq!(part.iter().map(|one| one.start).collect::<Vec<_>>(), [at(1_000), at(2_000)]);
    rig.close().await;
}

#[tokio::test]
async fn a_lost_index_is_rebuilt_equal_from_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let before = recorded(dir.path()).await;
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    let rig = Rig::complete(dir.path(), SEGMENT).await;
    let kept: Vec<_> = before.iter().map(|one| SegmentSummary { tags: Tags::ALL, ..*one }).collect();
    assert_eq!(rig.footage.summaries(&"gate".parse().unwrap()), kept);
    let first = rig.segments("gate");
    rig.close().await;
    let rig = Rig::complete(dir.path(), SEGMENT).await;
    assert_eq!(rig.segments("gate").len(), 4);
    for (again, before) in rig.segments("gate").iter().zip(&first) {
        assert_eq!(
            (again.start, again.bytes, again.fragments.len()),
            (before.start, before.bytes, before.fragments.len())
        );
    }
    rig.close().await;
}

#[tokio::test]
async fn a_damaged_index_is_rebuilt_and_told_of() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path()).await;
    let db = dir.path().join("index/db");
    let mut bytes = fs::read(&db).unwrap();
    let length = bytes.len();
    bytes[length / 8..length / 2].fill(0xa5);
    fs::write(&db, bytes).unwrap();
    let rig = Rig::complete(dir.path(), SEGMENT).await;
    assert_eq!(rig.segments("gate").len(), 4);
    rig.close().await;
}

#[tokio::test]
async fn a_row_without_its_file_is_dropped_and_told_of() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path()).await;
    fs::remove_file(&files(&dir.path().join("recordings"))[1]).unwrap();
    let rig = Rig::complete(dir.path(), SEGMENT).await;
    let starts: Vec<_> = rig.segments("gate").iter().map(|one| one.start).collect();
    assert_eq!(starts, [at(0), at(2_000), at(3_000)]);
    let notices = rig.notices.lock().unwrap().clone();
    assert_eq!(notices.iter().map(|notice| notice.code.as_str()).collect::<Vec<_>>(), ["footage_missing"]);
    rig.close().await;
    let rig = Rig::complete(dir.path(), SEGMENT).await;
    assert!(rig.notices.lock().unwrap().is_empty(), "told once");
    rig.close().await;
}

#[tokio::test]
async fn what_is_tagged_moved_and_deleted_stays_so_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path()).await;
    let camera = "gate".parse().unwrap();
    let rig = Rig::complete(dir.path(), SEGMENT).await;
    rig.footage.tag(&camera, at(1_200), at(2_100), Tags::MOTION);
    rig.footage.tag(&camera, at(1_200), at(1_300), Tags::EVENT);
    let segments = rig.segments("gate");
    let freed = rig.footage.remove(&[segments[0].key(), segments[0].key()]).unwrap();
    assert_eq!(freed, segments[0].bytes);
    rig.footage.relocate(&segments[1].key(), DiskTier::Slow).unwrap();
    let pictures = rig.pictures(&segments[1..2]);
    assert_eq!(pictures.len(), 25, "found where it was moved to");
    rig.close().await;

    let rig = Rig::complete(dir.path(), SEGMENT).await;
    let found: Vec<_> = rig.segments("gate").iter().map(|one| (one.start, one.tier, one.tags)).collect();
    let (motion, both) = (Tags::MOTION, Tags::MOTION | Tags::EVENT);
    let expected = [
        (at(1_000), DiskTier::Slow, both),
        (at(2_000), DiskTier::Fast, motion),
        (at(3_000), DiskTier::Fast, Tags::NONE),
    ];
    assert_eq!(found, expected);
    assert_eq!(files(&dir.path().join("slow")).len(), 1);
    rig.close().await;
}

#[tokio::test]
async fn a_move_that_was_cut_off_leaves_one_file() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path()).await;
    let rig = Rig::complete(dir.path(), SEGMENT).await;
    let segment = rig.segments("gate").remove(1);
    let there = rig.footage.folders().file(&segment.key(), DiskTier::Slow);
    rig.close().await;
    // Copied and named, and the row was not written; another copy is not complete.
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    fs::copy(&segment.path, &there).unwrap();
    fs::write(there.with_extension("mp4.part"), b"half").unwrap();
    let rig = Rig::complete(dir.path(), SEGMENT).await;
    assert_eq!(rig.segments("gate")[1].tier, DiskTier::Fast);
    assert!(files(&dir.path().join("slow")).is_empty());
    rig.close().await;
}

#[tokio::test]
async fn the_open_segment_can_be_read_and_tagged_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let material = Material::new(dir.path(), SMALL);
    let rig = Rig::complete(dir.path(), Duration::from_secs(60)).await;
    let camera_id = "gate".parse().unwrap();
    let mut events = rig.footage.subscribe();
    let camera = rig.connect("gate", at(0));
    (0..60).for_each(|number| camera.feed(material.unit(number)));
    rig.reaches("gate", at(2_000)).await;
    let open = rig.segments("gate");
    assert_eq!((open.len(), open[0].closed, open[0].start), (1, false, at(0)));
    let pictures = rig.pictures(&open);
    assert!(pictures.len() >= 50 && pictures.iter().eq((0..pictures.len()).map(|n| material.stored(n as u64))));
    rig.footage.tag(&camera_id, at(500), at(600), Tags::OBJECT);
    assert!(matches!(events.recv().await.unwrap(), RecorderEvent::SegmentOpened { key } if key.start == at(0)));
    rig.disconnect(camera);
    let closed = within("the segment is closed", async {
        loop {
            if let RecorderEvent::SegmentClosed { segment } = events.recv().await.unwrap() {
                return segment;
            }
        }
    });
    let closed = closed.await;
    assert_eq!((closed.tags, closed.end, closed.closed), (Tags::OBJECT, at(2_400), true));
    assert!(closed.fragments.iter().all(|fragment| fragment.hash.is_some()), "the chain needs them");
    rig.close().await;
}

#[test]
fn a_large_index_gives_any_minute_with_its_table() {
    let dir = tempfile::tempdir().unwrap();
    let cameras = ["east", "west"].map(|camera| camera.parse().unwrap());
    measure::fill_index(dir.path(), &cameras, at(0), 3_000, 60).unwrap();
    let footage = measure::open_index(dir.path()).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let millis = random.i64(0..3_000 * 60_000 - 1);
        let found = footage.segments(random.choice(&cameras).unwrap(), at(millis), at(millis + 1));
        assert_eq!(found.iter().map(|one| one.start).collect::<Vec<_>>(), [at(millis / 60_000 * 60_000)]);
        assert_eq!(found[0].fragments.len(), 60);
    }
}
