//! Pushes to a push service and a browser that a test plays: only the browser can read them.

use std::collections::HashMap;

use aivms_cloud::clock;
use aivms_cloud::store::{DeliveryState, PushSubscription};
use aivms_cloud_core::notify::id::SubscriptionId;
use aivms_contract::alert::Severity;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey as SignaturePublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::receiver::{Manner, Receiver, Request};
use crate::site::{OUTSIDE, Site};

/// A browser with its keys.
struct Browser {
    key: PrivateKey,
    public: Vec<u8>,
    auth: [u8; 16],
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive(salt: &[u8], secret: &[u8], info: &[&[u8]], length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    Salt::new(HKDF_SHA256, salt).extract(secret).expand(info, Length(length)).unwrap().fill(&mut out).unwrap();
    out
}

impl Browser {
    fn new() -> Self {
        let key = PrivateKey::generate(&ECDH_P256).unwrap();
        let public = key.compute_public_key().unwrap().as_ref().to_vec();
        Self { key, public, auth: [7; 16] }
    }

    /// Reads a message by RFC 8291 section 4 and RFC 8188.
    fn read(&self, request: &Request) -> Value {
        assert_eq!(request.header("content-encoding"), "aes128gcm");
        let (salt, rest) = request.body.split_at(16);
        let (record_length, rest) = rest.split_at(4);
        assert!(u32::from_be_bytes(record_length.try_into().unwrap()) as usize >= request.body.len() - 86);
        let (sender, record) = rest[1..].split_at(usize::from(rest[0]));
        let input = agree(&self.key, UnparsedPublicKey::new(&ECDH_P256, sender), (), |shared| {
            Ok(derive(&self.auth, shared, &[b"WebPush: info\0", &self.public, sender], 32))
        });
        let input = input.unwrap();
        let key = derive(salt, &input, &[b"Content-Encoding: aes128gcm\0"], 16);
        let nonce = derive(salt, &input, &[b"Content-Encoding: nonce\0"], 12);
        let opening = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
        let mut record = record.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
        let plain = opening.open_in_place(nonce, Aad::empty(), &mut record).unwrap();
        let (delimiter, message) = plain.split_last().unwrap();
        assert_eq!(*delimiter, 2);
        serde_json::from_slice(message).unwrap()
    }
}

async fn subscribe(site: &Site, browser: &Browser, endpoint: String) -> PushSubscription {
    let subscription = PushSubscription {
        subscription_id: SubscriptionId::from_parts(clock::now(), fastrand::u128(..)),
        endpoint,
        p256dh: URL_SAFE_NO_PAD.encode(&browser.public),
        auth: URL_SAFE_NO_PAD.encode(browser.auth),
        label: "Phone".into(),
        created_at: clock::now(),
    };
    site.store.subscribe_push(site.owner.tenant, site.owner.key, subscription).await.unwrap()
}

#[tokio::test]
async fn a_push_is_read_by_its_browser_and_its_sender_is_known_to_the_service() {
    let service = Receiver::at(OUTSIDE, vec![Manner::Answer("201 Created")]).await;
    let site = Site::with(vec![service.address.port()], |_| {}).await;
    let browser = Browser::new();
    subscribe(&site, &browser, service.url()).await;
    site.tell(site.alert("Person in loading-bay", Severity::Critical)).await;
    let request = service.wait_for(1).await.pop().unwrap();
    let message = browser.read(&request);
    assert_eq!(
        (&message["title"], &message["body"]),
        (&"Critical: Person in loading-bay".into(), &"Gate / dock".into())
    );
    assert_eq!((request.header("urgency"), request.header("topic").len()), ("high", 26));
    assert!((3_000..=3_600).contains(&request.header("ttl").parse::<u32>().unwrap()));
    let (token, public) = request.header("authorization").strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let key = SignaturePublicKey::new(&ECDSA_P256_SHA256_FIXED, decode(public));
    key.verify(signed.as_bytes(), &decode(signature)).unwrap();
    let claims: HashMap<String, Value> = serde_json::from_slice(&decode(signed.split_once('.').unwrap().1)).unwrap();
    assert_eq!(claims["aud"], format!("http://{}", service.address));
    site.wait_for_log(|log| log[0].state == DeliveryState::Delivered).await;
}

#[tokio::test]
async fn a_browser_that_is_gone_is_forgotten_and_one_whose_service_is_busy_is_not() {
    let gone = Receiver::at(OUTSIDE, vec![Manner::Answer("410 Gone")]).await;
    let busy =
        Receiver::at(OUTSIDE, vec![Manner::Answer("429 Slow Down\r\nretry-after: 1"), Manner::Answer("201 Created")])
            .await;
    let site = Site::with(vec![gone.address.port(), busy.address.port()], |_| {}).await;
    let browser = Browser::new();
    subscribe(&site, &browser, gone.url()).await;
    let kept = subscribe(&site, &browser, busy.url()).await;
    site.tell(site.alert("x", Severity::Warning)).await;
    let log =
        site.wait_for_log(|log| log.len() == 2 && log.iter().all(|push| push.state != DeliveryState::Waiting)).await;
    let states: Vec<_> =
        log.iter().map(|push| (push.receiver == format!("push:{}", kept.subscription_id), push.state)).collect();
    assert!(states.contains(&(true, DeliveryState::Delivered)) && states.contains(&(false, DeliveryState::Failed)));
    let left = site.store.list_push_subscriptions(site.owner.tenant, site.owner.key).await.unwrap();
    assert_eq!(left, [kept]);
}
