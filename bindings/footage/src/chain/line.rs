//! A record as it is stored and signed: its JSON, a tab, and the signature in base64, or `-`.
//!
//! There is one form for each record: a line is refused when its record would be written in another way. The signature
//! is over the bytes of the JSON; the next line names the SHA-256 of the whole line without its end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::digest::Digest;
use super::record::{Chained, Record};
use super::sign::{PublicKey, SignError, Signer};

/// Longest line in bytes; longer ones are not read.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// What stands for the signature of what is not signed.
const UNSIGNED: &str = "-";

/// A record with its very bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    text: String,
    record: Record,
}

/// A signed text: JSON, tab, signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed<'a> {
    pub(super) body: &'a str,
    pub(super) signature: Option<Vec<u8>>,
}

/// Says why bytes are no line of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Longer than [`MAX_LINE_BYTES`].
    #[error("is longer than {MAX_LINE_BYTES} bytes")]
    Long,
    /// Not a JSON text, a tab and a signature.
    #[error("is not a record, a tab and a signature")]
    Shape,
    /// The JSON is not a record of a known form.
    #[error("{0}")]
    Record(String),
    /// The record reads, but would be written otherwise.
    #[error("is not written as the appliance writes it")]
    Form,
    /// It names a key and is not signed, or the other way round.
    #[error("names a key and is not signed, or is signed and names none")]
    Key,
}

impl Line {
    /// Writes `record` down, signed by `signer` when there is one.
    ///
    /// # Errors
    /// The key gives no signature, or the record is too long.
    pub fn seal(mut record: Record, signer: Option<&dyn Signer>) -> Result<Self, SignError> {
        record.key = signer.map(|signer| signer.public_key().id());
        let text = seal_text(&record, signer)?;
        if text.len() > MAX_LINE_BYTES {
            return Err(SignError(format!("the record is longer than {MAX_LINE_BYTES} bytes")));
        }
        Ok(Self { text, record })
    }

    /// Reads a line without its end.
    ///
    /// # Errors
    /// Says what is wrong with it. Whether the signature is right is for [`Line::is_signed_by`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LineError> {
        if bytes.len() > MAX_LINE_BYTES {
            return Err(LineError::Long);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| LineError::Shape)?;
        let (record, signed): (Record, _) = parse_text(text)?;
        if record.key.is_some() != signed.signature.is_some() {
            return Err(LineError::Key);
        }
        Ok(Self { text: text.to_owned(), record })
    }

    /// What it says.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its bytes, without an end of line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it stands, for the record after it.
    #[must_use]
    pub fn place(&self) -> Chained {
        Chained { seq: self.record.seq, hash: Digest::of(self.text.as_bytes()) }
    }

    /// Whether it is signed by `key`.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        split(&self.text).is_ok_and(|signed| signed.is_by(key)) && self.record.key == Some(key.id())
    }
}

impl Signed<'_> {
    pub(super) fn is_by(&self, key: &PublicKey) -> bool {
        self.signature.as_ref().is_some_and(|signature| key.has_signed(self.body.as_bytes(), signature))
    }
}

/// `value` as JSON, a tab and the signature over the JSON.
pub(super) fn seal_text(value: &impl Serialize, signer: Option<&dyn Signer>) -> Result<String, SignError> {
    let mut text = serde_json::to_string(value).map_err(|error| SignError(error.to_string()))?;
    let signature = match signer {
        Some(signer) => STANDARD.encode(signer.sign(text.as_bytes())?),
        None => UNSIGNED.to_owned(),
    };
    text.push('\t');
    text.push_str(&signature);
    Ok(text)
}

/// Reads what [`seal_text`] wrote, and nothing that it would have written otherwise.
pub(super) fn parse_text<T: Serialize + DeserializeOwned>(text: &str) -> Result<(T, Signed<'_>), LineError> {
    let signed = split(text)?;
    let value = serde_json::from_str(signed.body).map_err(|error| LineError::Record(error.to_string()))?;
    match serde_json::to_string(&value) {
        Ok(again) if again == signed.body => Ok((value, signed)),
        _ => Err(LineError::Form),
    }
}

fn split(text: &str) -> Result<Signed<'_>, LineError> {
    let (body, signature) = text.split_once('\t').ok_or(LineError::Shape)?;
    let signature = match signature {
        UNSIGNED => None,
        text => Some(STANDARD.decode(text).map_err(|_| LineError::Shape)?),
    };
    Ok(Signed { body, signature })
}
