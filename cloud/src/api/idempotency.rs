//! Creating once, however often the request arrives: the header `Idempotency-Key`.
//!
//! The first answer is kept for a day, sealed with a key that follows from the caller's own: the database alone, or
//! with the cloud's secret, does not open it. That is why a repeat may answer a secret that is shown only once, which
//! it must, because the point of a repeat is that the first answer got lost.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aivms_cloud_core::idempotency::{IdempotencyKey, KEY_PATTERN, KeyError};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use poem_openapi::param::Header;
use poem_openapi::types::{ParseFromJSON, ToJSON};
use serde_json::{Value, json};

use super::failure::Failure;
use super::values::{Text, TextForm};
use super::{Services, to_its_end};
use crate::clock;
use crate::config::Secret;
use crate::store::{Claim, Claimed, Doer, KeyedRequest, Store, TenantKey};

const NONCE: usize = 12;
/// What a repeat is told that came too early.
const AT_WORK_WAIT: &str = "the first request with this key is still at work; try again in a second";

/// The header of every operation that creates something.
pub(super) type KeyHeader = Header<Option<Text<Key>>>;

/// A key as callers write it.
#[derive(Debug, Clone)]
pub(super) struct Key(IdempotencyKey);

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    /// The tenant, unless it is being made.
    pub tenant: Option<TenantKey>,
    /// What tells callers apart: one never gets the answer of another.
    pub who: String,
    /// For the audit log.
    pub doer: Doer,
}

/// Something was made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Made<T> {
    /// What the answer says.
    pub body: T,
    /// Where it is.
    pub location: String,
}

/// Keys that follow from the cloud's secret.
#[derive(Clone)]
pub(super) struct AnswerKeys(hmac::Key);

/// Keys of one request.
struct RequestKeys {
    key_hash: [u8; 32],
    fingerprint: hmac::Key,
    sealing: [u8; 32],
}

impl Asking {
    /// Somebody without an account, told apart by `who`: what it shows to get one.
    pub(super) fn stranger(who: String, address: String) -> Self {
        Self { tenant: None, who, doer: Doer { address: Some(address), ..Doer::system() } }
    }
}

impl TextForm for Key {
    const NAME: &'static str = "idempotency_key";
    const PATTERN: Option<&'static str> = Some(KEY_PATTERN);
    const EXAMPLE: &'static str = "0198c7f2-6c1e-7d53-a1b4-2f9f6c3d8e10";
}

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.reveal())
    }
}

impl Services {
    /// Carries `work` out, once for each key: a repeat with the same body gets the first answer again, one with
    /// another body 422. `work` is given the store it must write with: its transactions say themselves that the
    /// request is carried out, so that no crash makes a repeat create a second time. A failure is not remembered.
    pub(super) async fn once<T, W>(
        self: &Arc<Self>,
        asking: &Asking,
        operation: &'static str,
        key: KeyHeader,
        request: &impl ToJSON,
        work: impl FnOnce(Store) -> W + Send + 'static,
    ) -> Result<Made<T>, Failure>
    where
        T: ToJSON + ParseFromJSON + Send + 'static,
        W: Future<Output = Result<Made<T>, Failure>> + Send + 'static,
    {
        let store = self.store.by(&asking.doer);
        let Some(Text(Key(key))) = key.0 else { return to_its_end(async move { work(store).await }).await };
        let keys = self.answer_keys.of(&asking.who, operation, &key);
        let body = json!(request.to_json()).to_string();
        let keyed = KeyedRequest {
            tenant: asking.tenant,
            key_hash: keys.key_hash,
            fingerprint: tag(&keys.fingerprint, &[body.as_bytes()]),
        };
        let services = Arc::clone(self);
        to_its_end(async move {
            match services.store.claim_request(keyed, clock::now()).await? {
                Claimed::CarryOut(claim) => {
                    let made = work(store.claimed(claim)).await;
                    services.remember(claim, &keys, made.as_ref().ok()).await;
                    made
                }
                Claimed::Answered(sealed) => keys.open(sealed).and_then(read).ok_or_else(answer_lost),
                Claimed::OtherRequest => {
                    Err(Failure::unacceptable("Idempotency-Key", "was used for another request; draw a new one"))
                }
                Claimed::AtWork => Err(Failure::conflict(Some("Idempotency-Key"), AT_WORK_WAIT)),
                Claimed::AnswerLost => Err(answer_lost()),
            }
        })
        .await
    }

