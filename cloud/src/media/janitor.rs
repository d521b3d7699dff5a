//! Clears up after uploads: finishes what a crash interrupted, gives up what nobody offers any more.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{MediaError, MediaFiles};
use crate::clock;
use crate::store::{Media, MediaKey};

/// Time between two rounds; the first is at the start.
const ROUND: Duration = Duration::from_secs(3600);
/// Unfinished files looked at in one round; more wait for the next.
const AT_ONCE: u32 = 10_000;

/// Clears up, round by round.
pub struct Janitor {
    files: MediaFiles,
}

impl Janitor {
    /// Works on `files`.
    #[must_use]
    pub fn new(files: MediaFiles) -> Self {
        Self { files }
    }

    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let work = async {
            loop {
                rounds.tick().await;
                if let Err(error) = self.round().await {
                    tracing::warn!(%error, "uploads can't be cleared up");
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// One round.
    pub(super) async fn round(&self) -> Result<(), MediaError> {
        let inner = &self.files.inner;
        let now = clock::now();
        let unfinished = inner.store.unfinished_media(now + Duration::from_secs(86_400), AT_ONCE).await?;
        let is_whole_list = unfinished.len() < AT_ONCE as usize;
        let mut rows: HashMap<_, _> = unfinished.into_iter().map(|media| (media.key, media)).collect();
        for key in inner.staging.keys().await.map_err(MediaError::Staging)? {
            let done = match rows.remove(&key) {
                Some(media) => self.resume(&media).await,
                None if is_whole_list => self.forget_part(key).await,
                None => Ok(()),
            };
            if let Err(error) = done {
                tracing::warn!(%error, "an upload that was interrupted can't be finished");
            }
        }
        let stale = inner.store.unfinished_media(now - inner.settings.unfinished_for, AT_ONCE).await?;
        for media in stale {
            if let Err(error) = self.give_up(&media).await {
                tracing::warn!(%error, "an unfinished upload can't be given up; trying again later");
                // Behind the others, which may be more than one round looks at.
                inner.store.put_off_media(media.key, clock::now()).await?;
            }
        }
        Ok(())
    }

    /// Stores a file that is whole: its edge may be gone for good.
    async fn resume(&self, media: &Media) -> Result<(), MediaError> {
        let _turn = self.files.turn(media.key).await;
        let Some(media) = self.files.inner.store.media(media.tenant, media.key).await? else { return Ok(()) };
        if media.stored_at.is_some() || self.files.received_of(&media).await? < media.size {
            return Ok(());
        }
        match self.files.keep(&media).await {
            // Forgotten, and sent anew if its edge still has it.
            Err(MediaError::Damaged) => Ok(()),
            other => other,
        }
    }

    /// Removes what arrived of a file that is stored, or that the database does not know.
    async fn forget_part(&self, key: MediaKey) -> Result<(), MediaError> {
        let _turn = self.files.turn(key).await;
        // One that was offered since the rows were read is at work now; it begins anew.
        self.files.inner.staging.remove(key).await.map_err(MediaError::Staging)
    }

    async fn give_up(&self, media: &Media) -> Result<(), MediaError> {
        let inner = &self.files.inner;
        let _turn = self.files.turn(media.key).await;
        let now = inner.store.media(media.tenant, media.key).await?;
        if now.is_none_or(|now| now.stored_at.is_some()) {
            return Ok(());
        }
        inner.staging.remove(media.key).await.map_err(MediaError::Staging)?;
        // It may have been put there before a crash kept the row from saying so, or a deletion was cut off. The row goes
        // last: it is what makes the next round try again.
        inner.objects.remove(&media.object).await.map_err(MediaError::Objects)?;
        if inner.store.forget_media(media.key).await? {
            tracing::info!(edge.id = %media.edge_id, media.id = %media.media_id, "an unfinished upload was given up");
        }
        Ok(())
    }
}
