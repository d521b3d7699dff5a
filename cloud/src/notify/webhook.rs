//! Webhooks as Standard Webhooks describes them: a stable id, a time, and a signature over both and the body.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::fmt;
use std::str::FromStr;

use aivms_contract::time::UtcMillis;
use anyhow::{Result, anyhow};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, InvalidHeaderValue};

/// Bytes of a secret that is drawn; the specification takes 24 to 64.
const SECRET_BYTES: usize = 32;
const SECRET_PREFIX: &str = "whsec_";

/// The key that receivers check signatures with. Its text, `whsec_` and base64, is shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// Says that a text is no secret of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be whsec_ and 24 to 64 bytes in base64")]
pub struct SecretError;

impl WebhookSecret {
    /// Draws one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn draw() -> Result<Self> {
        let mut bytes = vec![0; SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("the system has no random numbers"))?;
        Ok(Self(bytes))
    }

    /// Its text, for the receiver, and for the database.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(&self.0))
    }

    fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        context.update(format!("{id}.{seconds}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

impl FromStr for WebhookSecret {
    type Err = SecretError;
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let bytes = STANDARD.decode(text.strip_prefix(SECRET_PREFIX).unwrap_or(text)).map_err(|_| SecretError)?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(SecretError) }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

/// The headers of a message: one signature for each of the secrets in use, so that a receiver can change over when it
/// likes. The time is that of the attempt; the id stays the same over all attempts.
///
/// # Errors
/// The id can't stand in a header.
pub fn headers(
    secrets: &[WebhookSecret],
    id: &str,
    now: UtcMillis,
    body: &[u8],
) -> Result<HeaderMap, InvalidHeaderValue> {
    let seconds = now.as_millis().div_euclid(1_000);
    let signatures: Vec<String> = secrets.iter().map(|secret| secret.sign(id, seconds, body)).collect();
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("webhook-id", id.parse()?);
    headers.insert("webhook-timestamp", seconds.into());
    headers.insert("webhook-signature", signatures.join(" ").parse()?);
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use standardwebhooks::Webhook;

    fn secret(byte: u8) -> WebhookSecret {
        WebhookSecret(vec![byte; SECRET_BYTES])
    }

    #[test]
    fn the_published_example_is_signed_alike() {
        let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let secret: WebhookSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".parse().unwrap();
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let signed = secret.sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body);
        assert_eq!(signed, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn a_receiver_with_either_secret_takes_a_message_while_two_are_in_use() {
        let (old, new, other) = (secret(1), secret(2), secret(3));
        let made = headers(&[old.clone(), new.clone()], "dlv_1", crate::clock::now(), b"{}").unwrap();
        let verified = |secret: &WebhookSecret| Webhook::new(&secret.reveal()).unwrap().verify(b"{}", &made).is_ok();
        assert_eq!((verified(&old), verified(&new), verified(&other)), (true, true, false));
        assert!(Webhook::new(&new.reveal()).unwrap().verify(b"{ }", &made).is_err());
    }

    #[test]
    fn a_secret_reads_back_and_is_never_printed() {
        let drawn = WebhookSecret::draw().unwrap();
        assert_eq!(drawn.reveal().parse(), Ok(drawn.clone()));
        assert!(!format!("{drawn:?}").contains(&STANDARD.encode(&drawn.0)));
        for text in ["", "whsec_", "whsec_AAAA", "whsec_!"] {
            assert_eq!(text.parse::<WebhookSecret>(), Err(SecretError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_reference_takes_every_message(body in "(?s).{0,200}", id in "[A-Za-z0-9_]{1,40}") {
            let made = headers(&[secret(7)], &id, crate::clock::now(), body.as_bytes()).unwrap();
            prop_assert!(Webhook::new(&secret(7).reveal()).unwrap().verify(body.as_bytes(), &made).is_ok());
        }
    }
}
