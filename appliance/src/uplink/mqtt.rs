//! The MQTT connection: one client object for each, started at the oldest entry that is not acknowledged.
//!
//! A fresh client for every connection, because rumqttc 0.25 keeps state over reconnects that can stall it for ever
//! (its issue 1056). The session never waits for the client (its issue 1025): it uses `try_publish`, and when the
//! client's queue is full it goes on when the next packet was written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::backoff::Backoff;
use aivms_contract::id::{EdgeId, TenantId};
use aivms_contract::limits::MAX_PACKET_BYTES;
use aivms_contract::topic::Topic;
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, TlsConfiguration, Transport};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::line::{Line, LinkState};
use super::session::{Ended, Session};
use super::{Say, Told};
use crate::identity::Identity;
use crate::outbox::Outbox;

/// Interval of pings; a connection without an answer to one is given up at the next.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Longest seconds until a connection is up, and until a packet is written.
const CONNECT_TIMEOUT_S: u64 = 10;
/// Packets sent without a PUBACK. rumqttc is safe with few only; the cloud acknowledges in batches of more.
const INFLIGHT: u16 = 50;
/// Requests the client queues: enough for all that may be in flight.
const REQUESTS: usize = 64;
/// Events of the client not yet looked at. When full, the client waits and reads no more from the network.
const EVENTS: usize = 128;
/// A connection that held this long was a success: the next failure is tried again soon.
const STEADY: Duration = Duration::from_secs(30);
/// Answers and reports kept while there is no connection; the oldest goes when more come. The cloud asks again.
const MAX_UNSAID: usize = 64;
/// Time for the last packets and the good-bye on the way out.
const GOOD_BYE: Duration = Duration::from_secs(1);

/// The MQTT side of the uplink.
pub(super) struct Mqtt {
    pub(super) outbox: Outbox,
    identity: watch::Receiver<Option<Arc<Identity>>>,
    pub(super) ack_timeout: Duration,
    say: mpsc::Receiver<Say>,
    pub(super) unsaid: VecDeque<Say>,
    pub(super) told: mpsc::Sender<Told>,
    pub(super) line: Arc<Line>,
}

/// What interrupts a session or a wait.
enum Interruption {
    Stop,
    NewIdentity,
}

impl Mqtt {
    pub(super) fn new(
        outbox: Outbox,
        identity: watch::Receiver<Option<Arc<Identity>>>,
        ack_timeout: Duration,
        say: mpsc::Receiver<Say>,
        told: mpsc::Sender<Told>,
        line: Arc<Line>,
    ) -> Self {
        Self { outbox, identity, ack_timeout, say, unsaid: VecDeque::new(), told, line }
    }

