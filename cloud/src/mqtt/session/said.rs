//! What an edge says that is stored apart from its events: answers to commands, and what it runs.

use std::sync::Arc;
use std::time::Duration;

use aivms_contract::command::CommandResult;
use aivms_contract::desired::Reported;
use aivms_contract::topic::UpKind;
use tokio::sync::oneshot;

use super::super::{Shared, now};
use crate::ingest::Receipt;
use crate::store::{AnswerFate, EdgeKey, Recorded, StoreError};

/// Pause after the database refused.
const RETRY: Duration = Duration::from_secs(1);

/// A message that is stored apart from events.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// The final answer to a command.
    Answer(CommandResult),
    /// The document the edge has applied or refused.
    Reported(Reported),
}

impl Said {
    /// Reads a message; `None` for kinds that are not stored so.
    pub(super) fn read(kind: UpKind, payload: &[u8]) -> Option<Result<Self, serde_json::Error>> {
        match kind {
            UpKind::Results => Some(serde_json::from_slice(payload).map(Self::Answer)),
            UpKind::Reported => Some(serde_json::from_slice(payload).map(Self::Reported)),
            _ => None,
        }
    }
}

/// Stores what was said, after `events` sent before it are on disk; the receipt comes when all is. Tries until the
/// database takes it, or until the session has ended: then the edge says it again.
pub(super) fn store(shared: &Arc<Shared>, edge: EdgeKey, said: Vec<Said>, events: Option<Receipt>) -> Receipt {
    let (mut done, receipt) = oneshot::channel();
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let recorded = match events {
            Some(events) => match events.await {
                Ok(recorded) => recorded,
                Err(_) => return,
            },
            None => Recorded::default(),
        };
        for one in said {
            while let Err(error) = record(&shared, edge, one.clone()).await {
                tracing::warn!(%error, "what an edge said can't be stored; trying again");
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = done.closed() => return,
                }
            }
        }
        // A session that has gone meanwhile needs no receipt.
        drop(done.send(recorded));
    });
    receipt
}

async fn record(shared: &Shared, edge: EdgeKey, said: Said) -> Result<(), StoreError> {
    match said {
        Said::Reported(reported) => shared.store.record_reported(edge, reported, now()).await,
        Said::Answer(answer) => {
            let id = answer.id.clone();
            let counter = match shared.store.record_answer(edge, answer, now()).await? {
                AnswerFate::Recorded => return Ok(()),
                AnswerFate::Late => &shared.answers.late,
                AnswerFate::Unknown => &shared.answers.unknown,
            };
            counter.inc();
            tracing::debug!(
                command.id = id.as_str(),
                "an answer changes nothing: the command is not known or has ended"
            );
            Ok(())
        }
    }
}
