//! A program that keeps events and settings until it is killed, telling what it was promised, and the list of that.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aivms_appliance::outbox::{Entry, Outbox};
use aivms_appliance::state::{Key, State};
use aivms_contract::topic::UpKind;

use crate::site::{self, body};

const ROOT: &str = "OUTBOX_WRITER_ROOT";
const PLAN: &str = "OUTBOX_WRITER_PLAN";

/// Bytes the outbox may take in these tests: the least there is, so that files are begun, deleted and shed often.
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

/// What a writer does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Numbers of its messages begin here.
    pub(crate) base: u64,
    /// Milliseconds after which it ends by itself, in the middle of things.
    pub(crate) for_ms: u64,
    /// Whether it acknowledges; one that does not fills the outbox and makes it shed.
    pub(crate) acknowledges: bool,
}

/// What writers were promised and have asked for.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    /// Number and kind of each kept sequence number.
    pub(crate) kept: BTreeMap<u64, (u64, UpKind)>,
    /// Everything up to here may be gone.
    pub(crate) acknowledged: u64,
    /// For each setting the last value that was durable, and the last that was begun.
    settings: BTreeMap<&'static str, (u64, u64)>,
    /// Whether an open has ended.
    pub(crate) opened: bool,
}

/// Starts a writer over `root`; `prepare` may add to its environment.
pub(crate) fn spawn(root: &Path, plan: Plan, prepare: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let log = OpenOptions::new().create(true).append(true).open(root.with_extension("log")).unwrap();
    command
        .args(["--exact", "writer::writer_program", "--ignored", "--nocapture"])
        .env(ROOT, root)
        .env(PLAN, format!("{} {} {}", plan.base, plan.for_ms, u8::from(plan.acknowledges)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    prepare(&mut command);
    command.spawn().unwrap()
}

#[test]
#[ignore = "the child process of other tests, which ends by being killed"]
fn writer_program() {
    let root = std::env::var_os(ROOT).expect("started by another test");
    let plan = std::env::var(PLAN).unwrap();
    let numbers: Vec<u64> = plan.split(' ').map(|number| number.parse().unwrap()).collect();
    let plan = Plan { base: numbers[0], for_ms: numbers[1], acknowledges: numbers[2] == 1 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(write(Path::new(&root), plan));
}

async fn write(root: &Path, plan: Plan) {
    let mut notes = OpenOptions::new().create(true).append(true).open(root.join("notes")).unwrap();
    let end = Instant::now() + Duration::from_millis(plan.for_ms);
    note(&mut notes, "open");
    let (outbox, state, _) = site::open(root, MAX_BYTES);
    note(&mut notes, "opened");
    let mut random = fastrand::Rng::with_seed(plan.base);
    let mut number = plan.base;
    while Instant::now() < end {
        keep_some(&outbox, &mut number, &mut random, &mut notes).await;
        if plan.acknowledges && random.u8(..) < 100 {
            acknowledge_some(&outbox, &mut random, &mut notes).await;
        }
        if random.u8(..) < 100 {
            put_some(&state, number, &mut random, &mut notes);
        }
    }
    // As abruptly as a kill, but at a known time.
    std::process::abort();
}

async fn keep_some(outbox: &Outbox, number: &mut u64, random: &mut fastrand::Rng, notes: &mut File) {
    let kinds = [UpKind::Detections, UpKind::Detections, UpKind::Detections, UpKind::ZoneEvents, UpKind::Alerts];
    let first = *number;
    *number += random.u64(1..10);
    let batch: Vec<_> = (first..*number).map(|number| (number, random.choice(kinds).unwrap())).collect();
    let bodies = batch.iter().map(|(number, kind)| body(*kind, *number, random.usize(50..1500))).collect();
    let mut text = String::new();
    for ((number, kind), kept) in batch.iter().zip(outbox.append_all(bodies).await) {
        // A full outbox of alerts refuses; everything else is a promise.
        if let Ok(seq) = kept {
            text += &format!("kept {seq} {number} {}\n", kind.as_str());
        }
    }
    notes.write_all(text.as_bytes()).unwrap();
}

async fn acknowledge_some(outbox: &Outbox, random: &mut fastrand::Rng, notes: &mut File) {
    let entries = outbox.read_after(outbox.acknowledged(), random.usize(1..200), usize::MAX).await.unwrap();
    if let Some(last) = entries.last() {
        note(notes, &format!("acknowledged {}", last.seq));
        outbox.acknowledge(last.seq).await.unwrap();
    }
}

fn put_some(state: &State, number: u64, random: &mut fastrand::Rng, notes: &mut File) {
    let key = if random.bool() { Key::Desired } else { Key::Reported };
    let value = (number, "x".repeat(random.usize(10..60_000)));
    note(notes, &format!("putting {} {number}", key.name()));
    state.put_durable(key, &value).unwrap();
    note(notes, &format!("put {} {number}", key.name()));
}

fn note(notes: &mut File, line: &str) {
    notes.write_all(format!("{line}\n").as_bytes()).unwrap();
}

impl Ledger {
    /// Adds what a writer has noted; a last line without its end was never noted.
    pub(crate) fn add(&mut self, notes: &[u8]) {
        let text = std::str::from_utf8(notes).unwrap();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            match words[0] {
                "kept" => {
                    let before = self.kept.insert(number(1), (number(2), words[3].parse().unwrap()));
                    assert_eq!(before, None, "sequence number {} was used twice", number(1));
                }
                "acknowledged" => self.acknowledged = self.acknowledged.max(number(1)),
                "putting" => self.setting(words[1]).1 = number(2),
                "put" => self.setting(words[1]).0 = number(2),
                "open" => self.opened = false,
                "opened" => self.opened = true,
                other => panic!("{other}"),
            }
        }
    }

    /// Highest sequence number that was ever promised.
    pub(crate) fn last(&self) -> u64 {
        self.kept.keys().next_back().copied().unwrap_or(0)
    }

    /// Checks every durable setting.
    pub(crate) fn check_settings(&self, state: &State) {
        for key in [Key::Desired, Key::Reported] {
            let found = state.get::<(u64, String)>(key).unwrap().map_or(0, |(number, _)| number);
            let (durable, begun) = self.settings.get(key.name()).copied().unwrap_or_default();
            assert!((durable..=begun).contains(&found), "{}: {found} is not in {durable}..={begun}", key.name());
        }
    }

    /// Checks that all entries are sound, in order, and that each one kept and not acknowledged is among them once.
    pub(crate) fn check_entries(&self, outbox: &Outbox, entries: &[Entry]) {
        self.check_sound(outbox, entries);
        let found: BTreeMap<u64, &Entry> = entries.iter().map(|entry| (entry.seq, entry)).collect();
        for seq in self.kept.range(self.acknowledged + 1..).map(|(seq, _)| seq) {
            assert!(found.contains_key(seq), "kept event {seq} is lost; acknowledged {}", self.acknowledged);
        }
    }

    /// Checks an outbox that has shed: all alerts are there, and of each other kind the newest.
    pub(crate) fn check_shed(&self, outbox: &Outbox, entries: &[Entry]) {
        self.check_sound(outbox, entries);
        for kind in [UpKind::Alerts, UpKind::ZoneEvents, UpKind::Detections] {
            let oldest = entries.iter().find(|entry| entry.kind == kind).map_or(u64::MAX, |entry| entry.seq);
            let found = entries.iter().filter(|entry| entry.kind == kind && self.kept.contains_key(&entry.seq)).count();
            let from = if kind == UpKind::Alerts { 0 } else { oldest };
            let kept = self.kept.range(from..).filter(|(_, (_, kept))| *kept == kind).count();
            assert_eq!(found, kept, "{} are missing", kind.as_str());
        }
    }

    fn check_sound(&self, outbox: &Outbox, entries: &[Entry]) {
        assert!(entries.windows(2).all(|pair| pair[0].seq < pair[1].seq), "out of order");
        for entry in entries {
            let number = site::number_of(entry);
            site::check_entry(outbox, entry, number);
            if let Some((kept, kind)) = self.kept.get(&entry.seq) {
                assert_eq!((number, entry.kind), (*kept, *kind), "sequence number {} has other content", entry.seq);
            }
        }
    }

    fn setting(&mut self, name: &str) -> &mut (u64, u64) {
        let key = Key::ALL.iter().find(|key| key.name() == name).unwrap();
        self.settings.entry(key.name()).or_default()
    }
}
