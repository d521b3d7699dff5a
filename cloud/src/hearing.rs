//! Acts on what any process of the cloud has committed: watchers are told of events, withdrawn sessions end.

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;

use crate::live::LiveHints;
use crate::mqtt::sessions::Sessions;
use crate::store::{News, Store};

/// News may be lost: so often the newest event is looked up without any.
const LOOK: Duration = Duration::from_secs(30);

/// Hears news until the store is closed. Whatever may have been missed is read from the store.
pub(crate) async fn hear(mut news: Receiver<News>, store: Weak<Store>, hints: LiveHints, sessions: Sessions) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let heard = tokio::select! {
            heard = news.recv() => heard,
            _ = look.tick() => {
                read_head(&store, &hints).await;
                continue;
            }
        };
        match heard {
            Ok(News::Events(feed_number)) => hints.stored_through(feed_number),
            Ok(News::Connected(edge, generation)) => sessions.end_older(edge, generation),
            Ok(News::Withdrawn(certificates)) => sessions.end(&certificates),
            Ok(News::Missed) | Err(RecvError::Lagged(_)) => {
                sessions.check_again();
                read_head(&store, &hints).await;
            }
            Ok(_) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn read_head(store: &Weak<Store>, hints: &LiveHints) {
    let Some(store) = store.upgrade() else { return };
    match store.feed_head().await {
        Ok(feed_number) => hints.stored_through(feed_number),
        Err(error) => tracing::warn!(%error, "the newest event can't be read; looking again soon"),
    }
}
