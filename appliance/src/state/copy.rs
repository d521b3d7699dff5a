//! The second copy of the settings, one JSON file a person can read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::frame::Slot;
use super::{Key, Slots};

/// The settings at one generation of the state.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Copy {
    /// Changes of any value so far, cursors included.
    pub(super) generation: u64,
    settings: BTreeMap<String, Setting>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Setting {
    generation: u64,
    // An option would read a removed value, `null`, as no value at all.
    value: Box<RawValue>,
}

impl Copy {
    /// The settings among `slots`.
    pub(super) fn of(generation: u64, slots: &Slots) -> Self {
        let settings = slots
            .iter()
            .filter(|(key, _)| key.is_setting())
            .map(|(key, slot)| {
                let setting = Setting { generation: slot.generation, value: slot.json.clone() };
                (key.name().to_owned(), setting)
            })
            .collect();
        Self { generation, settings }
    }

    /// The settings of keys this version knows.
    pub(super) fn into_slots(mut self) -> Slots {
        Key::ALL
            .iter()
            .filter_map(|key| {
                let Setting { generation, value } = self.settings.remove(key.name())?;
                Some((*key, Slot { generation, json: value }))
            })
            .collect()
    }
}
