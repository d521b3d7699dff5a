//! Identifiers of rules, alerts and incidents: ULIDs, one type per kind.

use std::fmt;
use std::str::FromStr;

use aivms_contract::id::{EventId, IdError};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

macro_rules! ulid_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub EventId);

        impl $name {
            /// Joins a time with the low 80 bits of `entropy`, drawn by the caller.
            #[must_use]
            pub fn from_parts(at: UtcMillis, entropy: u128) -> Self {
                Self(EventId::from_parts(at, entropy))
            }

            /// The 16 bytes in sort order, as databases keep them.
            #[must_use]
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_bytes()
            }

            /// The inverse of `to_bytes`.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(EventId::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self)
            }
        }
    )*};
}

ulid_ids! {
    /// One alert rule; its time part is when it was made.
    RuleId;
    /// One alert; its time part is when that happened which it tells of, so lists by id are lists by time.
    AlertId;
    /// One incident; its time part is the time of the alert that opened it.
    IncidentId;
}
