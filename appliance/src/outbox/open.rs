//! Opening: whose outbox it is, what is left of it, and from which sequence number it goes on.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use aivms_contract::health::Notice;
use aivms_contract::id::{EdgeId, OutboxId};
use serde::de::DeserializeOwned;

use super::cursors::Cursors;
use super::marks::{DOUBT_JUMP, Marks};
use super::reader::Shared;
use super::recover::{Recovered, Remembered, recover, survey};
use super::spool::{FileName, Owner};
use super::writer::{Beginning, Bounds, Writer};
use super::{OutboxError, OutboxSettings};
use crate::state::durable::{self, Checked};
use crate::state::{Key, State};

/// Size of a spool file, where the limit of the outbox is large enough.
const FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Least limit of an outbox.
const MIN_BYTES: u64 = 1024 * 1024;
/// Files an outbox is divided into at least, since one file is about what a shedding step costs.
const MIN_FILES: u64 = 16;

/// What different places say about the outbox.
struct Evidence {
    names: Vec<FileName>,
    marks: Checked<Marks>,
    cursors: Option<Cursors>,
    spool_owner: Option<Owner>,
}

pub(super) fn open(
    settings: &OutboxSettings,
    edge: EdgeId,
    state: &State,
) -> Result<(Writer, Vec<Notice>), OutboxError> {
    let dir = &settings.dir;
    let fail = |error: io::Error| OutboxError::Open { path: dir.clone(), cause: error.to_string() };
    durable::make_dir(dir).map_err(fail)?;
    let lock = durable::lock(&dir.join("outbox.lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OutboxError::InUse { dir: dir.clone() },
        _ => fail(error),
    })?;
    let mut notices = Vec::new();
    let mut evidence = Evidence::gather(dir, state).map_err(fail)?;
    if let Some(other) = evidence.owner().filter(|owner| owner.edge != edge) {
        notices.push(set_aside(dir, &evidence, &other).map_err(fail)?);
        evidence = Evidence::none();
    }
    let owner = evidence.owner().unwrap_or_else(|| Owner { outbox: OutboxId::from_random(fastrand::u128(..)), edge });
    let Recovered { index, turn, lost, obsolete } = evidence.recover(dir, &owner).map_err(fail)?;
    // What a killed program had made of the directory counts from now on.
    durable::sync_dir(dir).map_err(fail)?;
    let (next, doubt) = evidence.next(index.last());
    notices.extend(evidence.notices(lost, doubt, &index));
    for notice in &notices {
        tracing::warn!(code = notice.code, "{}", notice.message);
    }
    let shared = Arc::new(Shared::new(dir.clone(), index));
    let bounds = bounds(settings);
    let mut writer = Writer::new(Beginning { shared, owner, bounds, turn, state: state.clone(), next, lock });
    writer.begin();
    for path in &obsolete {
        fs::remove_file(path).map_err(fail)?;
    }
    durable::sync_dir(dir).map_err(fail)?;
    Ok((writer, notices))
}

fn bounds(settings: &OutboxSettings) -> Bounds {
    let max_bytes = settings.max_bytes.max(MIN_BYTES);
    let file_bytes = (max_bytes / MIN_FILES).min(FILE_BYTES);
    Bounds { spool_bytes: max_bytes - file_bytes, file_bytes, group_time: settings.group_time }
}

impl Evidence {
    fn none() -> Self {
        Self { names: Vec::new(), marks: Checked::Absent, cursors: None, spool_owner: None }
    }

    fn gather(dir: &Path, state: &State) -> io::Result<Self> {
        let (names, spool_owner) = survey(dir)?;
        let marks = Marks::read(dir)?;
        Ok(Self { names, marks, cursors: stored(state, Key::OutboxCursors), spool_owner })
    }

