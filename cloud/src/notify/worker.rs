//! Sends what is owed: takes turns of receivers, sends, reports; as many processes as there are.
//!
//! Each means has slots of its own, so that a mail server that hangs delays no webhook; each receiver has one turn and
//! each tenant a share of the slots, so that those that hang delay no other. A stop takes no new turns and lets those at
//! work end; what is cut off is sent again by whoever takes the turn next, under the same id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_contract::time::UtcMillis;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::sending::Sender;
use crate::clock;
use crate::store::{Due, Means, News, Room, SharedStore, StoreError, Then, Turn};

/// Turns that one process has at once, by means, and those of them that one tenant has. A webhook that hangs holds a
/// slot for 15 s once in each of its rests, a mail for a minute. Mails all go by one server, whoever they are of.
const SLOTS: [(Means, Room); 3] = [
    (Means::Webhook, Room { turns: 128, of_tenant: 32 }),
    (Means::Push, Room { turns: 64, of_tenant: 16 }),
    (Means::Mail, Room { turns: 16, of_tenant: 8 }),
];
/// Time after which a turn ends though more is due: a receiver that takes what it is sent at once is soon done, and no
/// other one keeps its slot for a second round.
const TURN: Duration = Duration::from_secs(1);
/// Longest time between two looks: news may be lost.
const LOOK: Duration = Duration::from_secs(15);
/// Shortest time between two looks: nothing is gained by asking more often.
const BREATH: Duration = Duration::from_millis(50);
/// Time until the next look while all that is due waits for turns, of which other processes may have some.
const CROWDED: Duration = Duration::from_millis(250);
/// Time that turns at work get when stopping; the whole cloud gets ten seconds.
const STOP_WAIT: Duration = Duration::from_secs(8);
/// Time after which finished deliveries are forgotten.
const KEEP_LOG: Duration = Duration::from_secs(30 * 24 * 3600);
/// Time between two looks for old ones, and how many go at once.
const FORGET_EVERY: Duration = Duration::from_secs(600);
const FORGET_AT_ONCE: u32 = 1_000;

/// Sends what is owed.
pub struct Worker {
    store: SharedStore,
    sender: Arc<Sender>,
    slots: [(Means, Room, Arc<Semaphore>); 3],
}

impl Worker {
    /// Sends by `sender` what `store` owes.
    #[must_use]
    pub fn new(store: SharedStore, sender: Sender) -> Self {
        let slots = SLOTS.map(|(means, room)| (means, room, Arc::new(Semaphore::new(room.turns as usize))));
        Self { store, sender: Arc::new(sender), slots }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut news = self.store.news();
        let mut turns = JoinSet::new();
        let forgetting = tokio::spawn(forget(Arc::clone(&self.store), stop.clone()));
        while !stop.is_cancelled() {
            if let Err(error) = self.take(&mut turns).await {
                tracing::warn!(%error, "deliveries can't be taken");
            }
            let wait = self.wait().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = owed(&mut news) => {}
                Some(ended) = turns.join_next() => told_of_defect(ended),
                () = sleep(wait) => {}
            }
        }
        let all_ended = async {
            while let Some(ended) = turns.join_next().await {
                told_of_defect(ended);
            }
        };
        if timeout(STOP_WAIT, all_ended).await.is_err() {
            tracing::info!("deliveries at work did not end in time and will be sent again");
        }
        forgetting.abort();
    }

    /// Takes as many turns as there are free slots.
    async fn take(&self, turns: &mut JoinSet<()>) -> Result<(), StoreError> {
        for (means, room, slots) in &self.slots {
            let Ok(turns_left @ 1..) = u32::try_from(slots.available_permits()) else { continue };
            let (room, size) = (Room { turns: turns_left, ..*room }, self.sender.turn_size(*means));
            for (turn, due) in self.store.take_turns(*means, room, size, clock::now()).await? {
                let (store, sender) = (Arc::clone(&self.store), Arc::clone(&self.sender));
                // Nobody else takes slots, so there is one.
                let slot = Arc::clone(slots).acquire_owned().await;
                turns.spawn(async move {
                    serve(&store, &sender, turn, due).await;
                    drop(slot);
                });
            }
        }
        Ok(())
    }

    /// Until something is due. What is due now and could not be taken waits for a slot or for another process.
    async fn wait(&self) -> Duration {
        match self.store.next_due().await {
            Ok(Some(at)) if at <= clock::now() => CROWDED,
            Ok(Some(at)) => at.since(clock::now()).clamp(BREATH, LOOK),
            Ok(None) => LOOK,
            Err(error) => {
                tracing::warn!(%error, "deliveries can't be looked up");
                LOOK
            }
        }
    }
}

fn told_of_defect(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a delivery panicked; this is a defect");
    }
}

/// Sends to one receiver as long as something is due to it and its turn lasts.
async fn serve(store: &SharedStore, sender: &Sender, turn: Turn, mut due: Due) {
    let (begun, size) = (Instant::now(), sender.turn_size(turn.means));
    while !due.deliveries.is_empty() {
        let sent = sender.send(store, &turn, &due).await;
        let then = match sent.rest_until {
            Some(until) => Then::RestUntil(until),
            None if begun.elapsed() < TURN => Then::GoOn,
            None => Then::End,
        };
        match store.report(turn.clone(), sent.reports, then, size, clock::now()).await {
            Ok(next) => due = next,
            Err(error) => {
                // Its lease ends by time; then it is sent again.
                tracing::warn!(%error, "deliveries can't be reported");
                return;
            }
        }
    }
}

/// Returns when something new may be owed.
async fn owed(news: &mut tokio::sync::broadcast::Receiver<News>) {
    loop {
        match news.recv().await {
            Ok(News::Deliveries | News::Missed) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Forgets what was finished long ago.
async fn forget(store: SharedStore, stop: CancellationToken) {
    while stop.run_until_cancelled(sleep(FORGET_EVERY)).await.is_some() {
        let before: UtcMillis = clock::now() - KEEP_LOG;
        match store.forget_deliveries(before, FORGET_AT_ONCE).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "old deliveries forgotten"),
            Err(error) => tracing::warn!(%error, "old deliveries can't be forgotten"),
        }
    }
}
