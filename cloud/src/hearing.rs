//! Acts on what any process of the cloud has committed: watchers are told of events, withdrawn sessions end.

use std::sync::Weak;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::live::LiveHints;
use crate::mqtt::sessions::Sessions;
use crate::store::{News, Store};

/// Hears news until the store is closed. Whatever may have been missed is read from the store.
pub(crate) async fn hear(mut news: Receiver<News>, store: Weak<Store>, hints: LiveHints, sessions: Sessions) {
    loop {
        let heard = match news.recv().await {
            Ok(heard) => heard,
            Err(RecvError::Lagged(_)) => News::Missed,
            Err(RecvError::Closed) => return,
        };
        match heard {
            News::Events(feed_number) => hints.stored_through(feed_number),
            News::Connected(edge, generation) => sessions.end_older(edge, generation),
            News::Withdrawn(certificates) => sessions.end(&certificates),
            News::Missed => {
                let Some(store) = store.upgrade() else { return };
                sessions.check_again();
                match store.feed_head().await {
                    Ok(feed_number) => hints.stored_through(feed_number),
                    // Watchers read again by themselves.
                    Err(error) => tracing::warn!(%error, "the newest event can't be read"),
                }
            }
            _ => {}
        }
    }
}
