//! Random texts that nobody can guess.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::failure::Failure;

/// The one-time secret of an edge: 256 random bits in text. The database keeps its SHA-256; a slow hash would add
/// nothing, since there is nothing to guess.
pub(super) struct EdgeSecret(String);

impl EdgeSecret {
    pub(super) fn draw() -> Result<Self, Failure> {
        random_text().map(Self)
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// How API keys begin, so that scanners of leaked secrets and people know what they found.
pub(super) const API_KEY_PREFIX: &str = "aivms_key_";

/// What the database keeps of a secret.
pub(super) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// 128 bits for an identifier that can't be guessed.
pub(super) fn random_bits() -> Result<u128, Failure> {
    random_bytes().map(u128::from_be_bytes)
}

/// 256 bits in text that may stand in a URL.
pub(super) fn random_text() -> Result<String, Failure> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes::<32>()?))
}

pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system has no random numbers");
        Failure::internal()
    })?;
    Ok(bytes)
}
