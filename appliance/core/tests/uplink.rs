//! Promise 1 at the window: any mix of append, shed, send, acknowledgement and disconnect keeps the order, never
//! counts as stored what was not sent, and in the end everything is in the cloud.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this file is tests")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use aivms_appliance_core::uplink::{UplinkLimits, UplinkWindow};
use aivms_contract::ack::Ack;
use aivms_contract::id::OutboxId;
use proptest::prelude::*;

const LIMITS: UplinkLimits = UplinkLimits { entries: 4, bytes: 100, ack_within: Duration::from_secs(20) };
const BIGGEST_ENTRY: usize = 150;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// An entry is appended after `gap` numbers that were never used.
    Append {
        bytes: usize,
        gap: u64,
    },
    /// The outbox is full and sheds the entry at this place.
    Shed(prop::sample::Index),
    /// The shell reads and sends.
    Send,
    /// So many entries arrive at the cloud.
    Arrive(usize),
    /// The cloud commits and acknowledges.
    CloudAcks,
    /// An acknowledgement arrives: any one the cloud ever sent.
    AckArrives(prop::sample::Index),
    /// A wrong acknowledgement arrives, of this outbox or another.
    Bogus {
        through: u64,
        foreign: bool,
    },
    Disconnect,
    Connect,
    Wait(u64),
}

/// The world around the window, kept as plainly as possible.
#[derive(Debug)]
struct World {
    window: UplinkWindow,
    now: Duration,
    connected: bool,
    next_seq: u64,
    outbox: BTreeMap<u64, usize>,
    /// Entries on their way; a connection that breaks loses them.
    wire: VecDeque<u64>,
    stored: BTreeSet<u64>,
    acks: Vec<u64>,
    /// Sent on this connection.
    sent: Vec<u64>,
    appended: BTreeSet<u64>,
    shed: BTreeSet<u64>,
    /// Whether a wrong acknowledgement may have covered what was on its way.
    lied_to: bool,
}

impl World {
    fn new() -> Self {
        Self {
            window: UplinkWindow::new(outbox(), LIMITS),
            now: Duration::ZERO,
            connected: false,
            next_seq: 1,
            outbox: BTreeMap::new(),
            wire: VecDeque::new(),
            stored: BTreeSet::new(),
            acks: vec![],
            sent: vec![],
            appended: BTreeSet::new(),
            shed: BTreeSet::new(),
            lied_to: false,
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Append { bytes, gap } => {
                let seq = self.next_seq + gap;
                self.outbox.insert(seq, bytes);
                self.appended.insert(seq);
                self.next_seq = seq + 1;
            }
            Step::Shed(index) if !self.outbox.is_empty() => {
                let seq = *self.outbox.keys().nth(index.index(self.outbox.len())).unwrap();
                self.outbox.remove(&seq);
                self.shed.insert(seq);
            }
            Step::Shed(_) => {}
            Step::Send => self.send()?,
            Step::Arrive(count) => self.stored.extend(self.wire.drain(..count.min(self.wire.len()))),
            Step::CloudAcks => self.acks.extend(self.stored.last()),
            Step::AckArrives(index) if !self.acks.is_empty() => {
                let through = self.acks[index.index(self.acks.len())];
                self.ack(&Ack { outbox: outbox(), through })?;
            }
            Step::AckArrives(_) => {}
            Step::Bogus { through, foreign: true } => {
                let foreign = Ack { outbox: "another".parse().unwrap(), through };
                prop_assert_eq!(self.window.on_ack(&foreign, self.now), None);
            }
            Step::Bogus { through, foreign: false } => {
                self.lied_to = true;
                self.ack(&Ack { outbox: outbox(), through })?;
            }
            Step::Disconnect => {
                self.window.on_disconnect();
                self.drop_connection();
            }
            Step::Connect => {
                self.drop_connection();
                self.window.on_connect(self.now);
                self.connected = true;
            }
            Step::Wait(ms) => {
                self.now += Duration::from_millis(ms);
                if self.window.on_deadline(self.now) {
                    prop_assert!(!self.sent.is_empty(), "given up although nothing was sent");
                    self.drop_connection();
                }
            }
        }
        prop_assert!(self.window.in_flight() <= LIMITS.entries);
        Ok(())
    }

    fn drop_connection(&mut self) {
        self.connected = false;
        self.wire.clear();
        self.sent.clear();
    }

