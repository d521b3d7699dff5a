//! Comparing what sled holds with the second copy.

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

/// What the second copy says.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Its settings; none when it is missing or damaged.
    pub(super) slots: Slots,
    /// The generation of the whole state when it was written.
    pub(super) generation: u64,
    /// Why it says nothing, for a person.
    pub(super) fault: Option<&'static str>,
}

/// Reads what the second copy says.
pub(super) fn known_from(copy: Checked<Copy>) -> Known {
    match copy {
        Checked::Sound(copy) => Known { generation: copy.generation, slots: copy.into_slots(), fault: None },
        Checked::Absent => Known { fault: Some("missing"), ..Known::default() },
        Checked::Damaged => Known { fault: Some("damaged"), ..Known::default() },
    }
}

/// Notices about whichever of the two was missing; `silently` says that the database is new without a word of why.
pub(super) fn what_was_missing(known: &Known, found: &Slots, silently: bool) -> Vec<Notice> {
    let mut notices = Vec::new();
    // At the very first start both are missing, and after a cut in it the copy may be.
    if let Some(fault) = known.fault.filter(|fault| *fault == "damaged" || found.keys().any(|key| key.is_setting())) {
        notices.push(notice(&format!("its second copy was {fault} and is written again")));
    }
    if silently && found.is_empty() && !known.slots.is_empty() {
        notices.push(notice("the database was gone and was filled from its second copy"));
    }
    notices
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
