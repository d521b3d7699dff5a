//! Who is connected, and when an edge was last heard.

use aivms_contract::time::UtcMillis;

use super::sql::values;
use super::{EdgeKey, News, Store, StoreError};

/// A change of presence seen by the MQTT front. A `Down` counts only for the generation that is up.
#[derive(Debug, Clone, Copy)]
pub struct Presence {
    /// The edge.
    pub edge: EdgeKey,
    /// Rises with each connection that any process makes, see [`Store::next_connection`].
    pub generation: u64,
    /// Up or down.
    pub up: bool,
    /// When.
    pub at: UtcMillis,
}

impl Store {
    /// Writes presence down. Connections are numbered in the order they were made, but their news may come in any
    /// order: the highest number seen decides.
    ///
    /// # Errors
    /// The database's own.
    pub async fn record_presence(&self, presence: Presence) -> Result<(), StoreError> {
        let Presence { edge, generation, up, at } = presence;
        let number = i64::try_from(generation).unwrap_or(i64::MAX);
        let process = up.then(|| self.process.clone());
        let sql = if up {
            "update edges set connected = 1, process = ?4, generation = ?2,
                 last_seen = case when last_seen > ?3 then last_seen else ?3 end
             where id = ?1 and generation < ?2"
        } else {
            "update edges set connected = 0, process = ?4, generation = ?2,
                 last_seen = case when last_seen > ?3 then last_seen else ?3 end
             where id = ?1 and generation <= ?2"
        };
        self.write(move |transaction| {
            let touched = transaction.execute(sql, &values![edge.0, number, at, process.as_deref()])?;
            if up && touched > 0 {
                transaction.announce(News::Connected(edge, generation));
            }
            Ok(())
        })
        .await
    }

    /// Writes down a sign of life, with the version from a heartbeat.
    ///
    /// # Errors
    /// The database's own.
    pub async fn record_heartbeat(
        &self,
        edge: EdgeKey,
        at: UtcMillis,
        version: Option<String>,
    ) -> Result<(), StoreError> {
        let sql = "update edges set last_seen = case when last_seen > ?2 then last_seen else ?2 end,
                   version = coalesce(?3, version) where id = ?1";
        self.write(move |transaction| transaction.execute(sql, &values![edge.0, at, version.as_deref()]))
            .await
            .map(drop)
    }
}
