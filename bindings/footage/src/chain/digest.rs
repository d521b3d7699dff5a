//! SHA-256 of texts, and of the parts of a file that fragment hashes do not cover.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// A SHA-256 hash; travels as 64 lower-case hexadecimal digits, as `sha256sum` prints it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

/// Says that a text is no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 lower-case hexadecimal digits")]
pub struct DigestError;

impl Digest {
    /// What stands for the line before the first.
    pub const NONE: Self = Self([0; 32]);

    /// Hashes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_slice(digest(&SHA256, bytes).as_ref())
    }

    fn from_slice(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(bytes);
        Self(hash)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| DigestError)?;
        // One form only, since lines are compared by their bytes.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Err(DigestError) } else { Ok(Self(hash)) }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Hashes the first `length` bytes of an MP4 file without what its top-level `mdat` boxes hold: every header, table and
/// time, and none of the pictures. Bytes that are no boxes any more count as they are.
///
/// # Errors
/// The file can't be read.
pub fn digest_outside(file: &mut (impl Read + Seek), length: u64) -> io::Result<Digest> {
    walk(file, length, false)
}

/// Hashes what the top-level `mdat` boxes in the first `length` bytes of an MP4 file hold, one after the other.
///
/// # Errors
/// The file can't be read.
pub fn digest_payloads(file: &mut (impl Read + Seek), length: u64) -> io::Result<Digest> {
    walk(file, length, true)
}

fn walk(file: &mut (impl Read + Seek), length: u64, payloads: bool) -> io::Result<Digest> {
    let mut hash = Context::new(&SHA256);
    let mut at = file.seek(SeekFrom::Start(0))?;
    while at < length {
        let span = BoxSpan::read(file, at, length)?;
        let (head, body) = (span.payload - at, span.end - span.payload);
        if payloads && !span.is_media {
            file.seek(SeekFrom::Start(span.end))?;
        } else if payloads {
            file.seek(SeekFrom::Start(span.payload))?;
            copy(file, body, &mut hash)?;
        } else {
            file.seek(SeekFrom::Start(at))?;
            copy(file, if span.is_media { head } else { head + body }, &mut hash)?;
            file.seek(SeekFrom::Start(span.end))?;
        }
        at = span.end;
    }
    Ok(Digest::from_slice(hash.finish().as_ref()))
}

/// Where a top-level box lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BoxSpan {
    /// Its first byte after size and type.
    payload: u64,
    /// The first byte after it.
    end: u64,
    is_media: bool,
}

impl BoxSpan {
    /// The box at `at`; what is no box counts as one up to `length`.
    fn read(file: &mut (impl Read + Seek), at: u64, length: u64) -> io::Result<Self> {
        let rest = Self { payload: length, end: length, is_media: false };
        if length - at < 8 {
            return Ok(rest);
        }
        let mut head = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head)?;
        let [a, b, c, d, kind @ ..] = head;
        let (head_bytes, size) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (8, length - at),
            1 if length - at >= 16 => {
                let mut large = [0; 8];
                file.read_exact(&mut large)?;
                (16, u64::from_be_bytes(large))
            }
            size => (8, u64::from(size)),
        };
        if size < head_bytes || size > length - at {
            return Ok(rest);
        }
        Ok(Self { payload: at + head_bytes, end: at + size, is_media: &kind == b"mdat" })
    }
}

fn copy(file: &mut impl Read, bytes: u64, hash: &mut Context) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES.min(usize::try_from(bytes).unwrap_or(READ_BYTES))];
    let mut left = bytes;
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hash.update(&buffer[..read]);
        left -= read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap();
        [&size.to_be_bytes()[..], kind, body].concat()
    }

    fn outside(bytes: &[u8]) -> Digest {
        digest_outside(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    fn payloads(bytes: &[u8]) -> Digest {
        digest_payloads(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    #[test]
    fn every_byte_of_a_file_is_in_exactly_one_of_the_two_hashes() {
        let file =
            [boxed(b"ftyp", b"isom"), boxed(b"mdat", b"pictures"), boxed(b"moof", b"table"), boxed(b"mdat", b"x")];
        let file = file.concat();
        let (around, within) = (outside(&file), payloads(&file));
        assert_eq!(within, Digest::of(b"picturesx"));
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!((outside(&changed) != around) || (payloads(&changed) != within), "byte {at}");
        }
        let pictures = 12 + 8;
        let mut changed = file.clone();
        changed[pictures] ^= 1;
        assert_eq!(outside(&changed), around);
        assert_ne!(payloads(&changed), within);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_hash(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            outside(&bytes);
            payloads(&bytes);
        }

        #[test]
        fn a_printed_hash_reads_back(bytes: [u8; 32]) {
            prop_assert_eq!(Digest(bytes).to_string().parse(), Ok(Digest(bytes)));
        }
    }
}