    /// Keeps a connection until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::for_uplink();
        let mut failures = 0u32;
        loop {
            let Some(identity) = self.identity.borrow_and_update().clone() else {
                self.line.show(LinkState::NotEnrolled, None);
                match self.wait_until(None, &stop).await {
                    Some(Interruption::Stop) => return,
                    _ => continue,
                }
            };
            let began = Instant::now();
            let cause = match self.connect(&identity, &stop).await {
                Ok(Interruption::Stop) => return,
                Ok(Interruption::NewIdentity) => continue,
                Err(cause) => cause,
            };
            if began.elapsed() >= STEADY {
                backoff.reset();
                failures = 0;
            }
            let delay = backoff.next_delay(fastrand::f64());
            failures = failures.saturating_add(1);
            let retry_ms = delay.as_millis();
            // Ever rarer, so that a long outage does not bury what else is in the log.
            if failures.is_power_of_two() {
                tracing::warn!(cause, failures, retry_ms, "MQTT is not connected");
            } else {
                tracing::debug!(cause, failures, retry_ms, "MQTT is not connected");
            }
            self.line.mqtt_failed(cause);
            if let Some(Interruption::Stop) = self.wait_until(Some(Instant::now() + delay), &stop).await {
                return;
            }
        }
    }

    /// Connects and stays connected; returns why that ended.
    async fn connect(&mut self, identity: &Identity, stop: &CancellationToken) -> Result<Interruption, String> {
        let enrollment = identity.enrollment();
        let (client, events) = AsyncClient::new(options(identity)?, REQUESTS);
        let (sender, mut receiver) = mpsc::channel(EVENTS);
        // Two futures of one task: the client is never cancelled half-way, and both end together.
        let client_work = poll(events, sender);
        let session_work = async {
            let (tenant, edge) = (&enrollment.tenant_id, &enrollment.edge_id);
            let mut session = Session::new(&client, Address { tenant, edge }, self.outbox.clone(), self.ack_timeout);
            self.serve(&mut session, &mut receiver, stop).await
        };
        tokio::pin!(client_work);
        let ended = tokio::select! {
            error = &mut client_work => return Err(in_words(&error, enrollment.mqtt_port, &enrollment.mqtt_host)),
            ended = session_work => ended,
        };
        match ended {
            Ok(interruption) => {
                // A full queue or a slow network must not hold up the way out.
                let _ = client.try_disconnect();
                let _ = tokio::time::timeout(GOOD_BYE, client_work).await;
                Ok(interruption)
            }
            Err(ended) => Err(ended.to_string()),
        }
    }

    async fn serve(
        &mut self,
        session: &mut Session<'_>,
        events: &mut mpsc::Receiver<Event>,
        stop: &CancellationToken,
    ) -> Result<Interruption, Ended> {
        let mut kept = self.outbox.kept();
        loop {
            session.pump(&mut self.unsaid).await?;
            let deadline = session.next_deadline();
            tokio::select! {
                () = stop.cancelled() => return Ok(Interruption::Stop),
                changed = self.identity.changed() => return Ok(interruption(changed)),
                Some(event) = events.recv() => session.on_event(event, &self.told, &self.line).await?,
                Some(say) = self.say.recv() => keep(&mut self.unsaid, say, session.is_up()),
                Ok(()) = kept.changed(), if session.is_up() => {}
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return Err(Ended::Silent(self.ack_timeout));
                }
            }
        }
    }

    /// Waits for `until` or an interruption, while what should be said is kept or skipped.
    async fn wait_until(&mut self, until: Option<Instant>, stop: &CancellationToken) -> Option<Interruption> {
        loop {
            tokio::select! {
                () = stop.cancelled() => return Some(Interruption::Stop),
                changed = self.identity.changed() => return Some(interruption(changed)),
                Some(say) = self.say.recv() => keep(&mut self.unsaid, say, false),
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return None,
            }
        }
    }
}

/// Whose topics are used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) edge: &'a EdgeId,
}

fn options(identity: &Identity) -> Result<MqttOptions, String> {
    let enrollment = identity.enrollment();
    let tls = identity.mqtt_tls().map_err(|error| error.to_string())?;
    let mut options = MqttOptions::new(enrollment.edge_id.as_str(), &enrollment.mqtt_host, enrollment.mqtt_port);
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)))
        .set_keep_alive(KEEP_ALIVE)
        .set_clean_session(true)
        .set_inflight(INFLIGHT)
        .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
    Ok(options)
}

/// Runs the client until its connection ends.
async fn poll(mut client: EventLoop, events: mpsc::Sender<Event>) -> ConnectionError {
    client.network_options.set_connection_timeout(CONNECT_TIMEOUT_S);
    loop {
        match client.poll().await {
            // Without a listener the session is over and only the good-bye is left to be written.
            Ok(event) => drop(events.send(event).await),
            Err(error) => return error,
        }
    }
}

fn keep(unsaid: &mut VecDeque<Say>, say: Say, is_up: bool) {
    if matches!(say, Say::Status(_)) && !is_up {
        return;
    }
    if unsaid.len() == MAX_UNSAID {
        unsaid.pop_front();
    }
    unsaid.push_back(say);
}

/// Nobody can bring a new identity any more once the program stops.
fn interruption(changed: Result<(), watch::error::RecvError>) -> Interruption {
    changed.map_or(Interruption::Stop, |()| Interruption::NewIdentity)
}

fn in_words(error: &ConnectionError, port: u16, host: &str) -> String {
    let cause = crate::cloud::causes(error);
    if crate::cloud::blames_the_clock(error) {
        let now = crate::clock::now();
        return format!(
            "the certificate of {host}:{port} is not valid at {now}, the time of this device's clock ({cause}); set \
             the clock (NTP)"
        );
    }
    format!("{host}:{port}: {cause}")
}

/// The filter of everything said to an edge.
pub(super) fn down_filter(address: Address<'_>) -> String {
    Topic::down_filter(address.tenant, address.edge)
}
