//! Identifiers, one type per kind, so that a zone can't be passed for a camera.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::time::UtcMillis;

/// Longest identifier in bytes; the rule of topic segments, `[a-z0-9_-]{1,64}`.
pub const MAX_SEGMENT_LEN: usize = 64;

/// Says why a text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty or longer than [`MAX_SEGMENT_LEN`].
    #[error("must have 1 to 64 characters, has {0}")]
    Length(usize),
    /// The text holds a character outside `[a-z0-9_-]`.
    #[error("may hold only a-z, 0-9, '_' and '-', found {0:?}")]
    Character(char),
    /// An edge id that does not begin with `edge_`.
    #[error("must begin with \"edge_\"")]
    EdgePrefix,
    /// An event id that is not a ULID.
    #[error("must be a ULID of 26 characters")]
    Ulid,
}

/// Checks that `text` can stand between two slashes of a topic: `[a-z0-9_-]{1,64}`.
///
/// # Errors
/// Says which part of the rule is broken.
pub fn check_segment(text: &str) -> Result<(), IdError> {
    if text.is_empty() || text.len() > MAX_SEGMENT_LEN {
        return Err(IdError::Length(text.chars().count()));
    }
    match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_' | '-')) {
        Some(c) => Err(IdError::Character(c)),
        None => Ok(()),
    }
}

macro_rules! segment_ids {
    ($($(#[$doc:meta])* $name:ident: $check:path;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as it stands in topics and JSON.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

segment_ids! {
    /// Who owns edges and receives alerts: a readable slug fixed at registration (`acme-corp`).
    TenantId: check_segment;
    /// One appliance: `edge_` and random characters, unique over all tenants.
    EdgeId: check_edge;
    /// One camera: a slug unique on its edge.
    CameraId: check_segment;
    /// One zone: a slug unique on its camera.
    ZoneId: check_segment;
    /// One person's or tool's right to read a tenant's live messages over MQTT.
    OperatorId: check_segment;
    /// One outbox file set of one edge; a new outbox (new disk, lost state) has a new id.
    OutboxId: check_segment;
    /// One object followed over frames; unique on its edge, also over restarts.
    TrackId: check_segment;
    /// One command sent to an edge. Repeating an id repeats the answer.
    CommandId: check_segment;
    /// The span of video kept for an event or asked for by a command.
    ClipId: check_segment;
    /// One picture kept for an event or asked for by a command.
    SnapshotId: check_segment;
    /// One person's order to keep a span of footage.
    LockId: check_segment;
}

fn check_edge(text: &str) -> Result<(), IdError> {
    check_segment(text)?;
    match text.strip_prefix("edge_") {
        Some(rest) if !rest.is_empty() => Ok(()),
        _ => Err(IdError::EdgePrefix),
    }
}

impl EdgeId {
    /// Makes the id of a new edge from 128 random bits drawn by the caller.
    #[must_use]
    pub fn from_random(bits: u128) -> Self {
        Self(format!("edge_{}", base32_lower(bits)))
    }
}

impl OutboxId {
    /// Makes the id of a new outbox from 128 random bits drawn by the caller.
    #[must_use]
    pub fn from_random(bits: u128) -> Self {
        Self(base32_lower(bits))
    }
}

impl CommandId {
    /// Makes the id of a command created at `at`; `entropy` gives its low 80 bits.
    #[must_use]
    pub fn from_parts(at: UtcMillis, entropy: u128) -> Self {
        Self(EventId::from_parts(at, entropy).to_string().to_ascii_lowercase())
    }
}

/// Prints 128 bits as 26 lower-case Crockford base-32 characters.
fn base32_lower(bits: u128) -> String {
    Ulid::from(bits).to_string().to_ascii_lowercase()
}

/// One event: a ULID whose time part is the event's own (media) time, so that
/// sorting by id sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId(Ulid);

impl EventId {
    /// Joins the time of the event with the low 80 bits of `entropy`. Times before 1970 count as 1970.
    #[must_use]
    pub fn from_parts(at: UtcMillis, entropy: u128) -> Self {
        Self(Ulid::from_parts(u64::try_from(at.as_millis()).unwrap_or(0), entropy))
    }

    /// The smallest id an event at `at` can have: the lower bound of a time range.
    #[must_use]
    pub fn first_at(at: UtcMillis) -> Self {
        Self::from_parts(at, 0)
    }

    /// The time part.
    #[must_use]
    pub fn at(self) -> UtcMillis {
        UtcMillis::from_millis(i64::try_from(self.0.timestamp_ms()).unwrap_or(i64::MAX))
    }

    /// The 16 bytes in sort order, as databases keep them.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }

    /// The inverse of [`EventId::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Ulid::from_bytes(bytes))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Ulid::from_string(text).map(Self).map_err(|_| IdError::Ulid)
    }
}

impl TryFrom<String> for EventId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_edge_id_carries_its_prefix() {
        assert_eq!("edge_".parse::<EdgeId>(), Err(IdError::EdgePrefix));
        assert_eq!("box_1".parse::<EdgeId>(), Err(IdError::EdgePrefix));
        assert!(EdgeId::from_random(u128::MAX).as_str().parse::<EdgeId>().is_ok());
    }

    #[test]
    fn a_text_with_a_slash_or_wildcard_is_never_an_id() {
        for text in ["a/b", "a+", "#", "A", "é", "", " "] {
            assert!(text.parse::<TenantId>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn event_ids_sort_as_their_times(a in 0i64..1 << 47, b in 0i64..1 << 47, x: u128, y: u128) {
            let (first, second) = (UtcMillis::from_millis(a), UtcMillis::from_millis(b));
            let (i, j) = (EventId::from_parts(first, x), EventId::from_parts(second, y));
            prop_assert_eq!(i.at(), first);
            prop_assert_eq!(EventId::from_bytes(i.to_bytes()), i);
            prop_assert_eq!(i.to_string().parse::<EventId>(), Ok(i));
            if a < b { prop_assert!(i < j); }
        }

        #[test]
        fn accepted_ids_print_as_they_were_read(text in "[a-z0-9_-]{1,64}") {
            prop_assert_eq!(text.parse::<CameraId>().map(String::from), Ok(text));
        }
    }
}
