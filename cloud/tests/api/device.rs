//! An appliance as the cloud sees it: a key, a certificate, tokens and events.

use aivms_contract::detection::{Detection, TrackPhase};
use aivms_contract::edge_api::{TOKEN_AUDIENCE, TokenClaims};
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::UtcMillis;
use aivms_contract::zone_event::{ZoneEvent, ZoneEventType};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cloud::{Answer, Cloud, Owner};

pub(crate) struct Device {
    pub edge_id: String,
    pub tenant_id: String,
    pub certificate_pem: String,
    pub ca_pem: String,
    key: KeyPair,
    thumbprint: String,
}

/// A new device key and a request for it.
pub(crate) fn key_and_csr() -> (KeyPair, String) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    (key, csr)
}

pub(crate) fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// The moment `millis` after the tests' own beginning of time.
pub(crate) fn at(millis: i64) -> UtcMillis {
    UtcMillis::from_millis(1_795_352_700_000 + millis)
}

impl Device {
    /// Registers an edge and enrols it.
    pub(crate) async fn enrolled(cloud: &Cloud, owner: &Owner) -> Self {
        let (edge_id, edge_secret) = cloud.register_edge(owner).await;
        let (key, csr_pem) = key_and_csr();
        let request = json!({ "edge_id": edge_id, "edge_secret": edge_secret, "csr_pem": csr_pem });
        let answer = cloud.post("/api/edge/enroll", request).await;
        answer.assert_ok();
        let thumbprint = thumbprint(&answer.text("certificate_pem"));
        let (certificate_pem, ca_pem) = (answer.text("certificate_pem"), answer.text("ca_pem"));
        Self { edge_id, tenant_id: answer.text("tenant_id"), certificate_pem, ca_pem, key, thumbprint }
    }

    /// The device's key in PEM.
    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A token as the appliance makes it, after `change` has had its way with header and claims.
    pub(crate) fn token_with(&self, change: impl FnOnce(&mut Header, &mut TokenClaims)) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.x5t_s256 = Some(self.thumbprint.clone());
        let mut claims = TokenClaims {
            sub: format!("urn:aivms:tenant:{}:edge:{}", self.tenant_id, self.edge_id),
            aud: TOKEN_AUDIENCE.into(),
            iat: now_s(),
            exp: now_s() + 300,
        };
        change(&mut header, &mut claims);
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    }

    pub(crate) fn token(&self) -> String {
        self.token_with(|_, _| ())
    }

    pub(crate) async fn deliver(&self, cloud: &Cloud, events: &[Envelope]) -> Answer {
        self.deliver_raw(cloud, json!({ "events": events })).await
    }

    pub(crate) async fn deliver_raw(&self, cloud: &Cloud, body: Value) -> Answer {
        Answer::of(cloud.request(Method::POST, "/api/edge/events").bearer_auth(self.token()).json(&body)).await
    }

    pub(crate) async fn renew(&self, cloud: &Cloud) -> (Answer, Self) {
        let (key, csr_pem) = key_and_csr();
        let request = cloud.request(Method::POST, "/api/edge/renew").bearer_auth(self.token());
        let answer = Answer::of(request.json(&json!({ "csr_pem": csr_pem }))).await;
        answer.assert_ok();
        let thumbprint = thumbprint(&answer.text("certificate_pem"));
        let renewed = Self {
            edge_id: self.edge_id.clone(),
            tenant_id: self.tenant_id.clone(),
            certificate_pem: answer.text("certificate_pem"),
            ca_pem: self.ca_pem.clone(),
            key,
            thumbprint,
        };
        (answer, renewed)
    }

    pub(crate) fn envelope(&self, seq: u64, body: Body) -> Envelope {
        let entropy =
            u128::from(seq) + (u128::from(u32::from_be_bytes(self.edge_id.as_bytes()[5..9].try_into().unwrap())) << 40);
        Envelope::new(self.edge_id.parse().unwrap(), "outbox-1".parse().unwrap(), seq, body, entropy)
    }

    /// The detection at place `seq`, `seq` milliseconds after the beginning of time.
    pub(crate) fn detection(&self, seq: u64) -> Envelope {
        self.envelope(seq, Body::Detections(detection(i64::try_from(seq).unwrap())))
    }
}

pub(crate) fn detection(millis: i64) -> Detection {
    Detection {
        camera_id: "door".parse().unwrap(),
        timestamp: at(millis),
        object_class: "person".into(),
        confidence: 0.9,
        bbox: PixelBox::new(1.0, 2.5, 30.0, 40.1).unwrap(),
        frame: FrameSize { width: 640, height: 480 },
        track_id: "track-1".parse().unwrap(),
        phase: TrackPhase::Start,
        age_ms: 400,
        stationary: false,
    }
}

pub(crate) fn zone_event(millis: i64, event_type: ZoneEventType) -> ZoneEvent {
    let seen = detection(millis);
    ZoneEvent {
        camera_id: seen.camera_id,
        zone_id: "lobby".parse().unwrap(),
        timestamp: seen.timestamp,
        event_type,
        object_class: seen.object_class,
        confidence: seen.confidence,
        track_id: seen.track_id,
        bbox: seen.bbox,
        frame: seen.frame,
        dwell_ms: (event_type == ZoneEventType::Dwell).then_some(10_000),
        exit_reason: None,
        direction: None,
        count: None,
        speed_kmh: None,
        why: vec![],
    }
}

fn thumbprint(certificate_pem: &str) -> String {
    let der = pem::parse(certificate_pem).unwrap().into_contents();
    URL_SAFE_NO_PAD.encode(Sha256::digest(der))
}
