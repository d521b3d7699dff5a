//! A disk without room: nothing kept is lost, and all goes on once there is room.

use std::path::Path;
use std::time::{Duration, Instant};

use aivms_appliance::outbox::{Outbox, OutboxError};
use aivms_appliance::state::{Key, State};
use aivms_contract::topic::UpKind;

use crate::no_room::{SmallDisk, limit_files, limited_in_a_child, root_of_child};
use crate::site::{self, body};

const LIMITED: &str = "full_disk::limited_program";
const MAX_BYTES: u64 = 16 * 1024 * 1024;

#[test]
fn a_full_file_system_delays_events_and_settings_and_loses_none() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path().join("disk"), 12) else {
        return limited_in_a_child(LIMITED, dir.path());
    };
    block_on(story(disk.path(), || disk.fill(), || disk.free()));
    block_on(opening_when_full(disk.path(), || disk.fill(), || disk.free()));
}

#[test]
fn files_that_may_not_grow_delay_events_and_lose_none() {
    limited_in_a_child(LIMITED, tempfile::tempdir().unwrap().path());
}

#[test]
#[ignore = "the child process of another test, with the signal for too large files ignored"]
fn limited_program() {
    block_on(story(&root_of_child(), || limit_files(Some(12 * 1024)), || limit_files(None)));
}

/// Keeps events before, while and after there is no room.
async fn story(root: &Path, squeeze: impl Fn(), relieve: impl Fn()) {
    let (outbox, state, notices) = site::open(root, MAX_BYTES);
    assert_eq!(notices, []);
    let mut expected = Vec::new();
    keep(&outbox, 0..20, &mut expected).await;
    squeeze();
    let delayed = keep(&outbox, 20..200, &mut expected).await;
    assert!(delayed > 100, "{delayed} of 180 events had to wait");
    let refused = state.put(Key::Desired, &wanted()).unwrap_err();
    assert_eq!(state.get::<String>(Key::Desired).unwrap(), Some(wanted()), "{refused}");
    let readable = outbox.read_after(0, 1000, usize::MAX).await.unwrap();
    assert!(readable.len() >= 20, "what was kept can still be sent");
    relieve();
    let last = expected[expected.len() - 1];
    let mut kept = outbox.kept();
    tokio::time::timeout(Duration::from_secs(30), kept.wait_for(|kept| *kept >= last)).await.unwrap().unwrap();
    assert_eq!(keep(&outbox, 200..220, &mut expected).await, 0);
    check(&outbox, &expected).await;
    until(|| state.put(Key::Reported, &1).is_ok());
    outbox.close().await;
    drop(state);

    let (outbox, state, notices) = site::open(root, MAX_BYTES);
    assert_eq!(notices, []);
    check(&outbox, &expected).await;
    assert_eq!(state.get::<String>(Key::Desired).unwrap(), Some(wanted()));
    outbox.close().await;
}

/// Starts with no room at all, keeps events in memory, and saves them once there is some.
async fn opening_when_full(root: &Path, squeeze: impl Fn(), relieve: impl Fn()) {
    squeeze();
    let (outbox, state, _) = site::open(root, MAX_BYTES);
    let mut expected: Vec<u64> = seqs(&outbox).await;
    let before = expected.len();
    assert_eq!(keep(&outbox, 300..310, &mut expected).await, 10);
    assert_eq!(state.get::<String>(Key::Desired).unwrap(), Some(wanted()));
    relieve();
    let last = expected[expected.len() - 1];
    let mut kept = outbox.kept();
    tokio::time::timeout(Duration::from_secs(30), kept.wait_for(|kept| *kept >= last)).await.unwrap().unwrap();
    assert_eq!(seqs(&outbox).await, expected);
    assert_eq!(expected.len(), before + 10);
    until(|| state.put(Key::Reported, &2).is_ok());
    outbox.close().await;
    drop(state);
    let (state, _) = State::open(root.join("state")).unwrap();
    assert_eq!(state.get::<u32>(Key::Reported).unwrap(), Some(2));
}

/// A setting larger than the limited program may write.
fn wanted() -> String {
    "wanted".repeat(4000)
}

/// Appends and gives the number of events that have to wait; all of them are expected in the end.
async fn keep(outbox: &Outbox, numbers: std::ops::Range<u64>, expected: &mut Vec<u64>) -> usize {
    let mut delayed = 0;
    for number in numbers {
        match outbox.append(body(UpKind::ZoneEvents, number, 1000)).await {
            Ok(seq) => expected.push(seq),
            Err(OutboxError::Waiting { seq, cause }) => {
                assert!(!cause.is_empty());
                expected.push(seq);
                delayed += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    delayed
}

async fn check(outbox: &Outbox, expected: &[u64]) {
    assert_eq!(seqs(outbox).await, expected);
    for (number, entry) in outbox.read_after(0, 1000, usize::MAX).await.unwrap().iter().enumerate() {
        site::check_entry(outbox, entry, number as u64);
    }
}

async fn seqs(outbox: &Outbox) -> Vec<u64> {
    let entries = outbox.read_after(0, 1000, usize::MAX).await.unwrap();
    entries.iter().map(|entry| entry.seq).collect()
}

fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "the disk has room again, but nothing is written");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn block_on(story: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(story);
}
