//! The hub of one edge with those who wait on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aivms_cloud_core::relay::{Answer, Ask, ForViewer, Full, Hub, ViewerId, Wanted};
use aivms_contract::relay::{EndReason, FrameHeader, FrameHeaderError, FromEdge, ToEdge};
use aivms_contract::time::UtcMillis;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::calls::Caller;
use super::{Place, Relay, Waiters};
use crate::store::Fingerprint;

/// How long an idle hub is kept.
const KEPT: Duration = Duration::from_secs(10);

/// The hub of one edge.
#[derive(Debug)]
pub(crate) struct EdgeHub {
    place: Place,
    began: Instant,
    caller: Caller,
    state: Mutex<State>,
    /// A deadline may have changed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    core: Hub,
    waiters: Waiters,
    answers: HashMap<u32, oneshot::Sender<Answer>>,
    connection: Option<Connection>,
    generation: u64,
}

/// The edge's WebSocket.
#[derive(Debug)]
struct Connection {
    generation: u64,
    fingerprint: Fingerprint,
    end: CancellationToken,
    /// Something was asked of the edge.
    asked: Arc<Notify>,
}

/// The edge's seat in its hub; it leaves when dropped.
pub(crate) struct Seat {
    hub: Arc<EdgeHub>,
    generation: u64,
    asked: Arc<Notify>,
    /// Cancelled when a newer connection has come or the certificate no longer counts.
    pub(crate) end: CancellationToken,
}

/// A viewer's seat; it leaves when dropped.
pub(crate) struct Viewing {
    hub: Arc<EdgeHub>,
    id: ViewerId,
    waiter: Arc<Notify>,
}

/// A question whose answer is awaited; forgotten when dropped.
pub(crate) struct Asked {
    hub: Arc<EdgeHub>,
    request: u32,
    answer: oneshot::Receiver<Answer>,
}

impl EdgeHub {
    pub(super) fn new(place: Place, caller: Caller) -> Self {
        Self { place, began: Instant::now(), caller, state: Mutex::default(), changed: Notify::new() }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Keeps time for the hub until nobody needs it.
    pub(super) async fn drive(self: Arc<Self>, relay: &Relay) {
        loop {
            let due = self.state().core.next_deadline();
            let idle = Instant::now() + KEPT;
            tokio::select! {
                () = sleep_until(due.map_or(idle, |due| self.began + due)) => {}
                () = self.changed.notified() => continue,
            }
            self.with(|state, now| state.core.tick(now));
            if due.is_none() && relay.dropped_idle(&self) {
                return;
            }
        }
    }

    /// How many streams of it are watched.
    pub(super) fn viewers(&self) -> usize {
        self.state().waiters.0.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state().core.is_idle()
    }

    /// Seats the edge; the newer connection stays.
    pub(crate) fn connect(self: &Arc<Self>, fingerprint: Fingerprint) -> Seat {
        let (end, asked) = (CancellationToken::new(), Arc::new(Notify::new()));
        let generation = self.with(|state, now| {
            if let Some(previous) = state.connection.take() {
                previous.end.cancel();
            }
            state.generation += 1;
            state.connection = Some(Connection {
                generation: state.generation,
                fingerprint,
                end: end.clone(),
                asked: Arc::clone(&asked),
            });
            state.core.connected(now);
            state.generation
        });
        Seat { hub: Arc::clone(self), generation, asked, end }
    }

    /// Lets a viewer in.
    pub(crate) fn join(self: &Arc<Self>, wanted: &Wanted) -> Result<Viewing, Full> {
        let waiter = Arc::new(Notify::new());
        let id = self.with(|state, now| {
            let id = state.core.join(wanted, now)?;
            state.waiters.0.insert(id, Arc::clone(&waiter));
            Ok(id)
        })?;
        Ok(Viewing { hub: Arc::clone(self), id, waiter })
    }

    /// Asks the edge.
    pub(crate) fn ask(self: &Arc<Self>, ask: &Ask) -> Result<Asked, Full> {
        let (sender, answer) = oneshot::channel();
        let request = self.with(|state, now| {
            let request = state.core.ask(ask, now)?;
            state.answers.insert(request, sender);
            Ok(request)
        })?;
        Ok(Asked { hub: Arc::clone(self), request, answer })
    }

    /// Ends the connection when it is by one of these certificates, and all that is seen through it.
    pub(super) fn end(&self, certificates: &[Fingerprint]) {
        self.with(|state, now| {
            if !state.connection.as_ref().is_some_and(|connection| certificates.contains(&connection.fingerprint)) {
                return;
            }
            if let Some(connection) = state.connection.take() {
                connection.end.cancel();
            }
            state.core.disconnected(now);
            state.send_all_away(EndReason::Revoked, "the edge's access was withdrawn", now);
        });
    }

    /// Ends everything: another process has the relay of the edge.
    pub(super) fn give_up(&self) {
        self.with(|state, now| {
            if let Some(connection) = state.connection.take() {
                connection.end.cancel();
            }
            state.core.disconnected(now);
            state.send_all_away(EndReason::EdgeAway, "another server shows this edge now: look again", now);
        });
    }

    /// Changes the state and carries out what follows from it.
    fn with<T>(&self, change: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.state();
        let done = change(&mut state, self.began.elapsed());
        if state.core.take_call() {
            self.caller.call(&self.place);
        }
        while let Some((request, answer)) = state.core.take_answer() {
            if let Some(waiting) = state.answers.remove(&request) {
                // Whoever asked may have gone.
                let _ = waiting.send(answer);
            }
        }
        state.waiters.wake_all();
        if let Some(connection) = &state.connection {
            connection.asked.notify_one();
        }
        drop(state);
        self.changed.notify_one();
        done
    }

    /// A panic elsewhere never makes the hub unusable: every change to it is complete.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn send_all_away(&mut self, reason: EndReason, detail: &str, now: Duration) {
        let viewers: Vec<_> = self.waiters.0.keys().copied().collect();
        viewers.into_iter().for_each(|viewer| self.core.send_away(viewer, reason, detail, now));
    }
}

