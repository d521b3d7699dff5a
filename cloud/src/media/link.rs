//! Links to files: short-lived, signed, and good without a token, so that a `<video>` can show them.
//!
//! A link's token is one block of AES-128 over tenant, end and row, so that nobody learns how many files there are,
//! and the HMAC-SHA256 of that block. Both keys follow from the secret of the user tokens.

use std::fmt;

use aivms_contract::time::UtcMillis;
use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::config::Secret;
use crate::store::{MediaKey, TenantExportKey, TenantKey};

const BLOCK: usize = 16;
const TAG: usize = 32;

/// Signs and reads links.
pub struct LinkSigner {
    sealing: EncryptingKey,
    opening: DecryptingKey,
    signing: hmac::Key,
}

/// Signs and reads links to exports of tenants: those to files are none, and the other way round.
#[derive(Debug)]
pub struct ExportLinks(LinkSigner);

/// What a link to an export stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkedExport {
    /// The tenant.
    pub tenant: TenantKey,
    /// The export.
    pub export: TenantExportKey,
    /// Until when the link is good, to the second.
    pub until: UtcMillis,
}

impl ExportLinks {
    /// Derives the keys from the secret of the user tokens.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(LinkSigner::of("aivms export links", secret))
    }

    /// As [`LinkSigner::sign`].
    #[must_use]
    pub fn sign(&self, LinkedExport { tenant, export, until }: LinkedExport) -> Option<String> {
        self.0.sign(Linked { tenant, media: MediaKey(export.0), until })
    }

    /// As [`LinkSigner::read`].
    #[must_use]
    pub fn read(&self, token: &str, now: UtcMillis) -> Option<LinkedExport> {
        let Linked { tenant, media, until } = self.0.read(token, now)?;
        Some(LinkedExport { tenant, export: TenantExportKey(media.0), until })
    }
}

/// What a link stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linked {
    /// The tenant.
    pub tenant: TenantKey,
    /// The file.
    pub media: MediaKey,
    /// Until when the link is good, to the second.
    pub until: UtcMillis,
}

impl LinkSigner {
    /// Derives the keys from the secret of the user tokens.
    ///
    /// # Panics
    /// Never: the keys have the lengths of their ciphers.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self::of("aivms media links", secret)
    }

    fn of(what: &str, secret: &Secret) -> Self {
        let derived = |purpose: &str| {
            Sha256::new().chain_update(what).chain_update(purpose).chain_update(secret.reveal()).finalize()
        };
        let sealing = derived(", rows");
        let key = || UnboundCipherKey::new(&AES_128, &sealing[..BLOCK]).expect("the key has the cipher's length");
        Self {
            sealing: EncryptingKey::ecb(key()).expect("AES has this mode"),
            opening: DecryptingKey::ecb(key()).expect("AES has this mode"),
            signing: hmac::Key::new(hmac::HMAC_SHA256, &derived(", signature")),
        }
    }

    /// The token of a link; `None` for rows and times beyond what fits, which no cloud reaches before 2106.
    ///
    /// # Panics
    /// Never: a whole block can be sealed.
    #[must_use]
    pub fn sign(&self, linked: Linked) -> Option<String> {
        let mut block = [0; BLOCK];
        block[..4].copy_from_slice(&u32::try_from(linked.tenant.0).ok()?.to_be_bytes());
        block[4..8].copy_from_slice(&u32::try_from(linked.until.as_millis() / 1000).ok()?.to_be_bytes());
        block[8..].copy_from_slice(&linked.media.0.to_be_bytes());
        self.sealing.encrypt(&mut block).expect("a whole block can be sealed");
        let tag = hmac::sign(&self.signing, &block);
        Some(URL_SAFE_NO_PAD.encode([&block, tag.as_ref()].concat()))
    }

    /// What a token stands for at `now`; `None` when it was not signed here or has ended.
    #[must_use]
    pub fn read(&self, token: &str, now: UtcMillis) -> Option<Linked> {
        let mut bytes = [0; BLOCK + TAG];
        if token.len() != (BLOCK + TAG) * 4 / 3 || URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) != Ok(BLOCK + TAG) {
            return None;
        }
        let (block, tag) = bytes.split_at_mut(BLOCK);
        // Compares in constant time.
        hmac::verify(&self.signing, block, tag).ok()?;
        let block = self.opening.decrypt(block, DecryptionContext::None).ok()?;
        let number = |part: &[u8]| Some(i64::from(u32::from_be_bytes(part.try_into().ok()?)));
        let linked = Linked {
            tenant: TenantKey(number(&block[..4])?),
            until: UtcMillis::from_millis(number(&block[4..8])? * 1000),
            media: MediaKey(i64::from_be_bytes(block[8..].try_into().ok()?)),
        };
        (now < linked.until).then_some(linked)
    }
}

impl fmt::Debug for LinkSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSigner(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signer(secret: &str) -> LinkSigner {
        LinkSigner::new(&Secret::new(secret.repeat(8)))
    }

    fn linked(tenant: i64, media: i64, until_s: i64) -> Linked {
        Linked { tenant: TenantKey(tenant), media: MediaKey(media), until: UtcMillis::from_millis(until_s * 1000) }
    }

    proptest! {
        #[test]
        fn a_link_reads_back_until_its_end(tenant in 1i64..1 << 32, media in 1i64..i64::MAX, until in 1i64..1 << 32) {
            let (signer, linked) = (signer("first"), linked(tenant, media, until));
            let token = signer.sign(linked).unwrap();
            let end = linked.until.as_millis();
            prop_assert_eq!(signer.read(&token, UtcMillis::from_millis(end - 1)), Some(linked));
            prop_assert_eq!(signer.read(&token, linked.until), None);
        }

        #[test]
        fn a_link_with_any_changed_character_is_none(place in 0usize..64, other in "[A-Za-z0-9_-]") {
            let signer = signer("first");
            let token = signer.sign(linked(1, 7, 1 << 31)).unwrap();
            let mut forged = token.clone();
            forged.replace_range(place..=place, &other);
            prop_assert_eq!(signer.read(&forged, UtcMillis::from_millis(0)).is_some(), forged == token);
        }
    }

    #[test]
    fn a_link_to_a_file_is_none_to_an_export_and_the_other_way_round() {
        let (now, secret) = (UtcMillis::from_millis(0), Secret::new("first".repeat(8)));
        let (files, exports) = (LinkSigner::new(&secret), ExportLinks::new(&secret));
        let export = LinkedExport { tenant: TenantKey(1), export: TenantExportKey(7), until: linked(1, 7, 9).until };
        let token = exports.sign(export).unwrap();
        assert_eq!((exports.read(&token, now), files.read(&token, now)), (Some(export), None));
        assert_eq!(exports.read(&files.sign(linked(1, 7, 9)).unwrap(), now), None);
    }

    #[test]
    fn a_link_of_another_secret_or_length_is_none() {
        let now = UtcMillis::from_millis(0);
        let token = signer("other").sign(linked(1, 7, 1 << 31)).unwrap();
        for text in ["", "a", "../../etc/passwd", &token, &token[..63], &"A".repeat(64), &"é".repeat(32)] {
            assert_eq!(signer("first").read(text, now), None, "{text:?}");
        }
    }
}
