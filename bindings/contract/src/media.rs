//! Clips and snapshots on their way from an edge's disk to the cloud: files over HTTPS, in pieces, resumable.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `POST /api/edge/media` | [`MediaOffer`] | [`MediaProgress`] |
//! | `PATCH /api/edge/media/{kind}/{media_id}?offset=N` | bytes of the file from `N` on | [`MediaProgress`] |
//!
//! Both carry the bearer token of [`crate::edge_api`]. An edge offers a file, which may be one it offered before, and
//! is told how much of it the cloud has: it goes on from there, with pieces of at most [`MAX_PIECE_BYTES`]. Whatever it
//! sends is answered with the offset that the next piece must begin at, also when the piece was one that the cloud has
//! or one that came too early: so every request may be repeated, and nothing is lost by a cut connection but what was
//! on the line. The file is delivered when `stored` is true, which it becomes after the cloud has compared size and
//! SHA-256 with what was offered; only then the edge deletes it.
//!
//! | status | meaning | the edge |
//! | --- | --- | --- |
//! | 200 | see `offset` and `stored` | goes on |
//! | 404 | not offered, or the cloud has given it up | offers it again |
//! | 409 | another file was offered under this id | gives the file up |
//! | 413 | larger than the cloud takes | gives the file up |
//! | 422 | the bytes do not have the SHA-256 offered; the cloud has forgotten them | offers it again, once |
//! | 429, 5xx | not now; 507: the tenant's quota or the cloud's disk is full | waits and tries again |

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{CameraId, ClipId, EventId, IdError, SnapshotId, check_segment};
use crate::time::UtcMillis;

/// Most bytes of one piece.
pub const MAX_PIECE_BYTES: usize = 1024 * 1024;

/// A file that an edge has for the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaOffer {
    /// What it is.
    pub kind: MediaKind,
    /// The clip or snapshot: the id its event carries.
    pub media_id: MediaId,
    /// The camera that filmed it.
    pub camera_id: CameraId,
    /// All bytes of the file, at least 1.
    pub size_bytes: u64,
    /// What the file must have.
    pub sha256: Sha256Hex,
    /// `video/mp4` or `image/jpeg`.
    pub content_type: MediaType,
    /// Wall time of its first picture.
    pub captured_at: UtcMillis,
    /// The event it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
}

/// How much of a file the cloud has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaProgress {
    /// Bytes the cloud has from the beginning on: where the next piece begins.
    pub offset: u64,
    /// Whether it has been checked and put where it stays. While all bytes are there and this is false, the cloud is
    /// still busy with it; the edge asks again by offering it.
    pub stored: bool,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    /// A span of video.
    Clip,
    /// A picture.
    Snapshot,
}

/// The forms of files that are taken: those that a browser shows without a plug-in and that run no script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaType {
    /// MP4.
    #[serde(rename = "video/mp4")]
    Mp4,
    /// JPEG.
    #[serde(rename = "image/jpeg")]
    Jpeg,
}

/// A clip's or snapshot's id where both are meant; unique together with the edge and the kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MediaId(String);

/// A SHA-256 in 64 hexadecimal digits, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Hex(String);

/// Says that a text is no SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a SHA-256 in 64 lower-case hexadecimal digits")]
pub struct Sha256HexError;

/// Says that a text is no kind of media.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be clip or snapshot")]
pub struct MediaKindError;

impl MediaKind {
    /// The name in addresses and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::Snapshot => "snapshot",
        }
    }
}

impl FromStr for MediaKind {
    type Err = MediaKindError;
    fn from_str(text: &str) -> Result<Self, MediaKindError> {
        [Self::Clip, Self::Snapshot].into_iter().find(|kind| kind.as_str() == text).ok_or(MediaKindError)
    }
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl MediaType {
    /// The media type as HTTP writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Jpeg => "image/jpeg",
        }
    }

    /// The end of names of such files, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Jpeg => "jpg",
        }
    }
}

impl MediaId {
    /// The id as it stands in addresses and JSON: a segment of `[a-z0-9_-]{1,64}`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MediaId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        check_segment(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for MediaId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        check_segment(&text)?;
        Ok(Self(text))
    }
}

impl From<MediaId> for String {
    fn from(id: MediaId) -> String {
        id.0
    }
}

impl From<ClipId> for MediaId {
    fn from(id: ClipId) -> Self {
        Self(id.into())
    }
}

impl From<SnapshotId> for MediaId {
    fn from(id: SnapshotId) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for MediaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Sha256Hex {
    /// Writes 32 bytes down.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        Self(digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Sha256Hex {
    type Err = Sha256HexError;
    fn from_str(text: &str) -> Result<Self, Sha256HexError> {
        let fits = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.to_owned())).ok_or(Sha256HexError)
    }
}

impl TryFrom<String> for Sha256Hex {
    type Error = Sha256HexError;
    fn try_from(text: String) -> Result<Self, Sha256HexError> {
        text.parse()
    }
}

impl From<Sha256Hex> for String {
    fn from(hash: Sha256Hex) -> String {
        hash.0
    }
}

impl fmt::Display for Sha256Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_offer_of_this_version_is_read_for_ever_and_written_as_it_was_read() {
        let offer = json!({
            "kind": "clip",
            "media_id": "clip_01kana8p3v6x2c5e7g9hjkmnpq",
            "camera_id": "gate",
            "size_bytes": 5_242_880,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "content_type": "video/mp4",
            "captured_at": "2026-11-22T13:03:06.250Z",
            "event_id": "01KANA8P3V6X2C5E7G9HJKMNPQ",
        });
        let read: MediaOffer = serde_json::from_value(offer.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), offer);
        let progress: MediaProgress = serde_json::from_str(r#"{"offset":262144,"stored":false,"newer":1}"#).unwrap();
        assert_eq!(progress, MediaProgress { offset: 262_144, stored: false });
    }

    #[test]
    fn an_id_that_would_leave_its_folder_and_a_hash_of_another_form_are_refused() {
        for id in ["../x", "a/b", "..", "", "A", "a.mp4", "a\0"] {
            assert!(id.parse::<MediaId>().is_err(), "{id:?}");
        }
        for hash in ["", "9f86", &"g".repeat(64), &"A".repeat(64), &"a".repeat(63)] {
            assert_eq!(hash.parse::<Sha256Hex>(), Err(Sha256HexError), "{hash:?}");
        }
        assert_eq!(Sha256Hex::from_bytes([0xA5; 32]).as_str(), "a5".repeat(32));
    }

    #[test]
    fn a_form_of_file_that_could_run_a_script_is_refused() {
        for form in ["text/html", "image/svg+xml", "video/MP4"] {
            assert!(serde_json::from_value::<MediaType>(json!(form)).is_err(), "{form}");
        }
    }
}
