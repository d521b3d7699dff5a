//! Channels that rules name and to which nothing is sent.

use poem_openapi::{Enum, Object};

use crate::store::{Unusable, UnusableTarget};

/// A channel that a rule names and to which nothing is sent.
#[derive(Debug, Object)]
#[oai(rename = "UnusableTarget")]
pub(super) struct UnusableAnswer {
    /// Where the rule names it: `targets`, or `escalation[0].targets` and so on.
    field: String,
    /// What the rule names.
    channel_id: String,
    /// Why nothing is sent to it.
    reason: UnusableReason,
}

/// Why nothing is sent to a channel that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum UnusableReason {
    /// There is no such channel any more.
    Gone,
    /// It is switched off.
    SwitchedOff,
    /// Its user was removed or may not sign in.
    UserGone,
}

impl From<UnusableTarget> for UnusableAnswer {
    fn from(target: UnusableTarget) -> Self {
        let reason = match target.why {
            Unusable::Gone => UnusableReason::Gone,
            Unusable::SwitchedOff => UnusableReason::SwitchedOff,
            Unusable::UserGone => UnusableReason::UserGone,
        };
        Self { field: target.field, channel_id: target.channel_id, reason }
    }
}
