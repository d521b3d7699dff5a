//! Any mix of what can happen to an outbox, against a list of what should be in it.

use std::fs;

use aivms_appliance::outbox::{Entry, Outbox, OutboxError};
use aivms_appliance::state::State;
use aivms_contract::topic::UpKind;
use proptest::prelude::*;

use crate::site::{self, Site, body};
use crate::writer::MAX_BYTES;

/// The kinds in the order in which they are shed; alerts never are.
const KINDS: [UpKind; 7] = [
    UpKind::Detections,
    UpKind::Health,
    UpKind::Snapshots,
    UpKind::Clips,
    UpKind::Footage,
    UpKind::ZoneEvents,
    UpKind::Alerts,
];

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(UpKind, usize)>),
    Acknowledge(f64),
    Read(f64, usize, usize),
    Reopen,
    LoseState,
    LoseMarks,
}

fn messages(sizes: std::ops::Range<usize>, count: usize) -> impl Strategy<Value = Vec<(UpKind, usize)>> {
    proptest::collection::vec((proptest::sample::select(&KINDS[..]), sizes), 1..count)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => messages(10..1500, 24).prop_map(Step::Append),
        3 => (0.0..1.0).prop_map(Step::Acknowledge),
        3 => (0.0..1.0, 1_usize..50, 1_usize..40_000).prop_map(|(from, entries, bytes)| Step::Read(from, entries, bytes)),
        1 => Just(Step::Reopen),
        1 => Just(Step::LoseState),
        1 => Just(Step::LoseMarks),
    ];
    proptest::collection::vec(step, 1..24)
}

/// The outbox under test beside what should be in it.
struct Bench {
    site: Site,
    open: Option<(Outbox, State)>,
    /// Sequence number, kind and number of each entry not acknowledged.
    waiting: Vec<(u64, UpKind, u64)>,
    acknowledged: u64,
    last: u64,
    number: u64,
    /// Entries that the shedding rule has dropped.
    shed: u64,
}

impl Bench {
    fn new() -> Self {
        let site = Site::bounded(MAX_BYTES);
        let open = Some(site.open());
        Self { site, open, waiting: Vec::new(), acknowledged: 0, last: 0, number: 0, shed: 0 }
    }

    fn outbox(&self) -> &Outbox {
        &self.open.as_ref().unwrap().0
    }

    async fn append(&mut self, messages: &[(UpKind, usize)]) {
        let first = self.number;
        let bodies = messages.iter().zip(first..).map(|((kind, bytes), number)| body(*kind, number, *bytes)).collect();
        for ((kind, _), kept) in messages.iter().zip(self.outbox().append_all(bodies).await) {
            match kept {
                Ok(seq) => {
                    assert!(seq > self.last, "{seq} after {}", self.last);
                    self.last = seq;
                    self.waiting.push((seq, *kind, self.number));
                }
                Err(OutboxError::Full { kind: refused, .. }) => assert_eq!(refused, kind.as_str()),
                Err(other) => panic!("{other}"),
            }
            self.number += 1;
        }
    }

    async fn acknowledge(&mut self, part: f64) {
        let Some((seq, ..)) = pick(&self.waiting, part) else { return };
        self.acknowledged = *seq;
        self.outbox().acknowledge(self.acknowledged).await.unwrap();
        self.waiting.retain(|(seq, ..)| *seq > self.acknowledged);
    }

    async fn reopen(&mut self, lose: impl FnOnce(&Site)) {
        let (outbox, state) = self.open.take().unwrap();
        outbox.close().await;
        drop(state);
        lose(&self.site);
        let (outbox, state, notices) = self.site.open_noting();
        assert!(notices.iter().all(|notice| notice.code != "events_lost"), "{notices:?}");
        self.open = Some((outbox, state));
    }

    async fn check_all(&self) {
        let entries = self.outbox().read_after(self.acknowledged, usize::MAX, usize::MAX).await.unwrap();
        self.check(&entries, &self.waiting);
        assert!(self.outbox().health().bytes <= MAX_BYTES, "{:?}", self.outbox().health());
    }

