//! Names of tracks that are unique on their edge, also over restarts.

use std::fmt;
use std::str::FromStr;

use aivms_contract::id::{CameraId, TrackId};

/// Longest session name in characters.
pub const MAX_SESSION_LEN: usize = 12;
/// What is left of the 64 characters of an id beside a session, two dashes and a number of up to 20 digits.
const MAX_CAMERA_LEN: usize = 64 - MAX_SESSION_LEN - 2 - 20;
/// Characters of the digest that stands for the cut part of a long camera id: 60 bits.
const DIGEST_LEN: usize = 12;

/// A short name of one run of the program, `[a-z0-9]{1,12}`, so that track numbers may start again with each run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session(String);

/// Says why a text is no [`Session`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a session must have 1 to {MAX_SESSION_LEN} characters of a-z and 0-9, is {0:?}")]
pub struct SessionError(String);

impl Session {
    /// Makes a session name of 8 characters from the low 40 of random bits drawn by the caller.
    #[must_use]
    pub fn from_random(bits: u64) -> Self {
        Self(digits(bits, 8))
    }

    /// The name as it stands in track ids.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Session {
    type Err = SessionError;
    fn from_str(text: &str) -> Result<Self, SessionError> {
        let fits = (1..=MAX_SESSION_LEN).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        fits.then(|| Self(text.to_owned())).ok_or_else(|| SessionError(text.to_owned()))
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Prints the track ids of one camera in one session: `<camera>-<session>-<number>`.
///
/// A camera id of more than 30 characters is cut, and a digest of the whole put in place of the rest, so that cameras
/// with the same beginning keep distinct tracks.
#[derive(Debug, Clone)]
pub struct TrackNames {
    prefix: String,
}

impl TrackNames {
    /// The names of tracks that `camera` shows in `session`.
    #[must_use]
    pub fn new(camera: &CameraId, session: &Session) -> Self {
        let camera = camera.as_str();
        let prefix = if camera.len() <= MAX_CAMERA_LEN {
            format!("{camera}-{session}-")
        } else {
            // Ids are ASCII, so any place is a character boundary.
            let kept = &camera[..MAX_CAMERA_LEN - 1 - DIGEST_LEN];
            format!("{kept}_{}-{session}-", digits(fnv1a(camera.as_bytes()), DIGEST_LEN))
        };
        Self { prefix }
    }

    /// The id of track `number`.
    ///
    /// # Panics
    /// Never: the parts are cut to fit.
    #[must_use]
    pub fn name(&self, number: u64) -> TrackId {
        format!("{}{number}", self.prefix).parse().expect("camera, session and number are cut to fit an id")
    }
}

/// Prints the low `5 * count` bits in Crockford's base 32, lower case.
fn digits(bits: u64, count: usize) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    (0..count).rev().map(|place| char::from(DIGITS[(bits >> (5 * place)) as usize & 31])).collect()
}

/// The 64-bit FNV-1a hash: the same on every machine and in every version, unlike the standard library's.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(camera: &str, session: &str) -> TrackNames {
        TrackNames::new(&camera.parse().unwrap(), &session.parse().unwrap())
    }

    #[test]
    fn a_name_shows_camera_session_and_number() {
        assert_eq!(names("entrance", "k3v9").name(17).as_str(), "entrance-k3v9-17");
    }

    #[test]
    fn cameras_that_begin_alike_keep_distinct_tracks() {
        let (one, two) = ("a".repeat(63) + "1", "a".repeat(63) + "2");
        assert_ne!(names(&one, "s").name(1), names(&two, "s").name(1));
    }

    #[test]
    fn a_session_that_would_break_an_id_is_refused() {
        for text in ["", "A", "a-b", "a_b", "abcdefghijklm", "é"] {
            assert!(text.parse::<Session>().is_err(), "{text:?}");
        }
        assert_eq!(Session::from_random(u64::MAX).as_str().parse(), Ok(Session::from_random((1 << 40) - 1)));
    }

    proptest! {
        #[test]
        fn every_name_is_an_id_and_no_two_tracks_share_one(
            one in "[a-z0-9_-]{1,64}", two in "[a-z0-9_-]{1,64}", s in "[a-z0-9]{1,12}", t in "[a-z0-9]{1,12}", n: u64, m: u64,
        ) {
            let (first, second) = (names(&one, &s).name(n), names(&two, &t).name(m));
            prop_assert_eq!(first == second, (one, s, n) == (two, t, m));
        }
    }
}
