//! Links in mails by which an address ends them: no sign-in, nothing to guess, good for ever.
//!
//! The token is tenant and address, sealed with AES-256-GCM under a key that follows from the secret of user tokens. When
//! that secret changes, links of old mails end; those of the next mail work again.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use url::Url;

use crate::config::Secret;
use crate::store::TenantKey;

/// Where such a link leads, below the public URL.
pub const PATH: &str = "/api/notifications/unsubscribe";

/// Makes and reads links.
pub struct UnsubscribeLinks(LessSafeKey);

impl UnsubscribeLinks {
    /// Derives the key from the secret of the user tokens.
    ///
    /// # Panics
    /// Never: the key has the length of its cipher.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let key = Sha256::new().chain_update("aivms unsubscribe links").chain_update(secret.reveal()).finalize();
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("the key has the cipher's length")))
    }

    /// The link that ends mails of `tenant` to `address`; `None` when the system has no random numbers.
    #[must_use]
    pub fn link(&self, public_url: &Url, tenant: TenantKey, address: &str) -> Option<Url> {
        let mut url = public_url.join(PATH).ok()?;
        url.query_pairs_mut().append_pair("token", &self.seal(tenant, address).ok()?);
        Some(url)
    }

    /// Whose mails a token ends, and to which address; `None` when it was not made here.
    #[must_use]
    pub fn read(&self, token: &str) -> Option<(TenantKey, String)> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self.0.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        let (tenant, address) = plain.split_at_checked(8)?;
        let tenant = TenantKey(i64::from_be_bytes(tenant.try_into().ok()?));
        Some((tenant, String::from_utf8(address.to_vec()).ok()?))
    }

    fn seal(&self, tenant: TenantKey, address: &str) -> Result<String, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce)?;
        let mut sealed = [tenant.0.to_be_bytes().as_slice(), address.as_bytes()].concat();
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }
}

impl fmt::Debug for UnsubscribeLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnsubscribeLinks(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(secret: &str) -> UnsubscribeLinks {
        UnsubscribeLinks::new(&Secret::new(secret.repeat(8)))
    }

    fn token(link: &Url) -> String {
        link.query_pairs().find(|(name, _)| name == "token").unwrap().1.into_owned()
    }

    #[test]
    fn a_link_reads_back_and_can_not_be_made_up() {
        let public = Url::parse("https://vms.example.com/").unwrap();
        let link = links("first").link(&public, TenantKey(7), "guard@example.com").unwrap();
        assert!(link.as_str().starts_with("https://vms.example.com/api/notifications/unsubscribe?token="), "{link}");
        assert!(!link.as_str().contains("guard"));
        let token = token(&link);
        assert_eq!(links("first").read(&token), Some((TenantKey(7), "guard@example.com".into())));
        assert_eq!(links("other").read(&token), None);
        for place in 0..token.len() {
            let mut forged = token.clone();
            forged.replace_range(place..=place, if &token[place..=place] == "A" { "B" } else { "A" });
            let read = links("first").read(&forged);
            // The last character holds bits that mean nothing; a decoder refuses them or they change nothing.
            assert!(read.is_none() || place == token.len() - 1, "{place}");
        }
        for text in ["", "A", "é", &"A".repeat(64)] {
            assert_eq!(links("first").read(text), None, "{text}");
        }
    }
}