    fn check(&self, entries: &[Entry], expected: &[(u64, UpKind, u64)]) {
        let found: Vec<_> = entries.iter().map(|entry| (entry.seq, entry.kind, site::number_of(entry))).collect();
        assert_eq!(found, expected);
        for entry in entries {
            site::check_entry(self.outbox(), entry, site::number_of(entry));
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Append(messages) => self.append(&messages).await,
            Step::Acknowledge(part) => self.acknowledge(part).await,
            Step::Read(part, max_entries, max_bytes) => {
                let Some((after, ..)) = pick(&self.waiting, part).copied() else { return };
                let entries = self.outbox().read_after(after, max_entries, max_bytes).await.unwrap();
                let rest: Vec<_> = self.waiting.iter().filter(|(seq, ..)| *seq > after).copied().collect();
                assert!(entries.len() <= max_entries && (rest.is_empty() || !entries.is_empty()));
                let bytes: usize = entries.iter().map(|entry| entry.json.len()).sum();
                assert!(bytes <= max_bytes || entries.len() == 1);
                self.check(&entries, &rest[..entries.len()]);
            }
            Step::Reopen => self.reopen(|_| ()).await,
            Step::LoseState => {
                self.reopen(|site| {
                    fs::remove_dir_all(site.state_dir()).unwrap();
                    fs::remove_file(site.state_dir().with_extension("json")).unwrap();
                })
                .await;
            }
            Step::LoseMarks => {
                self.reopen(|site| fs::remove_file(site.outbox_dir().join("outbox.json")).unwrap()).await;
            }
        }
    }

    /// Appends into a full outbox and checks what had to give way.
    async fn append_shedding(&mut self, messages: &[(UpKind, usize)]) {
        let before = self.waiting.clone();
        self.append(messages).await;
        let entries = self.outbox().read_after(self.acknowledged, usize::MAX, usize::MAX).await.unwrap();
        let present: std::collections::BTreeSet<u64> = entries.iter().map(|entry| entry.seq).collect();
        let (stayed, dropped): (Vec<_>, Vec<_>) = before.into_iter().partition(|(seq, ..)| present.contains(seq));
        for (seq, kind, _) in &dropped {
            assert_ne!(*kind, UpKind::Alerts);
            let rank = KINDS.iter().position(|other| other == kind).unwrap();
            for (other, other_kind, _) in &stayed {
                assert!(!KINDS[..rank].contains(other_kind), "{} shed before {}", kind.as_str(), other_kind.as_str());
                assert!(other_kind != kind || other > seq, "a newer one of {} was shed", kind.as_str());
            }
        }
        let kept = self.waiting.len();
        self.waiting.retain(|(seq, ..)| present.contains(seq));
        self.shed += (kept - self.waiting.len()) as u64;
        assert_eq!(self.outbox().health().shed, self.shed);
        assert_eq!(self.outbox().health().entries, self.waiting.len() as u64);
        self.check_all().await;
    }
}

fn pick<T>(list: &[T], part: f64) -> Option<&T> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a short list")]
    list.get((part * list.len() as f64) as usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn any_mix_of_appends_acknowledgements_and_restarts_keeps_order_and_loses_nothing(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new();
            for step in steps {
                bench.step(step).await;
                bench.check_all().await;
            }
        });
    }

    #[test]
    fn a_full_outbox_sheds_the_oldest_of_the_lowest_kind_and_never_an_alert(
        rounds in proptest::collection::vec((messages(2_000..12_000, 30), 0.0..3.0), 6..14), restart in 0..14_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new();
            for (round, (messages, part)) in rounds.iter().enumerate() {
                bench.append_shedding(messages).await;
                if *part < 0.3 {
                    bench.acknowledge(*part).await;
                }
                if round == restart {
                    bench.reopen(|_| ()).await;
                    bench.check_all().await;
                }
            }
        });
    }
}

#[tokio::test]
async fn an_outbox_full_of_alerts_refuses_and_says_so_until_some_are_acknowledged() {
    let mut bench = Bench::new();
    let alerts = [(UpKind::Alerts, 20_000); 60];
    bench.append(&alerts).await;
    assert!(bench.waiting.len() < 60, "the limit was reached");
    bench.check_all().await;
    let refused = bench.outbox().append(body(UpKind::Alerts, 999, 20_000)).await.unwrap_err();
    assert!(refused.to_string().contains("nothing that may be shed"), "{refused}");
    bench.acknowledge(0.5).await;
    bench.append(&[(UpKind::Alerts, 20_000)]).await;
    bench.check_all().await;
}

#[tokio::test]
async fn filling_and_draining_again_and_again_stays_within_the_limit() {
    let mut bench = Bench::new();
    let (mut peak, mut drained) = (0, 0);
    for _ in 0..4 {
        while bench.outbox().health().bytes < MAX_BYTES * 3 / 4 {
            bench.append(&[(UpKind::Detections, 1_000); 64]).await;
        }
        peak = peak.max(on_disk(&bench));
        bench.check_all().await;
        bench.acknowledge(0.999_999).await;
        assert_eq!(bench.outbox().health().entries, 0);
        drained = drained.max(on_disk(&bench));
    }
    assert!(peak <= MAX_BYTES, "{peak}");
    assert!(drained <= MAX_BYTES / 8, "whole files are deleted once acknowledged, {drained} bytes are left");
}

fn on_disk(bench: &Bench) -> u64 {
    let files = fs::read_dir(bench.site.outbox_dir()).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}
