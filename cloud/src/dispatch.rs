//! Brings commands and desired documents to the edges that listen on this process.
//!
//! What is to be told stands in the database. A row may be made by any process; the one that holds the edge's session
//! hears of it, reads it, and tells the edge. It also reads by itself now and then, in case it heard nothing. An edge
//! may be told the same twice, which ids and versions make harmless.

use std::time::Duration;

use aivms_contract::topic::DownKind;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::mqtt::{DownLink, FrontError};
use crate::store::{EdgeKey, News, SharedStore, StoreError};

/// How often the database is read in case some news was lost.
const REREAD: Duration = Duration::from_secs(30);
/// How often commands are looked for whose time is over.
const GIVE_UP: Duration = Duration::from_secs(5);

/// The task that tells edges what they are to do and be.
#[derive(Debug)]
pub struct Dispatch {
    store: SharedStore,
    front: DownLink,
}

/// Says why an edge was not told.
#[derive(Debug, thiserror::Error)]
enum DispatchError {
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Front(#[from] FrontError),
}

impl Dispatch {
    /// Makes the task; `front` is the one whose edges it serves.
    #[must_use]
    pub fn new(store: SharedStore, front: DownLink) -> Self {
        Self { store, front }
    }

    /// Tells edges until `stop`. What is not told then is told by the process they connect to next.
    pub async fn run(self, stop: CancellationToken) {
        let mut news = self.store.news();
        let (mut reread, mut give_up) = (interval(REREAD), interval(GIVE_UP));
        reread.set_missed_tick_behavior(MissedTickBehavior::Delay);
        give_up.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                edges = self.front.arrived() => self.serve(edges).await,
                heard = news.recv() => match heard {
                    Ok(News::Edge(edge)) => self.serve(vec![edge]).await,
                    Ok(News::Missed) | Err(RecvError::Lagged(_)) => self.look_for_orders().await,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = reread.tick() => self.look_for_orders().await,
                _ = give_up.tick() => self.give_up().await,
            }
        }
    }

    async fn serve(&self, edges: Vec<EdgeKey>) {
        for edge in edges.into_iter().filter(|edge| self.front.listens(*edge)) {
            if let Err(error) = self.tell(edge).await {
                tracing::warn!(%error, "an edge could not be told what is new; trying again soon");
            }
        }
    }

    async fn look_for_orders(&self) {
        match self.store.edges_with_orders().await {
            Ok(edges) => self.serve(edges).await,
            Err(error) => tracing::warn!(%error, "what edges are to be told can't be read; trying again soon"),
        }
    }

    async fn tell(&self, edge: EdgeKey) -> Result<(), DispatchError> {
        // First what it should be: a command may be about a camera of the newest document.
        if let Some(document) = self.store.desired_for_edge(edge).await? {
            self.front.offer_desired(edge, document);
        }
        let commands = self.store.take_orders(edge, clock::now()).await?;
        let ids: Vec<_> = commands.iter().map(|command| command.id.clone()).collect();
        let Some((tenant, edge_id, due)) = self.front.due(edge, &ids) else { return Ok(()) };
        for command in commands.iter().filter(|command| due.contains(&command.id)) {
            let payload = serde_json::to_vec(command).expect("contract types always serialise");
            tracing::debug!(edge.id = %edge_id, command.id = command.id.as_str(), "a command is sent");
            self.front.publish(&tenant, &edge_id, DownKind::Commands, payload).await?;
        }
        Ok(())
    }

    async fn give_up(&self) {
        match self.store.give_up_commands(clock::now()).await {
            Ok(0) => {}
            Ok(commands) => tracing::info!(commands, "commands expired without an answer"),
            Err(error) => tracing::warn!(%error, "commands whose time is over can't be ended; trying again soon"),
        }
    }
}