    /// Whose outbox it is: the small file says so, else the spool files, else `state/`.
    fn owner(&self) -> Option<Owner> {
        match &self.marks {
            Checked::Sound(marks) => Some(marks.owner.clone()),
            Checked::Absent | Checked::Damaged => {
                self.spool_owner.clone().or_else(|| self.cursors.as_ref().map(|cursors| cursors.owner.clone()))
            }
        }
    }

    /// Reads the files, with the cursors of the same outbox only.
    fn recover(&mut self, dir: &Path, owner: &Owner) -> io::Result<Recovered> {
        self.cursors = self.cursors.take().filter(|cursors| cursors.owner == *owner);
        let acknowledged = self.cursors.as_ref().map_or(0, |cursors| cursors.acknowledged);
        let kept = self.cursors.as_ref().map_or(0, |cursors| cursors.kept);
        let marks = match &self.marks {
            Checked::Sound(marks) => Some(marks),
            Checked::Absent | Checked::Damaged => None,
        };
        let mut recovered = recover(dir, owner, &self.names, Remembered { acknowledged, kept, marks })?;
        let owed = self.cursors.as_ref().map_or(0, |cursors| cursors.owed.total().entries);
        // A missing end shows only here; numbers that were jumped over were never events.
        let end = owed.saturating_sub(recovered.index.owed().total().entries);
        recovered.lost = recovered.lost.max(kept.saturating_sub(recovered.index.last()).min(end));
        recovered.index.shed = self.cursors.as_ref().map_or(0, |cursors| cursors.shed);
        Ok(recovered)
    }

    /// The next sequence number, and whether it had to be guessed.
    fn next(&self, last: u64) -> (u64, bool) {
        let cursors = self.cursors.as_ref().map_or(0, |cursors| cursors.high_water.max(cursors.kept));
        match &self.marks {
            Checked::Sound(marks) if marks.high_water >= cursors.max(last) => (marks.high_water + 1, false),
            Checked::Absent if cursors.max(last) == 0 && self.names.is_empty() => (1, false),
            Checked::Sound(Marks { high_water, .. }) => (last.max(cursors).max(*high_water) + DOUBT_JUMP, true),
            Checked::Absent | Checked::Damaged => (last.max(cursors) + DOUBT_JUMP, true),
        }
    }

    fn notices(&self, lost: u64, doubt: bool, index: &super::index::Index) -> Vec<Notice> {
        let mut notices = Vec::new();
        if lost > 0 {
            notices.push(notice(
                "events_lost",
                format!("outbox: up to {lost} events were lost to damaged or missing files"),
            ));
        }
        if doubt {
            let text = "outbox: outbox.json was missing or behind; sequence numbers jump ahead";
            notices.push(notice("outbox_recovered", text.to_owned()));
        }
        if self.cursors.is_none() && !index.files.is_empty() {
            let text = "outbox: its cursors were not in the state database; all it holds is sent again";
            notices.push(notice("outbox_recovered", text.to_owned()));
        }
        notices
    }
}

/// Keeps the outbox of another edge, which the cloud would refuse from this one, out of the way.
fn set_aside(dir: &Path, evidence: &Evidence, other: &Owner) -> io::Result<Notice> {
    let place = dir.join("aside");
    match fs::remove_dir_all(&place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir(&place)?,
    }
    let files = evidence.names.iter().map(ToString::to_string).chain(["outbox.json".to_owned()]);
    for name in files {
        match fs::rename(dir.join(&name), place.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    durable::sync_dir(&place)?;
    durable::sync_dir(dir)?;
    let text = format!("outbox: what {} had not sent was set aside in {}", other.edge, place.display());
    Ok(notice("events_lost", text))
}

fn stored<T: DeserializeOwned>(state: &State, key: Key) -> Option<T> {
    state.get(key).unwrap_or_else(|error| {
        tracing::warn!(%error, "a cursor of the outbox is unreadable");
        None
    })
}

fn notice(code: &str, message: String) -> Notice {
    Notice { code: code.to_owned(), message, camera_id: None }
}
