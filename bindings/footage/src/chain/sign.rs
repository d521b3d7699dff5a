//! Signatures: ECDSA on P-256 over SHA-256, in ASN.1, as OpenSSL makes and checks them.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::digest::{Digest, DigestError};

/// Which key: the SHA-256 of its SubjectPublicKeyInfo in DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Digest);

/// A public key: SubjectPublicKeyInfo in DER; travels in base64.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(Vec<u8>);

/// Says that nothing could be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signing failed: {0}")]
pub struct SignError(pub String);

/// Says that a text is not base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be base64")]
pub struct Base64Error;

/// What signs: the device key, wherever it is kept.
pub trait Signer {
    /// The public part of the key.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message` (ECDSA, P-256, SHA-256, ASN.1).
    ///
    /// # Errors
    /// The key gives no signature.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

impl PublicKey {
    /// Takes a SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn from_der(der: Vec<u8>) -> Self {
        Self(der)
    }

    /// The SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// Which key it is.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(&self.0))
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for KeyId {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = Base64Error;
    fn try_from(text: String) -> Result<Self, Base64Error> {
        STANDARD.decode(text).map(Self).map_err(|_| Base64Error)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        STANDARD.encode(key.0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

    /// A key in memory.
    pub(crate) struct TestKey {
        pair: EcdsaKeyPair,
        public: PublicKey,
    }

    impl TestKey {
        pub(crate) fn new() -> Self {
            use aws_lc_rs::encoding::AsDer;
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
            let der = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
            Self { public: PublicKey::from_der(der.as_ref().to_vec()), pair }
        }
    }

    impl Signer for TestKey {
        fn public_key(&self) -> &PublicKey {
            &self.public
        }

        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
            let signature = self.pair.sign(&SystemRandom::new(), message);
            signature.map(|signature| signature.as_ref().to_vec()).map_err(|error| SignError(error.to_string()))
        }
    }

    #[test]
    fn only_the_key_itself_and_the_very_message_pass() {
        let (key, other) = (TestKey::new(), TestKey::new());
        let signature = key.sign(b"message").unwrap();
        assert!(key.public_key().has_signed(b"message", &signature));
        assert!(!key.public_key().has_signed(b"messagf", &signature));
        assert!(!other.public_key().has_signed(b"message", &signature));
        assert!(!PublicKey::from_der(vec![1, 2]).has_signed(b"message", &signature));
    }
}
