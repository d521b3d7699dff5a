//! `kill -9` at any moment, also while an earlier kill is being mended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::material::{Material, SMALL};
use crate::program::{self, Ledger, Plan, SEGMENT};
use crate::rig::{Rig, files, folders};

const KILLS: i64 = 50;
/// Kills after which the footage is looked at in full.
const LOOK_EVERY: i64 = 10;
/// How much faster than real time cameras send.
const PACE: u32 = 5;
/// Time that a busy machine may take to let the recorder look at what was fed.
const SLACK: Duration = Duration::from_millis(150);

#[test]
fn at_most_a_second_is_lost_and_recording_goes_on_over_fifty_kills() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("site");
    std::fs::create_dir(&root).unwrap();
    let material = Material::new(dir.path(), SMALL);
    let mut random = fastrand::Rng::new();
    let mut seen = BTreeMap::new();
    for run in 0..KILLS {
        let mut child = program::spawn(&root, Plan { run, pace: PACE, for_ms: 60_000 }, |_| {});
        // Every fifth one is killed before it has recorded anything, while it mends.
        let begun = format!("{run} 0 ");
        if run % 5 != 4 {
            until(|| {
                String::from_utf8(std::fs::read(root.join("notes")).unwrap_or_default()).unwrap().contains(&begun)
            });
        }
        std::thread::sleep(Duration::from_millis(random.u64(0..400)));
        child.kill().unwrap();
        child.wait().unwrap();
        if run % LOOK_EVERY == LOOK_EVERY - 1 {
            look(&root, &material, &mut seen);
        }
    }
    assert!(seen.len() > 40, "{} files", seen.len());
}

/// Opens the footage as the next start would and checks all of it; what was there before has not changed by a byte.
fn look(root: &Path, material: &Material, seen: &mut BTreeMap<PathBuf, u32>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let rig = Rig::complete(root, SEGMENT).await;
        let ledger = Ledger::read(&std::fs::read(root.join("notes")).unwrap());
        ledger.check(&rig, material, SLACK);
        // An index whose opening was killed several times in a row is read from its whole log, and says so.
        let notices = rig.notices.lock().unwrap().clone();
        assert!(notices.iter().all(|notice| notice.code == "index_recovered"), "{notices:?}");
        rig.close().await;
    });
    let now = files(&folders(root).fast);
    for (path, sum) in seen.iter() {
        assert_eq!(crc32fast::hash(&std::fs::read(path).unwrap()), *sum, "{} has changed", path.display());
    }
    *seen = now.into_iter().map(|path| (path.clone(), crc32fast::hash(&std::fs::read(path).unwrap()))).collect();
}

fn until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "the recorder did not get so far");
        std::thread::sleep(Duration::from_millis(5));
    }
}
