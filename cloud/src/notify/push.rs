//! Web push: messages only the subscribed browser can read (RFC 8291), from a sender its push service knows (RFC 8292).

use std::fmt;

use aivms_contract::time::UtcMillis;
use anyhow::{Context, Result, anyhow};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use url::Url;

use crate::config::Secret;

/// Most bytes of a message: a record of 4096 less the header, the tag and the delimiter (RFC 8291 section 4).
pub const MAX_MESSAGE_BYTES: usize = 3_993;
/// Bytes of a point of P-256 that is not compressed.
const POINT_BYTES: usize = 65;
const AUTH_BYTES: usize = 16;
const SALT_BYTES: usize = 16;
const RECORD_BYTES: u32 = 4_096;
/// Marks the last record (RFC 8188 section 2).
const LAST_RECORD: u8 = 2;
/// How long the proof of who sends is good; RFC 8292 allows a day.
const VAPID_SECONDS: i64 = 12 * 3600;

/// The keys of a browser that was subscribed, as `PushSubscription.toJSON()` gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionKeys {
    /// Its public key, `keys.p256dh`.
    p256dh: [u8; POINT_BYTES],
    /// What it shares with its senders, `keys.auth`.
    auth: [u8; AUTH_BYTES],
}

/// Says which key of a subscription is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// `p256dh` is no point of the curve.
    #[error("must be a public key of P-256 in base64url")]
    P256dh,
    /// `auth` has another length.
    #[error("must be 16 bytes in base64url")]
    Auth,
}

impl SubscriptionKeys {
    /// Reads both keys in base64url.
    ///
    /// # Errors
    /// Says which one is wrong.
    pub fn read(p256dh: &str, auth: &str) -> Result<Self, KeysError> {
        let p256dh = decoded(p256dh).and_then(|bytes| bytes.try_into().ok()).ok_or(KeysError::P256dh)?;
        let auth = decoded(auth).and_then(|bytes| bytes.try_into().ok()).ok_or(KeysError::Auth)?;
        let keys = Self { p256dh, auth };
        // Only agreeing on a key shows that it is a point of the curve.
        encrypt(&keys, b"").map(|_| keys).map_err(|_| KeysError::P256dh)
    }
}

/// Padding is left out by browsers and put in by others.
fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// Encrypts a message for a browser: the body of a request with `content-encoding: aes128gcm`.
///
/// # Errors
/// The browser's key is none, or the message is longer than [`MAX_MESSAGE_BYTES`].
pub fn encrypt(keys: &SubscriptionKeys, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let mut salt = [0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt)?;
    encrypt_with(keys, message, &PrivateKey::generate(&ECDH_P256)?, salt)
}

fn encrypt_with(
    keys: &SubscriptionKeys,
    message: &[u8],
    own: &PrivateKey,
    salt: [u8; SALT_BYTES],
) -> Result<Vec<u8>, Unspecified> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(Unspecified);
    }
    let own_public = own.compute_public_key()?;
    let mut input_key = [0; 32];
    agree(own, UnparsedPublicKey::new(&ECDH_P256, keys.p256dh), Unspecified, |shared| {
        let info = [b"WebPush: info\0".as_slice(), &keys.p256dh, own_public.as_ref()];
        derive(&keys.auth, shared, &info, &mut input_key)
    })?;
    let (mut key, mut nonce) = ([0; 16], [0; 12]);
    derive(&salt, &input_key, &[b"Content-Encoding: aes128gcm\0"], &mut key)?;
    derive(&salt, &input_key, &[b"Content-Encoding: nonce\0"], &mut nonce)?;

    let mut record = message.to_vec();
    record.push(LAST_RECORD);
    let sealing = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    sealing.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record)?;
    let id_length = u8::try_from(own_public.as_ref().len()).map_err(|_| Unspecified)?;
    Ok([&salt, RECORD_BYTES.to_be_bytes().as_slice(), &[id_length], own_public.as_ref(), &record].concat())
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive(salt: &[u8], secret: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), Unspecified> {
    Salt::new(HKDF_SHA256, salt).extract(secret).expand(info, Length(out.len()))?.fill(out)
}

/// The key by which push services know this cloud. Subscriptions are bound to it: with another one all browsers must be
/// subscribed anew.
pub struct VapidKey {
    pair: EcdsaKeyPair,
    public: String,
}

