//! Power cuts: a recorder below the real outbox and state, and the disk rebuilt as a cut at any moment leaves it.

#[path = "../../support/disk.rs"]
mod disk;

use std::path::{Path, PathBuf};
use std::process::Command;

use aivms_appliance::outbox::Entry;

use crate::site;
use crate::writer::{self, Ledger, MAX_BYTES, Plan};
use disk::{Model, Recording};

/// One seed for a run; a failure names the cut, and the recording decides the rest.
const CUTS_PER_MODEL: usize = 50;

#[test]
fn no_kept_event_and_no_setting_is_lost_by_a_power_cut() {
    let film = Film::new(&[900, 900, 900], true);
    let mut random = fastrand::Rng::new();
    for model in [Model::Blocks, Model::InOrder] {
        for _ in 0..CUTS_PER_MODEL {
            let cut = random.usize(0..=film.recording.len());
            let seed = random.u64(..);
            film.check(cut, model, seed, Ledger::check_entries);
        }
    }
}

#[test]
fn a_power_cut_while_mending_an_earlier_one_loses_nothing_either() {
    let film = Film::new(&[900], true);
    let mut random = fastrand::Rng::new();
    for _ in 0..12 {
        let cut = random.usize(film.recording.len() / 4..=film.recording.len());
        let second = film.after(cut, random.u64(..));
        for _ in 0..3 {
            // The mending is at the beginning.
            let cut = random.usize(0..=second.recording.len().min(200));
            second.check(cut, Model::Blocks, random.u64(..), Ledger::check_entries);
        }
    }
}

#[test]
fn a_power_cut_while_shedding_costs_no_alert_and_nothing_newer_than_was_shed() {
    let film = Film::new(&[2500], false);
    let mut random = fastrand::Rng::new();
    for _ in 0..30 {
        let cut = random.usize(film.recording.len() / 2..=film.recording.len());
        film.check(cut, Model::Blocks, random.u64(..), Ledger::check_shed);
    }
}

#[test]
fn a_sync_that_fails_promises_nothing_and_costs_nothing() {
    let film = Film::with_failing_syncs(&[1200], 5);
    let mut random = fastrand::Rng::new();
    for _ in 0..30 {
        let cut = random.usize(0..=film.recording.len());
        film.check(cut, Model::Blocks, random.u64(..), Ledger::check_entries);
    }
}

/// A recording of writers, with what they were promised before it.
struct Film {
    _dir: tempfile::TempDir,
    recording: Recording,
    before: Ledger,
    base: u64,
    /// Each so many syncs of a spool file one fails; 0 for none.
    failing: u32,
}

type Check = fn(&Ledger, &aivms_appliance::outbox::Outbox, &[Entry]);

impl Film {
    /// Records one writer after another in one place, each ending abruptly after so many milliseconds.
    fn new(runs_ms: &[u64], acknowledges: bool) -> Self {
        Self::recorded(runs_ms, acknowledges, 0)
    }

    /// As [`Film::new`], with a drive on which each so many syncs one fails.
    fn with_failing_syncs(runs_ms: &[u64], failing: u32) -> Self {
        Self::recorded(runs_ms, true, failing)
    }

    fn recorded(runs_ms: &[u64], acknowledges: bool, failing: u32) -> Self {
        let dir = scratch();
        let root = dir.path().join("site");
        std::fs::create_dir(&root).unwrap();
        let recording = Recording::begin(&root);
        let mut film = Self { _dir: dir, recording, before: Ledger::default(), base: 1, failing };
        for for_ms in runs_ms {
            film.record(&root, Plan { base: film.base, for_ms: *for_ms, acknowledges });
        }
        film
    }

    /// Records a writer that starts from what a cut has left.
    fn after(&self, cut: usize, seed: u64) -> Self {
        let dir = scratch();
        let root = dir.path().join("site");
        self.recording.rebuild(cut, Model::Blocks, &mut fastrand::Rng::with_seed(seed), &root);
        let _ = std::fs::remove_file(root.join("notes"));
        let recording = Recording::begin(&root);
        let mut film = Self { _dir: dir, recording, before: self.ledger(cut), base: self.base, failing: 0 };
        film.record(&root, Plan { base: film.base, for_ms: 150, acknowledges: true });
        film
    }

    fn record(&mut self, root: &Path, plan: Plan) {
        let (log, recorder) = (root.with_extension("recording"), recorder(root.parent().unwrap()));
        let failing = self.failing.to_string();
        let mut child = writer::spawn(root, plan, |command| {
            command.env("LD_PRELOAD", &recorder).env("RECORD_ROOT", root).env("RECORD_LOG", &log);
            command.env("RECORD_FAIL_SYNC", &failing);
        });
        child.wait().unwrap();
        self.base += 1_000_000;
        let events = self.recording.len();
        self.recording.follow(&log);
        let output = std::fs::read_to_string(root.with_extension("log")).unwrap();
        assert!(self.recording.len() > events + 20, "the writer did nothing: {output}");
        assert!(!output.contains("panicked at appliance"), "{output}");
    }

    fn ledger(&self, cut: usize) -> Ledger {
        let mut ledger = self.before.clone();
        ledger.add(&self.recording.seen("notes", cut));
        ledger
    }

    /// Rebuilds the disk after a cut and looks at it as the next start would, twice.
    fn check(&self, cut: usize, model: Model, seed: u64, check: Check) {
        let dir = scratch();
        let root = dir.path().join("site");
        self.recording.rebuild(cut, model, &mut fastrand::Rng::with_seed(seed), &root);
        let ledger = self.ledger(cut);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let looked =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(look(&root, &ledger, check))));
        if let Err(panic) = looked {
            let kept = dir.keep();
            self.recording.rebuild(cut, model, &mut fastrand::Rng::with_seed(seed), &kept.join("as-cut"));
            eprintln!("cut {cut} of {}, {model:?}, seed {seed}: see {}", self.recording.len(), kept.display());
            std::panic::resume_unwind(panic);
        }
    }
}

async fn look(root: &Path, ledger: &Ledger, check: Check) {
    let (outbox, state, notices) = site::open(root, MAX_BYTES);
    assert!(notices.iter().all(|notice| notice.code != "events_lost"), "{notices:?}");
    ledger.check_settings(&state);
    let entries = outbox.read_after(0, usize::MAX, usize::MAX).await.unwrap();
    check(ledger, &outbox, &entries);
    let next = outbox.append(site::body(aivms_contract::topic::UpKind::Alerts, 1, 10)).await.unwrap();
    let last = entries.last().map_or(0, |entry| entry.seq).max(ledger.last());
    assert!(next > last, "sequence number {next} after {last}");
    // One more entry in a full outbox may have shed others.
    let entries = outbox.read_after(0, usize::MAX, usize::MAX).await.unwrap();
    assert_eq!(entries.last().map(|entry| entry.seq), Some(next));
    outbox.close().await;
    drop(state);

    let (outbox, state, notices) = site::open(root, MAX_BYTES);
    assert_eq!(notices, [], "mended only for once");
    ledger.check_settings(&state);
    assert_eq!(outbox.read_after(0, usize::MAX, usize::MAX).await.unwrap(), entries);
    check(ledger, &outbox, &entries);
    outbox.close().await;
}

/// A directory in memory where there is one: thousands of syncs of rebuilt disks test nothing.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn recorder(dir: &Path) -> PathBuf {
    let library = dir.join("recorder.so");
    if !library.exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outbox/powercut/recorder.c");
        let compiled = Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        assert!(compiled.expect("the system C compiler, cc").success());
    }
    library
}
