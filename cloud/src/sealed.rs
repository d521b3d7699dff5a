//! Secrets that the database keeps and the cloud needs again: sealed with a key that follows from the server secret.
//!
//! AES-256-GCM with a random nonce. What a sealed secret is for is authenticated with it, so that none can be moved to
//! where another belongs. The first bytes name the server secret, so that it can be replaced: the one before still
//! opens, and [`Sealer::anew`] seals again what it sealed.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use sha2::{Digest, Sha256};

use crate::config::Secret;

/// Bytes that name the server secret.
const NAME: usize = 8;

/// Seals and opens.
pub struct Sealer {
    /// The newest first: it seals.
    keys: Vec<([u8; NAME], RandomizedNonceKey)>,
    purpose: &'static [u8],
}

impl Sealer {
    /// Keys for one purpose from the server secret, and from the one before it.
    #[must_use]
    pub fn new(secret: &Secret, previous: Option<&Secret>, purpose: &'static str) -> Self {
        let keys = std::iter::once(secret).chain(previous).filter_map(key);
        Self { keys: keys.collect(), purpose: purpose.as_bytes() }
    }

    /// Seals; `None` when the system has no random numbers.
    #[must_use]
    pub fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (name, key) = self.keys.first()?;
        let mut bytes = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(self.purpose), &mut bytes).ok()?;
        Some([name, nonce.as_ref().as_slice(), &bytes].concat())
    }

    /// Opens; `None` for what was not sealed here for this purpose, or with a server secret that is gone.
    #[must_use]
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = sealed.split_at_checked(NAME)?;
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN)?;
        let (_, key) = self.keys.iter().find(|(known, _)| known == name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = rest.to_vec();
        let plain = key.open_in_place(nonce, Aad::from(self.purpose), &mut bytes).ok()?;
        Some(plain.to_vec())
    }

    /// Seals again what an earlier server secret sealed; `None` where nothing is to be done.
    #[must_use]
    pub fn anew(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let newest = &self.keys.first()?.0;
        if sealed.starts_with(newest) {
            return None;
        }
        self.seal(&self.open(sealed)?)
    }
}

fn key(secret: &Secret) -> Option<([u8; NAME], RandomizedNonceKey)> {
    let derived = |purpose: &str| Sha256::new().chain_update(purpose).chain_update(secret.reveal()).finalize();
    let mut name = [0; NAME];
    name.copy_from_slice(&derived("aivms sealed, name")[..NAME]);
    Some((name, RandomizedNonceKey::new(&AES_256_GCM, &derived("aivms sealed, key")).ok()?))
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(secret: &str, previous: Option<&str>, purpose: &'static str) -> Sealer {
        let of = |text: &str| Secret::new(text.repeat(8));
        Sealer::new(&of(secret), previous.map(of).as_ref(), purpose)
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_secret_for_the_same_purpose_only() {
        let ours = sealer("ours", None, "a");
        let sealed = ours.seal(b"hush").unwrap();
        assert!(!sealed.windows(4).any(|part| part == b"hush"));
        assert_ne!(ours.seal(b"hush").unwrap(), sealed, "equal secrets do not show as equal");
        assert_eq!(ours.open(&sealed).as_deref(), Some(&b"hush"[..]));
        assert_eq!(sealer("ours", None, "b").open(&sealed), None);
        assert_eq!(sealer("else", None, "a").open(&sealed), None);
        for place in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[place] ^= 1;
            assert_eq!(ours.open(&forged), None, "byte {place}");
        }
        assert_eq!(ours.open(&[]), None);
    }

    #[test]
    fn what_an_earlier_secret_sealed_is_sealed_anew() {
        let sealed = sealer("ours", None, "a").seal(b"hush").unwrap();
        let next = sealer("next", Some("ours"), "a");
        assert_eq!(next.open(&sealed).as_deref(), Some(&b"hush"[..]));
        let anew = next.anew(&sealed).unwrap();
        assert_eq!(sealer("next", None, "a").open(&anew).as_deref(), Some(&b"hush"[..]));
        assert_eq!(next.anew(&anew), None);
        assert_eq!(sealer("next", None, "a").anew(&sealed), None, "what can't be opened stays as it is");
    }
}
