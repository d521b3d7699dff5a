//! Which process has the relay of an edge.
//!
//! The first process that somebody looks at an edge through gets its relay and keeps it for as long as it lives, so
//! that nobody needs to agree on when it is over. When it can't be reached any more, another one takes the relay.

use super::sql::{Row, Transaction, values};
use super::{EdgeKey, News, Store, StoreError};

/// Which process has the relay of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayHome {
    /// This one.
    Here,
    /// Another one.
    There(Peer),
}

/// Another process of the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name, drawn at random when it started.
    pub process: String,
    /// Where it is reached, host and port.
    pub address: String,
}

impl Store {
    /// Which process has the relay of an edge; this one takes it when none has, or when the one that has can't be
    /// reached.
    ///
    /// # Errors
    /// The database's own.
    pub async fn relay_home(&self, edge: EdgeKey) -> Result<RelayHome, StoreError> {
        let process = self.process.clone();
        match self.lookup(move |transaction| home(transaction, edge, &process)).await? {
            Some(home) => Ok(home),
            None => self.take_relay(edge, None).await,
        }
    }

    /// Whether another process has the relay of an edge; takes nothing.
    ///
    /// # Errors
    /// The database's own.
    pub async fn relay_is_elsewhere(&self, edge: EdgeKey) -> Result<bool, StoreError> {
        let process = self.process.clone();
        let found = self.lookup(move |transaction| home(transaction, edge, &process)).await?;
        Ok(matches!(found, Some(RelayHome::There(_))))
    }

    /// Takes the relay of an edge over from the process `lost`, which does not answer, and tells it so. Returns who has
    /// it now: somebody else may have been faster.
    ///
    /// # Errors
    /// The database's own.
    pub async fn take_relay(&self, edge: EdgeKey, lost: Option<&str>) -> Result<RelayHome, StoreError> {
        let (process, lost) = (self.process.clone(), lost.map(str::to_owned));
        self.write(move |transaction| {
            if let Some(home) = home(transaction, edge, &process)?
                && !matches!(&home, RelayHome::There(peer) if Some(&peer.process) == lost.as_ref())
            {
                return Ok(home);
            }
            let sql = "insert into relay_homes (edge, process) values (?1, ?2)
                       on conflict (edge) do update set process = excluded.process";
            transaction.execute(sql, &values![edge.0, &process])?;
            transaction.announce(News::RelayTaken(edge));
            Ok(RelayHome::Here)
        })
        .await
    }

    /// Tells the process that holds the edge's session that the edge is to open its relay.
    ///
    /// # Errors
    /// The database's own.
    pub async fn call_edge(&self, edge: EdgeKey) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.announce(News::RelayWanted(edge));
            Ok(())
        })
        .await
    }
}

fn home(transaction: &mut Transaction<'_>, edge: EdgeKey, own: &str) -> Result<Option<RelayHome>, StoreError> {
    let sql = "select p.id, p.address from relay_homes h join processes p on p.id = h.process
               where h.edge = ?1 and (p.address is not null or p.id = ?2)";
    transaction.first(sql, &values![edge.0, own], |row| read(row, own))
}

fn read(row: &Row, own: &str) -> Result<RelayHome, StoreError> {
    let process: String = row.get(0)?;
    if process == own {
        return Ok(RelayHome::Here);
    }
    Ok(RelayHome::There(Peer { process, address: row.get(1)? }))
}
