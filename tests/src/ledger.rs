//! What the edge kept against what the cloud stored.
//!
//! The witness of the edge is its log: the outbox writes a line for each entry once it is on disk, so a line that is
//! in the log before a kill names an entry that must reach the database.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rusqlite::{Connection, OpenFlags};

use crate::site::{Appliance, Cloud};
use crate::wait;

/// Longest wait for the first events of a camera: model load, enrolment and the first person.
const FIRST_EVENTS: Duration = Duration::from_secs(90);
/// Fewest events that make a run prove anything.
const ENOUGH: usize = 20;

/// An entry's place: outbox id and sequence number.
pub type Place = (String, u64);

/// The places of all entries the edge has kept so far, over all its lives.
///
/// # Errors
/// The log can't be read.
pub fn kept(log: &Path) -> Result<BTreeSet<Place>> {
    let text = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
    let place = |line: &str| -> Option<Place> {
        let fields = line.split_once("outbox entry kept")?.1;
        let field = |name: &str| fields.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        Some((field("outbox.id")?.trim_matches('"').to_owned(), field("outbox.seq")?.parse().ok()?))
    };
    Ok(text.lines().filter_map(place).collect())
}

/// The places of all events the cloud has stored, one for each row.
///
/// # Errors
/// The database can't be read.
pub fn stored(database: &Path) -> Result<Vec<Place>> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let mut statement = connection
        .prepare("select outboxes.name, events.seq from events join outboxes on outboxes.id = events.outbox")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Waits until the cloud has stored `count` events.
///
/// # Errors
/// It has not within a generous time.
pub async fn wait_for_stored(cloud: &Cloud, count: usize) -> Result<()> {
    wait::until("stored events", FIRST_EVENTS, async || Ok((stored(&cloud.database())?.len() >= count).then_some(())))
        .await
}

/// Waits until everything kept is stored, then checks that nothing is stored twice.
///
/// # Errors
/// Names what is missing or doubled; also fails when too few events were kept to prove anything.
pub async fn check_stored_once(appliance: &mut Appliance, cloud: &Cloud, deadline: Duration) -> Result<()> {
    let drained = wait::until("empty outbox", deadline, async || {
        appliance.check_alive()?;
        let stored: BTreeSet<_> = stored(&cloud.database())?.into_iter().collect();
        Ok(kept(&appliance.log())?.is_subset(&stored).then_some(()))
    });
    let drained = drained.await;
    let kept = kept(&appliance.log())?;
    let rows = stored(&cloud.database())?;
    let places: BTreeSet<_> = rows.iter().cloned().collect();
    let missing: Vec<_> = kept.difference(&places).collect();
    if let Err(error) = drained {
        bail!("{error}; kept but not stored: {missing:?}");
    }
    ensure!(rows.len() == places.len(), "{} rows for {} places: stored twice", rows.len(), places.len());
    ensure!(kept.len() > ENOUGH, "only {} events were kept: too few to prove anything", kept.len());
    #[expect(clippy::print_stdout, reason = "the figures belong into the test's output")]
    {
        println!("{} events kept, {} rows, each place once", kept.len(), rows.len());
    }
    Ok(())
}