impl VapidKey {
    /// Reads the key from 32 random bytes in base64url, as [`crate::secret_file`] draws them.
    ///
    /// # Errors
    /// They are no key.
    pub fn read(secret: &Secret) -> Result<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(secret.reveal()).context("the VAPID key is damaged")?;
        let wrong = |_| anyhow!("the VAPID key is damaged");
        let private = PrivateKey::from_private_key(&ECDH_P256, &bytes).map_err(wrong)?;
        let public = private.compute_public_key().map_err(|_| anyhow!("the VAPID key is damaged"))?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &bytes, public.as_ref()).map_err(wrong)?;
        Ok(Self { pair, public: URL_SAFE_NO_PAD.encode(public) })
    }

    /// The public key as browsers take it, `applicationServerKey`.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The `Authorization` of a message to `endpoint`; `contact` is a `mailto:` or `https:` address of the operator.
    ///
    /// # Errors
    /// Signing failed.
    pub fn authorization(&self, endpoint: &Url, contact: &str, now: UtcMillis) -> Result<String, Unspecified> {
        let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
        let ends = now.as_millis() / 1_000 + VAPID_SECONDS;
        let claims = json!({ "aud": endpoint.origin().ascii_serialization(), "exp": ends, "sub": contact });
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes())?;
        Ok(format!("vapid t={signed}.{}, k={}", URL_SAFE_NO_PAD.encode(signature), self.public))
    }
}

impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VapidKey").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey as SignaturePublicKey};

    const UA_PUBLIC: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    #[test]
    fn the_example_of_rfc_8291_is_encrypted_alike() {
        let keys = SubscriptionKeys::read(UA_PUBLIC, AUTH).unwrap();
        let own = decoded("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw").unwrap();
        let own = PrivateKey::from_private_key(&ECDH_P256, &own).unwrap();
        let salt = decoded("DGv6ra1nlYgDCS1FRnbzlw").unwrap().try_into().unwrap();
        let body = encrypt_with(&keys, b"When I grow up, I want to be a watermelon", &own, salt).unwrap();
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8w\
                        EqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(body), expected);
    }

    #[test]
    fn a_message_fits_one_record_or_is_refused_and_no_two_are_alike() {
        let keys = SubscriptionKeys::read(UA_PUBLIC, AUTH).unwrap();
        let longest = [7; MAX_MESSAGE_BYTES];
        let (one, two) = (encrypt(&keys, &longest).unwrap(), encrypt(&keys, &longest).unwrap());
        assert_eq!(one.len(), RECORD_BYTES as usize);
        assert_ne!(one, two);
        assert!(encrypt(&keys, &[7; MAX_MESSAGE_BYTES + 1]).is_err());
    }

    #[test]
    fn a_wrong_key_of_a_browser_is_named() {
        let off_curve = URL_SAFE_NO_PAD.encode([4; 65]);
        for p256dh in ["", "!", &UA_PUBLIC[1..], off_curve.as_str()] {
            assert_eq!(SubscriptionKeys::read(p256dh, AUTH), Err(KeysError::P256dh), "{p256dh}");
        }
        assert_eq!(SubscriptionKeys::read(UA_PUBLIC, "BTBZ"), Err(KeysError::Auth));
        assert!(SubscriptionKeys::read(&format!("{UA_PUBLIC}="), &format!("{AUTH}==")).is_ok());
    }

    #[test]
    fn the_sender_proves_itself_to_the_push_service_for_a_limited_time() {
        let secret = Secret::new(URL_SAFE_NO_PAD.encode([9; 32]));
        let key = VapidKey::read(&secret).unwrap();
        let endpoint = Url::parse("https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV").unwrap();
        let now = UtcMillis::from_millis(1_795_352_700_250);
        let header = key.authorization(&endpoint, "mailto:admin@example.com", now).unwrap();
        let (token, public) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        assert_eq!((public, decoded(public).unwrap().len()), (key.public(), POINT_BYTES));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let claims: serde_json::Value =
            serde_json::from_slice(&decoded(signed.split_once('.').unwrap().1).unwrap()).unwrap();
        assert_eq!(claims["aud"], "https://push.example.net");
        assert_eq!(claims["exp"], 1_795_352_700 + VAPID_SECONDS);
        let checked = SignaturePublicKey::new(&ECDSA_P256_SHA256_FIXED, decoded(public).unwrap());
        checked.verify(signed.as_bytes(), &decoded(signature).unwrap()).unwrap();
        assert!(!format!("{key:?}").contains(secret.reveal()));
    }

    #[test]
    fn a_damaged_key_is_refused() {
        for bytes in [vec![0; 32], vec![0xff; 32], vec![7; 31], vec![]] {
            assert!(VapidKey::read(&Secret::new(URL_SAFE_NO_PAD.encode(bytes))).is_err());
        }
    }
}
