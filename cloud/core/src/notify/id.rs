//! Identifiers of channels, deliveries and push subscriptions.

use std::fmt;
use std::str::FromStr;

use aivms_contract::id::{EventId, IdError};
use aivms_contract::time::UtcMillis;

/// One message owed to one receiver, a ULID whose time part is when it was owed. It is the `webhook-id` of all
/// attempts, by which receivers drop doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub EventId);

impl DeliveryId {
    /// Joins a time with the low 80 bits of `entropy`, drawn by the caller.
    #[must_use]
    pub fn from_parts(at: UtcMillis, entropy: u128) -> Self {
        Self(EventId::from_parts(at, entropy))
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DeliveryId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self)
    }
}

/// Says that a text is no identifier of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {0} and 26 letters and digits")]
pub struct PrefixedIdError(&'static str);

macro_rules! prefixed_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Joins a time with the low 80 bits of `entropy`, drawn by the caller.
            #[must_use]
            pub fn from_parts(at: UtcMillis, entropy: u128) -> Self {
                Self(format!(concat!($prefix, "{}"), EventId::from_parts(at, entropy)).to_ascii_lowercase())
            }

            /// Its text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = PrefixedIdError;
            fn from_str(text: &str) -> Result<Self, PrefixedIdError> {
                let plain = |rest: &str| {
                    rest.len() == 26 && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                };
                text.strip_prefix($prefix)
                    .is_some_and(plain)
                    .then(|| Self(text.to_owned()))
                    .ok_or(PrefixedIdError($prefix))
            }
        }
    )*};
}

prefixed_ids! {
    /// One notification channel of a tenant.
    ChannelId = "chn_";
    /// One browser of one user that takes pushes.
    SubscriptionId = "psh_";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_no_other_kind_is_taken_for_it() {
        let id = ChannelId::from_parts(UtcMillis::from_millis(1_795_352_700_000), 7);
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        for text in ["", "chn_", "chn_A", &id.as_str().to_uppercase(), &id.as_str().replace("chn_", "psh_")] {
            assert!(text.parse::<ChannelId>().is_err(), "{text}");
        }
    }
}
