//! An edge at work, as the contract has it: it carries out each command once and repeats its answer when it is told
//! again, and it tells of zone events until the cloud has them all.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use aivms_contract::ack::Ack;
use aivms_contract::command::{Command, CommandResult, Outcome};
use aivms_contract::envelope::Envelope;
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use rumqttc::{Event, Incoming, QoS};
use serde_json::json;
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::edge::{Edge, Ended, Session};

/// Longest time a command takes to be carried out: long enough that servers die between telling and answer.
const WORK_MS: u64 = 300;

/// A command that was carried out.
pub(crate) struct Done {
    pub answer: CommandResult,
    /// How often it was told.
    pub told: u32,
}

/// What an edge remembers of commands, by id, as if on its disk.
pub(crate) type Orders = BTreeMap<String, Done>;

pub(crate) struct Worker {
    edge: Edge,
    events: Vec<Envelope>,
    /// Events a second.
    rate: f64,
    began: Instant,
    /// Events the cloud has acknowledged.
    through: u64,
    orders: Orders,
    /// Answers to be given, with the time at which the work is done.
    due: VecDeque<(Instant, String)>,
}

impl Worker {
    pub(crate) fn new(edge: Edge, events: Vec<Envelope>, rate: f64) -> Self {
        let (orders, due) = (Orders::new(), VecDeque::new());
        Self { edge, events, rate, began: Instant::now(), through: 0, orders, due }
    }

    /// Works over as many connections as it takes, until `stop`, but not before all events are stored.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Orders {
        while !self.is_over(&stop) {
            match self.edge.connect(self.edge.balanced()).await {
                Ok(session) => self.serve(session, &stop).await,
                Err(Ended::Lost) => {}
                Err(Ended::Refused) => sleep(Duration::from_millis(500)).await,
            }
            sleep(Duration::from_millis(fastrand::u64(50..300))).await;
        }
        self.orders
    }

    fn is_over(&self, stop: &CancellationToken) -> bool {
        stop.is_cancelled() && self.through >= self.events.len() as u64
    }

    async fn serve(&mut self, mut session: Session, stop: &CancellationToken) {
        let mut next = self.through;
        // What was not said on the connection before is said when the cloud asks again.
        self.due.clear();
        let mut tick = interval(Duration::from_millis(20));
        while !self.is_over(stop) {
            tokio::select! {
                _ = tick.tick() => {
                    self.publish(&session, &mut next);
                    self.answer(&session);
                }
                heard = session.events.poll() => match heard {
                    Ok(Event::Incoming(Incoming::Publish(heard))) => self.hear(&heard.topic, &heard.payload),
                    Ok(_) => {}
                    Err(_) => return,
                },
            }
        }
    }

    fn publish(&self, session: &Session, next: &mut u64) {
        let topic = self.edge.topic(UpKind::ZoneEvents);
        let due = (self.began.elapsed().as_secs_f64() * self.rate) as usize;
        for event in self.events.iter().take(due).skip(*next as usize).take(20) {
            if session.client.try_publish(&topic, QoS::AtLeastOnce, false, event.to_json()).is_err() {
                return;
            }
            *next += 1;
        }
    }

    fn answer(&mut self, session: &Session) {
        let topic = self.edge.topic(UpKind::Results);
        while let Some((at, id)) = self.due.front() {
            let json = serde_json::to_vec(&self.orders[id].answer).unwrap();
            if *at > Instant::now() || session.client.try_publish(&topic, QoS::AtLeastOnce, false, json).is_err() {
                return;
            }
            self.due.pop_front();
        }
    }

    fn hear(&mut self, topic: &str, payload: &[u8]) {
        if topic.ends_with("/down/acks") {
            let ack: Ack = serde_json::from_slice(payload).unwrap();
            self.through = self.through.max(ack.through);
        } else if topic.ends_with("/down/commands") {
            let command: Command = serde_json::from_slice(payload).unwrap();
            let id = command.id.to_string();
            let number = self.orders.len();
            let done =
                self.orders.entry(id.clone()).or_insert_with(|| Done { answer: carry_out(command, number), told: 0 });
            done.told += 1;
            self.due.push_back((Instant::now() + Duration::from_millis(fastrand::u64(0..WORK_MS)), id));
        }
    }
}

/// Carries it out; what it returns differs each time, so that doing it twice would show.
fn carry_out(command: Command, number: usize) -> CommandResult {
    let data = json!({ "carried_out": number, "dice": fastrand::u32(..) }).as_object().unwrap().clone();
    let at = UtcMillis::from_millis(jiff::Timestamp::now().as_millisecond());
    CommandResult { id: command.id, at, outcome: Outcome::Succeeded, reason: None, data }
}
