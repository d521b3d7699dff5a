//! Creating something once, however often the request arrives (the `Idempotency-Key` header of the IETF draft
//! draft-ietf-httpapi-idempotency-key-header).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aivms_contract::time::UtcMillis;

/// How long a key is remembered.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a request may be at work before a repeat may take its place: far longer than any request lasts.
pub const AT_WORK: Duration = Duration::from_secs(120);
/// The form of a key, for the API's document.
pub const KEY_PATTERN: &str = "^[!-~]{1,255}$";

const MAX_KEY_BYTES: usize = 255;

/// What a caller names its request by: drawn anew for each thing to be made, such as a UUID.
///
/// It opens the kept answer, so it is never logged or stored.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// Says that a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {MAX_KEY_BYTES} visible ASCII characters, such as a UUID")]
pub struct KeyError;

/// What is remembered of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// Keyed hash of the operation and its body.
    pub fingerprint: [u8; 32],
    /// When it began.
    pub began_at: UtcMillis,
    /// How far it came.
    pub progress: Progress,
}

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is known to have happened yet.
    Begun,
    /// What it asked for was carried out; its answer has not been kept.
    CarriedOut,
    /// Its answer has been kept.
    Answered,
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Carry it out.
    CarryOut,
    /// Give the kept answer.
    Repeat,
    /// The key was used for another request.
    OtherRequest,
    /// The first one is still at work.
    AtWork,
    /// The first one was carried out and its process ended before the answer was kept.
    AnswerLost,
}

impl IdempotencyKey {
    /// The key's text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

impl FromStr for IdempotencyKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let fits = (1..=MAX_KEY_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned())).ok_or(KeyError)
    }
}

/// Decides about a request with `fingerprint`, of which `known` is remembered under its key.
#[must_use]
pub fn verdict(known: Option<&Remembered>, fingerprint: &[u8; 32], now: UtcMillis) -> Verdict {
    let Some(known) = known.filter(|known| now.since(known.began_at) < KEPT) else { return Verdict::CarryOut };
    if known.fingerprint != *fingerprint {
        return Verdict::OtherRequest;
    }
    match known.progress {
        Progress::Answered => Verdict::Repeat,
        Progress::Begun if now.since(known.began_at) >= AT_WORK => Verdict::CarryOut,
        Progress::CarriedOut if now.since(known.began_at) >= AT_WORK => Verdict::AnswerLost,
        Progress::Begun | Progress::CarriedOut => Verdict::AtWork,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> UtcMillis {
        UtcMillis::from_millis(1_795_352_700_000) + Duration::from_secs(seconds)
    }

    fn remembered(progress: Progress) -> Remembered {
        Remembered { fingerprint: [1; 32], began_at: at(0), progress }
    }

    #[test]
    fn a_repeat_gets_the_answer_or_is_told_why_not() {
        let check = |progress, seconds, expected| {
            let verdict = verdict(Some(&remembered(progress)), &[1; 32], at(seconds));
            assert_eq!(verdict, expected, "{progress:?} {seconds}");
        };
        check(Progress::Begun, 1, Verdict::AtWork);
        check(Progress::CarriedOut, 1, Verdict::AtWork);
        check(Progress::Answered, 1, Verdict::Repeat);
        check(Progress::Begun, AT_WORK.as_secs(), Verdict::CarryOut);
        check(Progress::CarriedOut, AT_WORK.as_secs(), Verdict::AnswerLost);
        check(Progress::Answered, KEPT.as_secs() - 1, Verdict::Repeat);
        assert_eq!(verdict(None, &[1; 32], at(0)), Verdict::CarryOut);
    }

    proptest! {
        #[test]
        fn another_request_never_gets_the_answer_and_an_old_key_is_free(
            seconds in 0u64..200_000,
            progress in prop::sample::select(&[Progress::Begun, Progress::CarriedOut, Progress::Answered][..]),
        ) {
            let old = seconds >= KEPT.as_secs();
            let expected = if old { Verdict::CarryOut } else { Verdict::OtherRequest };
            prop_assert_eq!(verdict(Some(&remembered(progress)), &[2; 32], at(seconds)), expected);
            // What was carried out is never carried out again while the key counts.
            if progress != Progress::Begun && !old {
                prop_assert_ne!(verdict(Some(&remembered(progress)), &[1; 32], at(seconds)), Verdict::CarryOut);
            }
        }

        #[test]
        fn a_key_is_visible_ascii(text in ".{0,10}|[!-~]{250,260}") {
            let fits = (1..=255).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
            prop_assert_eq!(text.parse::<IdempotencyKey>().is_ok(), fits);
        }
    }

    #[test]
    fn a_key_does_not_show_in_logs() {
        let key: IdempotencyKey = "guess-me".parse().unwrap();
        assert!(!format!("{key:?}").contains("guess"));
    }
}
