//! The live feed's ids as watchers see them: sealed, because a feed number counts the events of all tenants and would
//! tell each how much the others store.
//!
//! An id is two blocks of AES-128, for the place among events and that among changes of alerts, each over noise, tenant
//! and number. The noise keeps two ids of one place from being
//! equal, which would tell that nobody else stored anything between them. The key follows from the secret of the user
//! tokens: when that changes, everybody signs in anew and reads the lists first.

use std::fmt;

use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use sha2::{Digest, Sha256};

use crate::config::Secret;
use crate::store::TenantKey;

const BLOCK: usize = 16;

/// A place in the live feed: everything up to it has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Feed number of the last event.
    pub events: i64,
    /// Number of the last change of an alert of the tenant.
    pub alerts: i64,
}

/// What a block counts, so that one can't stand for the other.
#[derive(Debug, Clone, Copy)]
enum Counted {
    Events,
    Alerts,
}

/// Seals and reads ids of the live feed.
pub(super) struct FeedCursors {
    sealing: EncryptingKey,
    opening: DecryptingKey,
}

impl FeedCursors {
    pub(super) fn new(secret: &Secret) -> Self {
        let digest = Sha256::new().chain_update("aivms live feed ids").chain_update(secret.reveal()).finalize();
        let key = || UnboundCipherKey::new(&AES_128, &digest[..BLOCK]).expect("the key has the cipher's length");
        Self {
            sealing: EncryptingKey::ecb(key()).expect("AES has this mode"),
            opening: DecryptingKey::ecb(key()).expect("AES has this mode"),
        }
    }

    /// The id of a place in the feed, for watchers of `tenant`.
    pub(super) fn seal(&self, tenant: TenantKey, place: Place) -> String {
        let events = self.seal_number(tenant, Counted::Events, place.events);
        events + &self.seal_number(tenant, Counted::Alerts, place.alerts)
    }

    /// The place an id stands for; `None` when it was not sealed here for this tenant. An id of before alerts were in
    /// the feed has seen those up to `alert_head`.
    pub(super) fn read(&self, tenant: TenantKey, id: &str, alert_head: i64) -> Option<Place> {
        let (events, alerts) = id.split_at_checked(2 * BLOCK)?;
        let events = self.read_number(tenant, Counted::Events, events)?;
        let alerts = if alerts.is_empty() { alert_head } else { self.read_number(tenant, Counted::Alerts, alerts)? };
        Some(Place { events, alerts })
    }

    fn seal_number(&self, tenant: TenantKey, counted: Counted, number: i64) -> String {
        let mut block = [0; BLOCK];
        block[..4].copy_from_slice(&fastrand::u32(..).to_be_bytes());
        block[4..8].copy_from_slice(&mark(tenant, counted));
        block[8..].copy_from_slice(&number.to_be_bytes());
        self.sealing.encrypt(&mut block).expect("a whole block can be sealed");
        hex::encode(block)
    }

    fn read_number(&self, tenant: TenantKey, counted: Counted, text: &str) -> Option<i64> {
        let mut block = [0; BLOCK];
        hex::decode_to_slice(text, &mut block).ok()?;
        let block = self.opening.decrypt(&mut block, DecryptionContext::None).ok()?;
        let (head, number) = block.split_at(8);
        let number = i64::from_be_bytes(number.try_into().ok()?);
        (head[4..] == mark(tenant, counted) && number >= 0).then_some(number)
    }
}

/// The low half of the tenant's row: enough to tell a foreign id, as reading is by tenant anyway. That of alerts is
/// turned around.
fn mark(tenant: TenantKey, counted: Counted) -> [u8; 4] {
    let row = tenant.0.to_be_bytes();
    let mark = [row[4], row[5], row[6], row[7]];
    match counted {
        Counted::Events => mark,
        Counted::Alerts => mark.map(|byte| !byte),
    }
}

impl fmt::Debug for FeedCursors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FeedCursors(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cursors(secret: &str) -> FeedCursors {
        FeedCursors::new(&Secret::new(secret.repeat(8)))
    }

    proptest! {
        #[test]
        fn an_id_reads_back_for_its_tenant_alone(
            events in 0..i64::MAX, alerts in 0..i64::MAX, tenant in 1i64..1 << 31, other in 1i64..1 << 31,
        ) {
            let (cursors, place) = (cursors("first"), Place { events, alerts });
            let id = cursors.seal(TenantKey(tenant), place);
            prop_assert_eq!(cursors.read(TenantKey(tenant), &id, 0), Some(place));
            let (first, second) = id.split_at(2 * BLOCK);
            prop_assert_eq!(cursors.read(TenantKey(tenant), &format!("{second}{first}"), 0), None);
            prop_assert_eq!(cursors.read(TenantKey(tenant), first, 7), Some(Place { events, alerts: 7 }));
            if other != tenant {
                prop_assert_eq!(cursors.read(TenantKey(other), &id, 0), None);
            }
        }
    }

    #[test]
    fn ids_say_nothing_about_numbers_and_can_not_be_made_up() {
        let cursors = cursors("first");
        let place = Place { events: 7, alerts: 7 };
        let (one, again) = (cursors.seal(TenantKey(1), place), cursors.seal(TenantKey(1), place));
        assert_ne!(one, again);
        for id in [
            "",
            "7",
            "x",
            &"0".repeat(32),
            &"0".repeat(33),
            &"é".repeat(32),
            &self::cursors("other").seal(TenantKey(1), place),
        ] {
            assert_eq!(cursors.read(TenantKey(1), id, 0), None, "{id:?}");
        }
    }
}