impl Seat {
    /// The next message to the edge.
    pub(crate) async fn next(&self) -> ToEdge {
        loop {
            if let Some(message) = self.take() {
                return message;
            }
            self.asked.notified().await;
        }
    }

    fn take(&self) -> Option<ToEdge> {
        let mut state = self.hub.state();
        let is_ours = state.connection.as_ref().is_some_and(|connection| connection.generation == self.generation);
        if is_ours { state.core.take_for_edge() } else { None }
    }

    /// The edge has said something.
    pub(crate) fn text(&self, message: &FromEdge) {
        self.ours(|state, now| state.core.text(message, now));
    }

    /// The edge has sent a binary frame.
    ///
    /// # Errors
    /// It has no head that can be read.
    pub(crate) fn frame(&self, frame: Vec<u8>) -> Result<(), FrameHeaderError> {
        let (header, _) = FrameHeader::read(&frame)?;
        let frame = Arc::from(frame);
        self.ours(|state, now| state.core.frame(&header, &frame, now));
        Ok(())
    }

    fn ours(&self, change: impl FnOnce(&mut State, Duration)) {
        self.hub.with(|state, now| {
            if state.connection.as_ref().is_some_and(|connection| connection.generation == self.generation) {
                change(state, now);
            }
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.ours(|state, now| {
            state.connection = None;
            state.core.disconnected(now);
        });
    }
}

impl Viewing {
    /// The next frame.
    pub(crate) async fn next(&self) -> ForViewer {
        loop {
            // The lock is let go before anything is awaited.
            let next = self.hub.state().core.take_for_viewer(self.id);
            if let Some(message) = next {
                return message;
            }
            self.waiter.notified().await;
        }
    }

    /// Goes elsewhere.
    pub(crate) fn seek(&self, from: UtcMillis, key_frames_only: bool) {
        self.hub.with(|state, _| state.core.seek(self.id, from, key_frames_only));
    }

    /// Takes so many fragments more.
    pub(crate) fn credit(&self, fragments: u32) {
        self.hub.with(|state, _| state.core.credit(self.id, fragments));
    }

    /// Ends it for a reason of the cloud's; the last frame says so.
    pub(crate) fn send_away(&self, reason: EndReason, detail: &str) {
        self.hub.with(|state, now| state.core.send_away(self.id, reason, detail, now));
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.hub.with(|state, now| {
            state.waiters.0.remove(&self.id);
            state.core.leave(self.id, now);
        });
    }
}

impl Asked {
    /// The answer, or that the edge is away when it takes longer than `limit`.
    pub(crate) async fn answer(mut self, limit: Duration) -> Answer {
        match tokio::time::timeout(limit, &mut self.answer).await {
            Ok(Ok(answer)) => answer,
            _ => Answer::EdgeAway,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.hub.with(|state, _| {
            state.answers.remove(&self.request);
            state.core.forget(self.request);
        });
    }
}
