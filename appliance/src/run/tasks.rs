//! Long-lived tasks, each with a name and someone who waits for its end.

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::uplink::{Say, Told};

/// The running tasks with their names.
#[derive(Default)]
pub(super) struct Tasks {
    running: JoinSet<&'static str>,
    ended: Vec<&'static str>,
}

impl Tasks {
    /// Starts a task.
    pub(super) fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let span = tracing::info_span!("task", name);
        let guarded = async move {
            // A panic is caught so that the name of the task is known.
            if tokio::spawn(work.instrument(span)).await.is_err() {
                tracing::error!(task = name, "the task panicked");
            }
            name
        };
        self.running.spawn(guarded);
    }

    /// The name of the next task that ends.
    pub(super) async fn next_end(&mut self) -> &'static str {
        match self.running.join_next().await {
            Some(Ok(name)) => {
                self.ended.push(name);
                name
            }
            _ => "unknown",
        }
    }

    /// Waits until the tasks of these names have ended.
    pub(super) async fn joined(&mut self, names: &[&'static str]) {
        while !names.iter().all(|name| self.ended.contains(name)) && !self.running.is_empty() {
            self.next_end().await;
        }
    }

    /// Waits until every task has ended.
    pub(super) async fn all_joined(&mut self) {
        while !self.running.is_empty() {
            self.next_end().await;
        }
    }
}

/// Stands in for the uplink: drops what would be said, and says nothing.
pub(super) async fn alone(mut said: mpsc::Receiver<Say>, _told: mpsc::Sender<Told>, stop: CancellationToken) {
    let drain = async {
        while said.recv().await.is_some() {}
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = drain => {}
    }
}
