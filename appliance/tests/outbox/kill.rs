//! `kill -9` at any moment, also while opening.

use std::time::{Duration, Instant};

use crate::site;
use crate::writer::{self, Ledger, MAX_BYTES, Plan};

const KILLS: u64 = 60;

#[test]
fn no_kept_event_is_lost_and_no_number_repeats_over_sixty_kills() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("site");
    std::fs::create_dir(&root).unwrap();
    let mut random = fastrand::Rng::new();
    let mut ledger = Ledger::default();
    for run in 0..KILLS {
        let plan = Plan { base: run * 1_000_000 + 1, for_ms: 60_000, acknowledges: true };
        let mut child = writer::spawn(&root, plan, |_| {});
        // Every second one is killed while it opens, or shortly after.
        let wait = Duration::from_micros(if run % 2 == 0 { random.u64(0..30_000) } else { random.u64(0..200_000) });
        until(|| std::fs::read(root.join("notes")).is_ok_and(|notes| !notes.is_empty()));
        if run % 2 == 1 {
            until(|| std::fs::read(root.join("notes")).unwrap().ends_with(b"opened\n") || was_opened(&root));
        }
        std::thread::sleep(wait);
        child.kill().unwrap();
        child.wait().unwrap();
        let seen = ledger.last();
        ledger.add(&std::fs::read(root.join("notes")).unwrap());
        assert!(ledger.kept.range(..=seen).all(|(_, (number, _))| *number < plan.base));
        std::fs::remove_file(root.join("notes")).unwrap();
        if run % 4 == 3 {
            check(&root, &ledger);
        }
    }
    check(&root, &ledger);
    assert!(ledger.kept.len() > 100, "{}", ledger.kept.len());
}

fn was_opened(root: &std::path::Path) -> bool {
    String::from_utf8(std::fs::read(root.join("notes")).unwrap()).unwrap().contains("opened\n")
}

fn check(root: &std::path::Path, ledger: &Ledger) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (outbox, state, notices) = site::open(root, MAX_BYTES);
        assert!(notices.iter().all(|notice| notice.code != "events_lost"), "{notices:?}");
        ledger.check_settings(&state);
        let entries = outbox.read_after(0, usize::MAX, usize::MAX).await.unwrap();
        ledger.check_entries(&outbox, &entries);
        outbox.close().await;
    });
}

fn until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "the writer did not get so far");
        std::thread::sleep(Duration::from_millis(1));
    }
}
