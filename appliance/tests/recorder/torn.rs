//! A file that was cut off anywhere.

use std::fs;
use std::time::Duration;

use aivms_contract::time::UtcMillis;

use crate::material::{Material, Recipe, SMALL};
use crate::rig::{Rig, at, files, folders, scratch};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_segment_that_is_cut_anywhere_loses_at_most_its_last_fragment() {
    let dir = scratch();
    let material = Material::new(dir.path(), Recipe { size: (32, 32), ..SMALL });
    let whole = dir.path().join("whole");
    fs::create_dir(&whole).unwrap();
    let rig = Rig::complete(&whole, Duration::from_secs(60)).await;
    let camera = rig.connect("gate", at(0));
    (0..60).for_each(|number| camera.feed(material.unit(number)));
    rig.disconnect(camera);
    rig.recorder.close().await;
    let segment = rig.segments("gate").remove(0);
    let bytes = fs::read(&segment.path).unwrap();
    let ends: Vec<u64> = segment.fragments.iter().map(aivms_footage::FragmentInfo::end).collect();
    let from = usize::try_from(ends[ends.len() - 3]).unwrap();
    drop(rig);

    // One file for each place where it can have been cut, as segments of one camera.
    let torn = dir.path().join("torn");
    let day = folders(&torn).fast.join("gate/2026-11-22");
    fs::create_dir_all(&day).unwrap();
    let name = |cut: usize| day.join(format!("{}.mp4", at(i64::try_from(cut).unwrap() * 10).as_millis()));
    for cut in from..=bytes.len() {
        fs::write(name(cut), &bytes[..cut]).unwrap();
    }
    let rig = Rig::complete(&torn, Duration::from_secs(60)).await;
    let found = rig.segments("gate");
    assert_eq!(found.len(), bytes.len() - from + 1, "no file is given up");
    for (segment, cut) in found.iter().zip(from..) {
        let complete = ends.iter().filter(|end| **end <= cut as u64).count();
        assert_eq!(segment.fragments.len(), complete, "cut at {cut}");
        let scan = aivms_footage::scan_media(fs::File::open(&segment.path).unwrap()).unwrap().unwrap();
        assert!(scan.closed && scan.good_bytes == segment.bytes, "cut at {cut}");
    }
    rig.close().await;
}

#[tokio::test]
async fn a_file_without_a_whole_head_is_deleted_and_stands_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let day = folders(dir.path()).fast.join("gate/2026-11-22");
    fs::create_dir_all(&day).unwrap();
    for (name, bytes) in [("1795352700000.mp4", &b""[..]), ("1795352700001.mp4", b"\0\0\0\x18ftypiso6")] {
        fs::write(day.join(name), bytes).unwrap();
    }
    let rig = Rig::complete(dir.path(), Duration::from_secs(60)).await;
    assert!(rig.footage.cameras().is_empty());
    assert!(files(&folders(dir.path()).fast).is_empty());
    rig.close().await;
}

#[tokio::test]
async fn a_recording_whose_head_is_damaged_is_kept_aside_and_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let day = folders(dir.path()).fast.join("gate/2026-11-22");
    fs::create_dir_all(&day).unwrap();
    let (name, video) = (day.join("1795352700000.mp4"), vec![0xa5; 100_000]);
    fs::write(&name, &video).unwrap();
    let rig = Rig::complete(dir.path(), Duration::from_secs(60)).await;
    assert!(rig.footage.cameras().is_empty(), "it is no segment");
    let aside = day.join("1795352700000.mp4.damaged");
    assert_eq!(fs::read(&aside).unwrap(), video);
    let told = rig.notices.lock().unwrap().clone();
    assert!(told.len() == 1 && told[0].message.contains(aside.to_str().unwrap()), "{told:?}");
    rig.close().await;

    // Another one of that name is kept as well, and the first one is left alone.
    fs::write(&name, &video[1..]).unwrap();
    let rig = Rig::complete(dir.path(), Duration::from_secs(60)).await;
    assert_eq!(fs::read(&aside).unwrap(), video);
    assert_eq!(files(&day), [day.join("1795352700000.mp4.1.damaged"), aside]);
    rig.close().await;
}

#[tokio::test]
async fn a_block_that_never_reached_the_disk_ends_the_footage_there() {
    let dir = tempfile::tempdir().unwrap();
    let material = Material::new(dir.path(), SMALL);
    let root = dir.path().join("site");
    fs::create_dir(&root).unwrap();
    let rig = Rig::complete(&root, Duration::from_secs(60)).await;
    let camera = rig.connect("gate", at(0));
    (0..60).for_each(|number| camera.feed(material.unit(number)));
    rig.disconnect(camera);
    rig.recorder.close().await;
    let segment = rig.segments("gate").remove(0);
    drop(rig);
    let mut bytes = fs::read(&segment.path).unwrap();
    let last = segment.fragments.last().unwrap();
    let (start, end) = (usize::try_from(last.offset).unwrap(), usize::try_from(last.end()).unwrap());
    // As long as it should be, and zeros in the second half of its media; the tail was not written yet.
    bytes.truncate(end);
    bytes[(start + end) / 2..end].fill(0);
    fs::write(&segment.path, bytes).unwrap();
    fs::remove_dir_all(root.join("index")).unwrap();
    let rig = Rig::complete(&root, Duration::from_secs(60)).await;
    let found = rig.segments("gate").remove(0);
    assert_eq!(found.fragments.len(), segment.fragments.len() - 1);
    assert_eq!(rig.footage.last_recorded(&"gate".parse().unwrap()), Some(found.end));
    assert!(found.end < segment.end && found.end > UtcMillis::from_millis(0));
    rig.close().await;
}
