//! A disk without room: the cameras run on, what is lost is told, and recording goes on by itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aivms_appliance::recorder::RecorderEvent;
use aivms_contract::footage::GapCause;

use crate::material::{Material, SMALL};
use crate::no_room::{SmallDisk, limit_files, limited_in_a_child, root_of_child};
use crate::rig::{Rig, at, until};

const LIMITED: &str = "full_disk::limited_program";
const SEGMENT: Duration = Duration::from_secs(2);

#[test]
fn a_full_disk_is_told_of_and_recording_goes_on_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path().join("disk"), 8) else {
        return limited_in_a_child(LIMITED, dir.path());
    };
    block_on(story(dir.path(), disk.path(), || disk.fill(), || disk.free()));
}

#[test]
fn files_that_may_not_grow_are_told_of_and_recording_goes_on_later() {
    limited_in_a_child(LIMITED, tempfile::tempdir().unwrap().path());
}

#[test]
#[ignore = "the child process of another test, with the signal for too large files ignored"]
fn limited_program() {
    let (root, disk) = (root_of_child(), root_of_child().join("disk"));
    fs::create_dir(&disk).unwrap();
    block_on(story(&root, &disk, || limit_files(Some(64)), || limit_files(None)));
}

/// Records before, while and after there is no room.
async fn story(scratch: &Path, root: &Path, squeeze: impl Fn(), relieve: impl Fn()) {
    let material = Material::new(scratch, SMALL);
    let rig = Rig::complete(root, SEGMENT).await;
    let mut events = rig.footage.subscribe();
    let camera = rig.connect("gate", at(0));
    let mut number = 0;
    let mut feed = |count: u64| {
        (number..number + count).for_each(|number| camera.feed(material.unit(number)));
        number += count;
        number
    };
    feed(70);
    rig.reaches("gate", at(2_000)).await;
    squeeze();
    let trouble = rig.footage.trouble();
    feed(130);
    until("the disk's trouble is told", || trouble.borrow().is_some()).await;
    let kept = rig.pictures(&rig.segments("gate"));
    assert!(kept.len() >= 50, "what was written stays readable: {}", kept.len());
    relieve();
    // It is tried again after a pause; cameras go on meanwhile.
    let mut fed = 0;
    until("recording goes on", || {
        fed = feed(25);
        trouble.borrow().is_none()
    })
    .await;
    fed = fed.max(feed(50));
    camera.taken().await;
    rig.disconnect(camera);
    rig.recorder.close().await;

    let segments = rig.segments("gate");
    assert!(segments.iter().all(|segment| segment.fragments[0].key));
    assert_eq!(segments.last().unwrap().end, at(i64::try_from(fed).unwrap() * 40));
    for segment in &segments {
        let scan = aivms_footage::scan_media(fs::File::open(&segment.path).unwrap()).unwrap().unwrap();
        assert_eq!(scan.fragments.len(), segment.fragments.len(), "{}", segment.path.display());
    }
    // What is not in the segments was told, to the picture.
    let mut missing = Vec::new();
    for pair in segments.windows(2).filter(|pair| pair[0].end < pair[1].start) {
        missing.push((pair[0].end, pair[1].start));
    }
    assert!(!missing.is_empty());
    let (mut told, mut turns) = (Vec::new(), Vec::new());
    while let Ok(event) = events.try_recv() {
        match event {
            RecorderEvent::Lost { from, to, cause, .. } => {
                assert_eq!(cause, GapCause::Disk);
                told.push((from, to));
            }
            RecorderEvent::DiskFailed { .. } => turns.push("failed"),
            RecorderEvent::DiskBack { .. } => turns.push("back"),
            _ => {}
        }
    }
    assert!(missing.iter().all(|span| told.contains(span)), "{missing:?} are missing, {told:?} were told");
    assert_eq!((turns.first(), turns.last()), (Some(&"failed"), Some(&"back")), "{turns:?}");
    assert!(rig.notices.lock().unwrap().iter().any(|notice| notice.code == "recording_failed"));
    let before = rig.footage.summaries(&"gate".parse().unwrap()).len();
    drop(rig);

    let rig = Rig::complete(root, SEGMENT).await;
    assert_eq!(rig.segments("gate").len(), before);
    rig.close().await;
}

fn block_on(story: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(story);
}