    fn send(&mut self) -> Result<(), TestCaseError> {
        let Some(read) = self.window.next_read() else { return Ok(()) };
        prop_assert!(self.connected, "sends without a connection");
        let (mut entries, mut bytes) = (0, 0);
        for (&seq, &size) in self.outbox.range(read.after + 1..) {
            if entries == read.entries || (entries > 0 && bytes + size > read.bytes) {
                break;
            }
            (entries, bytes) = (entries + 1, bytes + size);
            prop_assert_eq!(self.window.on_send(seq, size, self.now), Ok(()));
            if self.sent.is_empty() {
                prop_assert_eq!(Some(&seq), self.outbox.keys().next(), "starts at the oldest entry");
            }
            prop_assert!(self.sent.last().is_none_or(|last| *last < seq), "sent out of order");
            self.sent.push(seq);
            self.wire.push_back(seq);
        }
        prop_assert!(bytes <= LIMITS.bytes.max(BIGGEST_ENTRY));
        Ok(())
    }

    /// Deletes what the window allows, and checks that it was sent here and is stored.
    fn ack(&mut self, ack: &Ack) -> Result<(), TestCaseError> {
        let Some(through) = self.window.on_ack(ack, self.now) else { return Ok(()) };
        prop_assert!(self.sent.last().is_some_and(|last| through <= *last), "covers what was not sent");
        prop_assert!(through <= ack.through);
        let kept = self.outbox.split_off(&(through + 1));
        for seq in std::mem::replace(&mut self.outbox, kept).into_keys() {
            prop_assert!(self.sent.contains(&seq), "{seq} is deleted but was not sent on this connection");
            prop_assert!(self.lied_to || self.stored.contains(&seq), "{seq} is deleted but not stored");
        }
        Ok(())
    }

    /// Lets everything work from now on until the outbox is empty.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        self.take(Step::Connect)?;
        for _ in 0..=self.outbox.len() {
            self.take(Step::Send)?;
            self.take(Step::Arrive(usize::MAX))?;
            if let Some(&through) = self.stored.last() {
                self.ack(&Ack { outbox: outbox(), through })?;
            }
        }
        prop_assert!(self.outbox.is_empty(), "left over: {:?}", self.outbox);
        prop_assert_eq!(self.window.next_deadline(), None);
        let missing: Vec<_> = self.appended.difference(&self.stored).filter(|seq| !self.shed.contains(seq)).collect();
        prop_assert!(self.lied_to || missing.is_empty(), "never stored: {:?}", missing);
        Ok(())
    }
}

fn outbox() -> OutboxId {
    "box-1".parse().unwrap()
}

fn steps(with_lies: bool) -> impl Strategy<Value = Vec<Step>> {
    let append = || (1..BIGGEST_ENTRY, prop_oneof![4 => Just(0u64), 1 => 1..5u64]);
    let step = prop_oneof![
        8 => append().prop_map(|(bytes, gap)| Step::Append { bytes, gap }),
        1 => any::<prop::sample::Index>().prop_map(Step::Shed),
        8 => Just(Step::Send),
        6 => (1..4usize).prop_map(Step::Arrive),
        5 => Just(Step::CloudAcks),
        6 => any::<prop::sample::Index>().prop_map(Step::AckArrives),
        1 => (0..100u64, Just(true)).prop_map(|(through, foreign)| Step::Bogus { through, foreign }),
        1 => Just(Step::Disconnect),
        3 => Just(Step::Connect),
        2 => (0..15_000u64).prop_map(Step::Wait),
    ];
    let lie = (0..100u64, any::<bool>()).prop_map(|(through, foreign)| Step::Bogus { through, foreign });
    let weight = if with_lies { 4 } else { 0 };
    proptest::collection::vec(prop_oneof![40 => step, weight => lie], 0..150)
}

proptest! {
    #[test]
    fn everything_is_stored_in_the_end_and_nothing_is_deleted_before(steps in steps(false)) {
        let mut world = World::new();
        for step in steps {
            world.take(step)?;
        }
        world.finish()?;
    }

    #[test]
    fn even_wrong_acks_cover_only_what_was_sent_on_this_connection(steps in steps(true)) {
        let mut world = World::new();
        for step in steps {
            world.take(step)?;
        }
        world.finish()?;
    }
}