    async fn remember<T: ToJSON>(&self, claim: Claim, keys: &RequestKeys, made: Option<&Made<T>>) {
        let kept = match made.and_then(|made| keys.seal(&written(made))) {
            Some(answer) => self.store.keep_answer(claim, answer).await,
            None => self.store.give_up_claim(claim).await,
        };
        // A repeat is told that the answer is lost.
        if let Err(error) = kept {
            tracing::warn!(%error, "the answer to a request with an idempotency key can't be kept");
        }
    }
}

fn answer_lost() -> Failure {
    let detail = "the request with this key was carried out, and its answer was lost; ask for what it made";
    Failure::conflict(Some("Idempotency-Key"), detail)
}

fn written<T: ToJSON>(made: &Made<T>) -> Value {
    json!({ "body": made.body.to_json(), "location": made.location })
}

fn read<T: ParseFromJSON>(mut answer: Value) -> Option<Made<T>> {
    let location = answer.get("location")?.as_str()?.to_owned();
    let body = T::parse_from_json(Some(answer.get_mut("body")?.take())).ok()?;
    Some(Made { body, location })
}

impl AnswerKeys {
    pub(super) fn new(secret: &Secret) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, &tag(&secret, &[b"aivms idempotency keys"])))
    }

    fn of(&self, who: &str, operation: &str, key: &IdempotencyKey) -> RequestKeys {
        let who = format!("{operation}\n{who}");
        // A key holds no line feed, so no two pairs are one text.
        let derived =
            |purpose: &str| tag(&self.0, &[purpose.as_bytes(), b"\n", key.reveal().as_bytes(), b"\n", who.as_bytes()]);
        RequestKeys {
            key_hash: derived("row"),
            fingerprint: hmac::Key::new(hmac::HMAC_SHA256, &derived("request")),
            sealing: derived("answer"),
        }
    }
}

impl fmt::Debug for AnswerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerKeys(..)")
    }
}

impl RequestKeys {
    fn seal(&self, answer: &Value) -> Option<Vec<u8>> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.sealing).ok()?;
        let mut text = answer.to_string().into_bytes();
        let nonce = key.seal_in_place_append_tag(Aad::from(self.key_hash), &mut text).ok()?;
        Some([nonce.as_ref().as_slice(), text.as_slice()].concat())
    }

    fn open(&self, mut sealed: Vec<u8>) -> Option<Value> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.sealing).ok()?;
        let (nonce, text) = sealed.split_at_mut_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = key.open_in_place(nonce, Aad::from(self.key_hash), text).ok()?;
        serde_json::from_slice(text).ok()
    }
}

fn tag(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.sign().as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secret: &str, who: &str, key: &str) -> RequestKeys {
        AnswerKeys::new(&Secret::new(secret.repeat(8))).of(who, "create_edge", &key.parse().unwrap())
    }

    #[test]
    fn only_the_callers_own_key_opens_an_answer() {
        let answer = json!({ "body": { "edge_secret": "abc" }, "location": "/x" });
        let ours = keys("ours", "user 1", "key");
        let sealed = ours.seal(&answer).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("abc"));
        assert_eq!(ours.open(sealed.clone()), Some(answer.clone()));
        for other in [keys("else", "user 1", "key"), keys("ours", "user 2", "key"), keys("ours", "user 1", "kez")] {
            assert_ne!(other.key_hash, ours.key_hash);
            assert_eq!(other.open(sealed.clone()), None);
        }
        for cut in [0, 5, sealed.len() - 1] {
            assert_eq!(ours.open(sealed[..cut].to_vec()), None, "{cut}");
        }
        // Sealed again it looks different.
        assert_ne!(ours.seal(&answer).unwrap(), sealed);
    }
}
