//! Comparing what sled holds with the second copy.

use std::path::Path;

use aivms_contract::health::Notice;

use super::copy::Copy;
use super::database::Verdict;
use super::durable::Checked;
use super::frame::Slot;
use super::{Key, ROW, Slots};

/// Reads every value and compares it with the second copy: a setting that is older here was lost by sled.
pub(super) fn inspect(db: &sled::Db, known: &Slots) -> Verdict<Slots> {
    let (mut slots, mut faults) = (Slots::new(), Vec::new());
    for key in Key::ALL {
        match read(db, *key) {
            Ok(Some(slot)) => {
                slots.insert(*key, slot);
            }
            Ok(None) => {}
            Err(cause) => faults.push(format!("{}: {cause}", key.name())),
        }
    }
    for (key, slot) in known {
        if slots.get(key).is_none_or(|read| read.generation < slot.generation) {
            faults.push(format!("{}: older than in the second copy", key.name()));
        }
    }
    if faults.is_empty() {
        Verdict::Trusted(slots)
    } else {
        Verdict::Distrusted { salvage: slots, cause: faults.join("; ") }
    }
}

fn read(db: &sled::Db, key: Key) -> Result<Option<Slot>, String> {
    // Opening a tree that is not there would make it.
    if !db.tree_names().iter().any(|name| name == key.name().as_bytes()) {
        return Ok(None);
    }
    let row = db.open_tree(key.name()).and_then(|tree| tree.get(ROW)).map_err(|error| error.to_string())?;
    row.map(|frame| Slot::from_frame(&frame).ok_or_else(|| "its checksum is wrong".to_owned())).transpose()
}

/// What the second copy holds, and what is wrong with it.
pub(super) fn known_from(copy: Checked<Copy>, dir: &Path) -> (Slots, Vec<Notice>) {
    match copy {
        Checked::Sound(copy) => (copy.into_slots(), Vec::new()),
        Checked::Absent if dir.join("db").exists() => {
            (Slots::new(), vec![notice("its second copy was missing and is written again")])
        }
        Checked::Absent => (Slots::new(), Vec::new()),
        Checked::Damaged => (Slots::new(), vec![notice("its second copy was damaged and is written again")]),
    }
}

/// Of each value the one that was put last.
pub(super) fn newest(mut found: Slots, known: Slots) -> Slots {
    for (key, slot) in known {
        if found.get(&key).is_none_or(|read| read.generation < slot.generation) {
            found.insert(key, slot);
        }
    }
    found
}

/// A notice about the state.
pub(super) fn notice(message: &str) -> Notice {
    Notice { code: "state_recovered".to_owned(), message: format!("state database: {message}"), camera_id: None }
}
