//! Tells live streams whose rights have changed, so that they look at their token at once.

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use crate::store::{News, SharedStore, UserKey};

/// Changes that may wait for a stream; one that falls behind looks at its token.
const QUEUE: usize = 64;

/// Whose rights have changed; `None` for anybody's. Ends with `stop`.
pub(super) fn follow(store: &SharedStore, stop: CancellationToken) -> Sender<Option<UserKey>> {
    let changes = Sender::new(QUEUE);
    let (mut news, sender) = (store.news(), changes.clone());
    tokio::spawn(async move {
        loop {
            let change = tokio::select! {
                () = stop.cancelled() => return,
                news = news.recv() => match news {
                    Ok(News::User(user)) => Some(user),
                    Ok(News::Missed) | Err(RecvError::Lagged(_)) => None,
                    Ok(_) => continue,
                    Err(RecvError::Closed) => return,
                },
            };
            // The error says that nobody listens.
            let _ = sender.send(change);
        }
    });
    changes
}

/// Waits until the rights of `user` may have changed.
pub(super) async fn changed(changes: &mut Receiver<Option<UserKey>>, user: UserKey) {
    loop {
        match changes.recv().await {
            Ok(Some(other)) if other != user => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            // The cloud stops; the stream hears of it elsewhere.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
