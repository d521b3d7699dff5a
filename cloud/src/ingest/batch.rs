//! Group commit: takes what waits, commits, answers, repeats. Batch size follows load by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use aivms_contract::topic::UpKind;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Submission;
use super::figures::IngestFigures;
use crate::live::LiveHints;
use crate::store::{EdgeKey, Incoming, Message, Recorded, SharedStore, StoreError};

/// Most messages of one commit: 5,000 take about 150 ms on a store of ten million rows, which is what the bound on
/// publish-to-queryable (250 ms) leaves room for. One submission more may tip it over.
const BATCH: usize = 5_000;
/// From this many messages on, a commit's fixed cost is small beside theirs and waiting for more gains nothing.
const WORTH_A_COMMIT: usize = 500;
/// How long the first message of a small batch waits for others.
const LINGER: Duration = Duration::from_millis(2);
/// First and longest pause after a commit failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// After this many failures in a row that are not for want of room, the batch is searched for one message that the
/// database refuses.
const SUSPICIOUS_FAILURES: u32 = 3;

/// Commits what waits; run it in a task of its own.
pub struct Batches {
    store: SharedStore,
    hints: LiveHints,
    waiting: mpsc::Receiver<Submission>,
    figures: IngestFigures,
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Batches {
    pub(super) fn new(
        store: SharedStore,
        hints: LiveHints,
        waiting: mpsc::Receiver<Submission>,
        figures: IngestFigures,
    ) -> Self {
        Self { store, hints, waiting, figures }
    }

    /// Runs until every [`super::Ingest`] is gone, or until `shutdown`: then what waits is committed once more, and
    /// whoever is not answered by that knows that nothing is promised.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                first = self.waiting.recv() => first,
            };
            let Some(first) = first else { return };
            let batch = self.gather(first).await;
            if self.commit(batch, &shutdown).await.is_none() {
                break;
            }
        }
        self.finish().await;
    }

    /// Takes what waits after `first`, and a moment longer when that is little.
    async fn gather(&mut self, first: Submission) -> Vec<Submission> {
        let mut count = first.messages.len();
        let mut batch = vec![first];
        let linger = Instant::now() + LINGER;
        while count < BATCH {
            let next = match self.waiting.try_recv() {
                Ok(next) => Some(next),
                Err(_) if count >= WORTH_A_COMMIT => None,
                Err(_) => tokio::time::timeout_at(linger, self.waiting.recv()).await.unwrap_or(None),
            };
            let Some(next) = next else { break };
            count += next.messages.len();
            batch.push(next);
        }
        batch
    }

    /// Commits `batch`, trying for as long as it takes, and answers the submitters; `None` when `shutdown` came first.
    async fn commit(&self, batch: Vec<Submission>, shutdown: &CancellationToken) -> Option<()> {
        let (messages, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|s| (s.messages, (s.at, s.done))).unzip();
        let recorded = self.record(messages.into_iter().flatten().collect(), shutdown).await?;
        self.hints.stored_through(recorded.feed_number);
        for (submitted, answer) in answers {
            self.figures.waited(submitted.elapsed());
            // A submitter that has gone meanwhile, such as a closed session, needs no answer.
            drop(answer.send(recorded.clone()));
        }
        Some(())
    }

    async fn record(&self, mut messages: Vec<Incoming>, shutdown: &CancellationToken) -> Option<Recorded> {
        let mut failures = 0;
        let mut pause = RETRY.0;
        loop {
            let began = Instant::now();
            let error = match self.store.record_events(messages.clone()).await {
                Ok(recorded) => {
                    self.figures.committed(&messages, &recorded, began.elapsed());
                    if failures > 0 {
                        tracing::info!(failures, "events are stored again");
                    }
                    return Some(recorded);
                }
                Err(error) => error,
            };
            failures += 1;
            self.figures.failed();
            if failures == 1 {
                tracing::error!(%error, messages = messages.len(), "events can't be stored; trying again until they are");
            }
            if failures >= SUSPICIOUS_FAILURES && !matches!(error, StoreError::Unwritable(_)) {
                self.leave_out_the_gone(&mut messages).await;
                self.set_refused_aside(&mut messages).await;
            }
            tokio::select! {
                () = tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
                () = shutdown.cancelled() => return None,
            }
            pause = (pause * 2).min(RETRY.1);
        }
    }

    /// Leaves out what edges have said that went with their tenants: it belongs to nobody, and their certificates count no
    /// more.
    async fn leave_out_the_gone(&self, messages: &mut Vec<Incoming>) {
        let edges: BTreeSet<EdgeKey> = messages.iter().map(|message| message.edge).collect();
        for edge in edges {
            if let Ok(true) = self.store.is_edge_gone(edge).await {
                tracing::warn!(?edge, "messages of an edge that was deleted with its tenant are dropped");
                messages.retain(|message| message.edge != edge);
            }
        }
    }

    /// Finds, by halving, messages that the database refuses alone although it takes them as unreadable, and sets
    /// those aside, so that one message never stops all others. Leaves the batch as it is when the database refuses
    /// everything.
    async fn set_refused_aside(&self, messages: &mut [Incoming]) {
        let all = 0..messages.len();
        let mut unclear = vec![all];
        while let Some(range) = unclear.pop() {
            let Err(error) = self.store.record_events(messages[range.clone()].to_vec()).await else { continue };
            if range.len() > 1 {
                let middle = range.start + range.len() / 2;
                unclear.extend([middle..range.end, range.start..middle]);
                continue;
            }
            let Some(message) = messages.get_mut(range.start) else { return };
            let Some(unreadable) = as_unreadable(message, &error) else { return };
            if self.store.record_events(vec![unreadable.clone()]).await.is_err() {
                return;
            }
            tracing::error!(%error, "the database refuses a message; it is set aside as unreadable");
            *message = unreadable;
        }
    }

    /// Commits what was submitted before the end, once.
    async fn finish(&mut self) {
        self.waiting.close();
        let mut batch = Vec::new();
        while let Some(submission) = self.waiting.recv().await {
            batch.push(submission);
        }
        let messages: Vec<_> = batch.iter().flat_map(|s| s.messages.iter().cloned()).collect();
        if messages.is_empty() {
            return;
        }
        match self.store.record_events(messages).await {
            Ok(recorded) => {
                self.hints.stored_through(recorded.feed_number);
                batch.into_iter().for_each(|s| drop(s.done.send(recorded.clone())));
            }
            Err(error) => tracing::error!(%error, "the last events were not stored; their edges send them again"),
        }
    }
}

fn as_unreadable(incoming: &Incoming, error: &StoreError) -> Option<Incoming> {
    let Message::Known(envelope) = &incoming.message else { return None };
    let kind: UpKind = envelope.body.kind();
    let message = Message::Unreadable {
        outbox: envelope.outbox.clone(),
        seq: envelope.seq,
        kind,
        payload: envelope.to_json(),
        reason: format!("refused by the database: {error}"),
    };
    Some(Incoming { message, ..incoming.clone() })
}
