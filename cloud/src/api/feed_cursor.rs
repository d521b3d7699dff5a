//! The live feed's ids as watchers see them: sealed, because a feed number counts the events of all tenants and would
//! tell each how much the others store.
//!
//! An id is one block of AES-128 over noise, tenant and feed number. The noise keeps two ids of one place from being
//! equal, which would tell that nobody else stored anything between them. The key follows from the secret of the user
//! tokens: when that changes, everybody signs in anew and reads the lists first.

use std::fmt;

use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use sha2::{Digest, Sha256};

use crate::config::Secret;
use crate::store::TenantKey;

const BLOCK: usize = 16;

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
    pub(super) fn seal(&self, tenant: TenantKey, feed_number: i64) -> String {
        let mut block = [0; BLOCK];
        block[..4].copy_from_slice(&fastrand::u32(..).to_be_bytes());
        block[4..8].copy_from_slice(&mark(tenant));
        block[8..].copy_from_slice(&feed_number.to_be_bytes());
        self.sealing.encrypt(&mut block).expect("a whole block can be sealed");
        hex::encode(block)
    }

    /// The place an id stands for; `None` when it was not sealed here for this tenant.
    pub(super) fn read(&self, tenant: TenantKey, id: &str) -> Option<i64> {
        let mut block = [0; BLOCK];
        hex::decode_to_slice(id, &mut block).ok()?;
        let block = self.opening.decrypt(&mut block, DecryptionContext::None).ok()?;
        let (head, number) = block.split_at(8);
        let feed_number = i64::from_be_bytes(number.try_into().ok()?);
        (head[4..] == mark(tenant) && feed_number >= 0).then_some(feed_number)
    }
}

/// The low half of the tenant's row: enough to tell a foreign id, as reading is by tenant anyway.
fn mark(tenant: TenantKey) -> [u8; 4] {
    let row = tenant.0.to_be_bytes();
    [row[4], row[5], row[6], row[7]]
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
        fn an_id_reads_back_for_its_tenant_alone(number in 0..i64::MAX, tenant in 1i64..1 << 31, other in 1i64..1 << 31) {
            let cursors = cursors("first");
            let id = cursors.seal(TenantKey(tenant), number);
            prop_assert_eq!(cursors.read(TenantKey(tenant), &id), Some(number));
            if other != tenant {
                prop_assert_eq!(cursors.read(TenantKey(other), &id), None);
            }
        }
    }

    #[test]
    fn ids_say_nothing_about_numbers_and_can_not_be_made_up() {
        let cursors = cursors("first");
        let (one, again) = (cursors.seal(TenantKey(1), 7), cursors.seal(TenantKey(1), 7));
        assert_ne!(one, again);
        for id in ["", "7", "x", &"0".repeat(32), &"0".repeat(33), &self::cursors("other").seal(TenantKey(1), 7)] {
            assert_eq!(cursors.read(TenantKey(1), id), None, "{id:?}");
        }
    }
}
