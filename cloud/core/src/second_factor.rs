//! The second factor of a sign-in: codes of an authenticator app (TOTP, RFC 6238) and recovery codes.

use aivms_contract::time::UtcMillis;
use totp_rs::{Builder, Totp};

/// Bytes of the secret that app and cloud share: as many as SHA-1 gives, RFC 4226 section 4.
pub const SECRET_BYTES: usize = 20;
/// Recovery codes that are given at once.
pub const RECOVERY_CODES: usize = 10;
/// Random bytes of a recovery code: 80 bits, so that its plain hash says nothing.
pub const RECOVERY_BYTES: usize = 10;

/// Who an app says the codes are for.
const ISSUER: &str = "AIVMS";
/// Crockford's base 32: without letters that are read as digits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Says that a secret or an address is not what this module makes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("second factor: {0}")]
pub struct SecondFactorError(String);

/// Codes of one person: six digits, a new one every 30 seconds, SHA-1, as every authenticator app knows them.
#[derive(Debug)]
pub struct Authenticator(Totp);

impl Authenticator {
    /// The codes that follow from `secret`; `email` is what the app shows.
    ///
    /// # Errors
    /// The secret is too short or the address can't stand in a URI.
    pub fn new(secret: [u8; SECRET_BYTES], email: &str) -> Result<Self, SecondFactorError> {
        Builder::new()
            .with_secret(secret)
            .with_account_name(email)
            .with_issuer(Some(ISSUER))
            .build()
            .map(Self)
            .map_err(|error| SecondFactorError(error.to_string()))
    }

    /// What the app reads as a QR code: `otpauth://totp/…`. Holds the secret.
    ///
    /// # Errors
    /// The address can't stand in a URI.
    pub fn uri(&self) -> Result<String, SecondFactorError> {
        self.0.to_url().map_err(|error| SecondFactorError(error.to_string()))
    }

    /// The secret for typing it into an app, in base 32.
    #[must_use]
    pub fn secret_text(&self) -> String {
        self.0.secret().to_base32()
    }

    /// The step of time that `code` stands for, if it is the code of now, of the step before or of the one after (RFC
    /// 6238 section 5.2), and later than `last_step`, the last one that was used: a code is good once, and so are all
    /// before it.
    #[must_use]
    pub fn check(&self, code: &str, now: UtcMillis, last_step: Option<u64>) -> Option<u64> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let step = self.0.check(&code, seconds(now))?;
        last_step.is_none_or(|last| step > last).then_some(step)
    }

    /// The code of `now`, as the app shows it.
    #[must_use]
    pub fn code(&self, now: UtcMillis) -> String {
        self.0.generate(seconds(now)).to_string()
    }
}

/// The text of a recovery code: `1b2c3-d4e5f-…`.
#[must_use]
pub fn recovery_code(random: [u8; RECOVERY_BYTES]) -> String {
    let bits = random.iter().fold(0u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let places = RECOVERY_BYTES * 8 / 5;
    let mut text = String::new();
    for place in 0..places {
        if place > 0 && place % 4 == 0 {
            text.push('-');
        }
        let index = usize::try_from((bits >> (5 * (places - 1 - place))) & 31).unwrap_or_default();
        text.push(char::from(ALPHABET[index]));
    }
    text
}

/// A recovery code as it was made, however it is typed: capitals, other or no dashes, `O` for 0 and `I` or `L` for 1.
/// `None` when it can't be one.
#[must_use]
pub fn typed_recovery_code(typed: &str) -> Option<String> {
    let mut bits = 0u128;
    let mut places = 0;
    for c in typed.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let c = match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            c => c,
        };
        let index = ALPHABET.iter().position(|letter| char::from(*letter) == c)?;
        bits = (bits << 5) | u128::try_from(index).ok()?;
        places += 1;
        if places > RECOVERY_BYTES * 8 / 5 {
            return None;
        }
    }
    let bytes = bits.to_be_bytes();
    let (_, random) = bytes.split_at(bytes.len() - RECOVERY_BYTES);
    (places == RECOVERY_BYTES * 8 / 5).then(|| recovery_code(random.try_into().unwrap_or_default()))
}

fn seconds(now: UtcMillis) -> u64 {
    u64::try_from(now.as_millis() / 1_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The secret of RFC 6238, appendix B.
    const SECRET: [u8; SECRET_BYTES] = *b"12345678901234567890";

    fn authenticator() -> Authenticator {
        Authenticator::new(SECRET, "jane@acme.example").unwrap()
    }

    fn at(seconds: i64) -> UtcMillis {
        UtcMillis::from_millis(seconds * 1_000)
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924")] {
            assert_eq!(authenticator().code(at(seconds)), code);
            assert!(authenticator().check(code, at(seconds), None).is_some());
        }
    }

    #[test]
    fn a_code_is_good_once_and_none_before_it_after_that() {
        let ours = authenticator();
        let (before, code) = (ours.code(at(970)), ours.code(at(1_000)));
        let step = ours.check(&code, at(1_000), None).unwrap();
        assert_eq!(step, 1_000 / 30);
        assert_eq!(ours.check(&code, at(1_000), Some(step)), None, "replayed");
        assert_eq!(ours.check(&code, at(1_029), Some(step)), None, "replayed in the step after");
        assert_eq!(ours.check(&before, at(1_000), Some(step)), None, "an earlier one");
        assert_eq!(ours.check(&ours.code(at(1_030)), at(1_030), Some(step)), Some(step + 1));
    }

    #[test]
    fn a_clock_may_be_half_a_minute_off_and_no_more() {
        let ours = authenticator();
        for (shown_at, good) in [(970, true), (1_030, true), (930, false), (1_080, false)] {
            assert_eq!(ours.check(&ours.code(at(shown_at)), at(1_000), None).is_some(), good, "{shown_at}");
        }
        assert!(ours.check(&format!(" {} ", ours.code(at(1_000))), at(1_000), None).is_some());
        for code in ["", "1", "12345", "1234567", "abcdef", "١٢٣٤٥٦"] {
            assert_eq!(ours.check(code, at(1_000), None), None, "{code}");
        }
    }

    #[test]
    fn an_app_reads_the_secret_from_the_uri() {
        let uri = authenticator().uri().unwrap();
        assert!(uri.starts_with("otpauth://totp/AIVMS:jane%40acme%2Eexample?") || uri.contains("jane"), "{uri}");
        assert!(uri.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ") && uri.contains("issuer=AIVMS"), "{uri}");
        assert_eq!(authenticator().secret_text(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }

    proptest! {
        #[test]
        fn a_recovery_code_is_known_however_it_is_typed(random: [u8; RECOVERY_BYTES]) {
            let code = recovery_code(random);
            prop_assert_eq!(code.len(), 19);
            let typed = code.to_uppercase().replace('-', " ").replace('0', "O").replace('1', "L");
            prop_assert_eq!(typed_recovery_code(&typed), Some(code));
        }

        #[test]
        fn any_text_is_a_recovery_code_or_none(text in ".{0,40}") {
            if let Some(code) = typed_recovery_code(&text) {
                prop_assert_eq!(code.len(), 19);
            }
        }
    }
}
