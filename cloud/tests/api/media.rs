//! Clips and snapshots: sent by an edge, listed, and seen through their links.

use aivms_contract::clip::Clip;
use aivms_contract::envelope::Body;
use aivms_contract::media::{MediaKind, MediaOffer, MediaType, Sha256Hex};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cloud::{Answer, Cloud, Owner};
use crate::device::{Device, at};

/// A clip's file: any bytes do, as the cloud never looks into it.
fn file(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|place| (place * 31 % 251) as u8).collect()
}

fn offer(id: &str, bytes: &[u8]) -> MediaOffer {
    MediaOffer {
        kind: MediaKind::Clip,
        media_id: id.parse().unwrap(),
        camera_id: "door".parse().unwrap(),
        size_bytes: bytes.len() as u64,
        sha256: Sha256Hex::from_bytes(Sha256::digest(bytes).into()),
        content_type: MediaType::Mp4,
        captured_at: at(1),
        event_id: None,
    }
}

impl Device {
    async fn offer(&self, cloud: &Cloud, offer: &MediaOffer) -> Answer {
        Answer::of(cloud.request(Method::POST, "/api/edge/media").bearer_auth(self.token()).json(offer)).await
    }

    async fn send(&self, cloud: &Cloud, id: &str, offset: usize, piece: &[u8]) -> Answer {
        let path = format!("/api/edge/media/clip/{id}?offset={offset}");
        let request = cloud.request(Method::PATCH, &path).bearer_auth(self.token());
        Answer::of(request.header("content-type", "application/octet-stream").body(piece.to_vec())).await
    }

    /// Says that there is a clip, and sends it.
    async fn clip(&self, cloud: &Cloud, id: &str, bytes: &[u8]) {
        self.deliver(cloud, &[self.envelope(1, Body::Clips(clip_event(id)))]).await.assert_ok();
        self.offer(cloud, &offer(id, bytes)).await.assert_ok();
        let answer = self.send(cloud, id, 0, bytes).await;
        assert_eq!(answer.body, json!({ "offset": bytes.len(), "stored": true }));
    }
}

fn clip_event(id: &str) -> Clip {
    Clip {
        clip_id: id.parse().unwrap(),
        camera_id: "door".parse().unwrap(),
        start: at(1),
        duration_ms: 20_000,
        size_bytes: 3_000,
        event_id: Some("01KANA8P3V6X2C5E7G9HJKMNPQ".parse().unwrap()),
        command_id: None,
        missing_ms: 0,
        missing: Vec::new(),
        event_offset_ms: Some(5_000),
        codecs: Some("avc1.64001f".to_owned()),
        sha256: None,
        masked: false,
    }
}

async fn link(cloud: &Cloud, owner: &Owner, id: &str) -> String {
    cloud.get_as(owner, &format!("/api/clips/{id}")).await.text("url")
}

#[tokio::test]
async fn a_clip_is_announced_then_on_its_way_then_seen_through_its_link() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let bytes = file(3_000);
    device.deliver(&cloud, &[device.envelope(1, Body::Clips(clip_event("c1")))]).await.assert_ok();
    let state = async || cloud.get_as(&owner, "/api/clips/c1").await.body;
    let announced = state().await;
    assert_eq!(
        (&announced["state"], &announced["percent"], &announced["url"]),
        (&json!("announced"), &json!(0), &Value::Null)
    );
    assert_eq!((&announced["duration_ms"], &announced["event_offset_ms"]), (&json!(20_000), &json!(5_000)));

    let offered = device.offer(&cloud, &offer("c1", &bytes)).await;
    assert_eq!(offered.body, json!({ "offset": 0, "stored": false }));
    device.send(&cloud, "c1", 0, &bytes[..1_500]).await.assert_ok();
    let early = device.send(&cloud, "c1", 2_000, &bytes[2_000..]).await;
    assert_eq!(early.body, json!({ "offset": 1_500, "stored": false }));
    let uploading = state().await;
    assert_eq!((&uploading["state"], &uploading["percent"]), (&json!("uploading"), &json!(50)));

    let sent = device.send(&cloud, "c1", 1_000, &bytes[1_000..]).await;
    assert_eq!(sent.body, json!({ "offset": 3_000, "stored": true }));
    let listed = cloud.get_as(&owner, "/api/clips?camera_id=door&event_id=01KANA8P3V6X2C5E7G9HJKMNPQ").await;
    let stored = &listed.body["items"][0];
    assert_eq!(
        (&stored["clip_id"], &stored["state"], &stored["percent"]),
        (&json!("c1"), &json!("stored"), &json!(100))
    );
    let url = stored["url"].as_str().unwrap();
    let seen = cloud.request(Method::GET, url).send().await.unwrap();
    assert_eq!(seen.status(), StatusCode::OK);
    assert_eq!(seen.headers()["content-type"], "video/mp4");
    assert_eq!(seen.headers()["x-content-type-options"], "nosniff");
    assert!(seen.headers()["cache-control"].to_str().unwrap().starts_with("private"));
    assert!(!seen.headers().contains_key("access-control-allow-origin"));
    assert_eq!(seen.bytes().await.unwrap(), bytes);
}

#[tokio::test]
async fn a_link_answers_to_ranges_head_and_entity_tags_as_players_need_it() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let bytes = file(3_000);
    device.clip(&cloud, "c1", &bytes).await;
    let url = link(&cloud, &owner, "c1").await;
    let get = async |headers: &[(&str, &str)]| {
        let request = headers.iter().fold(cloud.request(Method::GET, &url), |request, (n, v)| request.header(*n, *v));
        let answer = request.send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (range, length) = (header("content-range"), header("content-length"));
        (answer.status().as_u16(), range, length, answer.bytes().await.unwrap())
    };
    let etag = format!("\"{}\"", offer("c1", &bytes).sha256);
    for (range, part, shown) in [
        ("bytes=0-", 0..3_000, "bytes 0-2999/3000"),
        ("bytes=10-19", 10..20, "bytes 10-19/3000"),
        ("bytes=-7", 2_993..3_000, "bytes 2993-2999/3000"),
        ("bytes=2990-9999", 2_990..3_000, "bytes 2990-2999/3000"),
    ] {
        let (status, content_range, length, body) = get(&[("range", range)]).await;
        assert_eq!((status, content_range.as_deref()), (206, Some(shown)), "{range}");
        assert_eq!(length, Some(part.len().to_string()));
        assert_eq!(body, bytes[part]);
        assert_eq!(get(&[("range", range), ("if-range", &etag)]).await.0, 206);
        assert_eq!(get(&[("range", range), ("if-range", "\"other\"")]).await.3, bytes);
    }
    let (status, content_range, _, body) = get(&[("range", "bytes=3000-")]).await;
    assert_eq!((status, content_range.as_deref(), body.len()), (416, Some("bytes */3000"), 0));
    assert_eq!(get(&[("if-none-match", &etag)]).await.0, 304);

    let head = cloud.request(Method::HEAD, &url).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "3000"));
    assert_eq!(head.headers()["accept-ranges"], "bytes");
    let saved = cloud.request(Method::GET, &format!("{url}?download=1")).send().await.unwrap();
    let name = "attachment; filename=\"door_2026-11-22T13-05-00.001Z_c1.mp4\"";
    assert_eq!(saved.headers()["content-disposition"], name);
}

#[tokio::test]
async fn a_link_that_is_forged_or_has_ended_is_told_apart_from_nothing() {
    let mut cloud = Cloud::start().await;
    cloud.media.link_seconds = 1;
    cloud.restart().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    device.clip(&cloud, "c1", &file(3_000)).await;
    let url = link(&cloud, &owner, "c1").await;
    let open = async |url: &str| Answer::of(cloud.request(Method::GET, url)).await;
    let last = if url.ends_with('A') { "B" } else { "A" };
    let forged = open(&format!("{}{last}", &url[..url.len() - 1])).await;
    forged.assert_problem(404, None);
    for other in ["/media/x", "/media/..%2F..%2Fcloud.db", &format!("{url}A"), &url[..url.len() - 1]] {
        assert_eq!(open(other).await.body, forged.body, "{other}");
    }
    while open(&url).await.status == StatusCode::OK {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(open(&url).await.body, forged.body);
    assert_eq!(open(&link(&cloud, &owner, "c1").await).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_file_whose_folder_fails_can_be_had_later_and_one_that_is_gone_can_not() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    device.clip(&cloud, "c1", &file(3_000)).await;
    let url = link(&cloud, &owner, "c1").await;
    let open = async || Answer::of(cloud.request(Method::GET, &url)).await;
    let (folder, aside) = (cloud.config().clip_upload_dir, cloud.dir.path().join("aside"));
    std::fs::rename(&folder, &aside).unwrap();
    // Nothing can be read below what is no folder, not even that a file is not there.
    std::fs::write(&folder, b"").unwrap();
    let failed = open().await;
    failed.assert_problem(503, None);
    assert_eq!(failed.headers["retry-after"], "10");
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    assert_eq!(open().await.status, StatusCode::OK);
    std::fs::remove_dir_all(&folder).unwrap();
    open().await.assert_problem(404, None);
}

#[tokio::test]
async fn a_tenant_sees_and_touches_no_file_of_another() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let (device, theirs) = (Device::enrolled(&cloud, &owner).await, Device::enrolled(&cloud, &rival).await);
    device.clip(&cloud, "c1", &file(3_000)).await;
    let foreign = cloud.get_as(&rival, "/api/clips/c1").await;
    foreign.assert_problem(404, None);
    assert_eq!(foreign.body, cloud.get_as(&rival, "/api/clips/none").await.body);
    assert_eq!(cloud.get_as(&rival, "/api/clips").await.body["items"], json!([]));
    assert_eq!(cloud.get_as(&rival, "/api/snapshots").await.body["items"], json!([]));
    // The same id is theirs to use, for a file of their own.
    theirs.send(&cloud, "c1", 0, b"x").await.assert_problem(404, None);
    let other = file(10);
    theirs.clip(&cloud, "c1", &other).await;
    assert_eq!(link(&cloud, &owner, "c1").await.len(), link(&cloud, &rival, "c1").await.len());
    let ours = cloud.request(Method::GET, &link(&cloud, &owner, "c1").await).send().await.unwrap();
    assert_eq!(ours.bytes().await.unwrap(), file(3_000));
    // Nor is a person an edge, nor an edge a person.
    let as_person = cloud.request(Method::POST, "/api/edge/media").bearer_auth(&owner.token);
    Answer::of(as_person.json(&offer("c2", &other))).await.assert_problem(401, None);
    Answer::of(cloud.request(Method::GET, "/api/clips").bearer_auth(device.token())).await.assert_problem(401, None);
    Answer::of(cloud.request(Method::GET, "/api/clips")).await.assert_problem(401, None);
}

#[tokio::test]
async fn an_offer_or_piece_that_is_not_acceptable_is_refused_by_its_field() {
    let mut cloud = Cloud::start().await;
    cloud.media.max_file_mib = 1;
    cloud.media.tenant_gib = 1;
    cloud.restart().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let bytes = file(3_000);
    let good = offer("c1", &bytes);
    let large = MediaOffer { size_bytes: 2 << 20, ..good.clone() };
    device.offer(&cloud, &large).await.assert_problem(413, Some("size_bytes"));
    device.offer(&cloud, &MediaOffer { size_bytes: 0, ..good.clone() }).await.assert_problem(400, Some("size_bytes"));
    let script = MediaOffer { content_type: MediaType::Jpeg, ..good.clone() };
    device.offer(&cloud, &script).await.assert_problem(400, Some("content_type"));
    let mut outside = serde_json::to_value(&good).unwrap();
    outside["media_id"] = "../../x".into();
    let request = cloud.request(Method::POST, "/api/edge/media").bearer_auth(device.token()).json(&outside);
    Answer::of(request).await.assert_problem(400, None);
    device.send(&cloud, "c1", 0, &bytes).await.assert_problem(404, None);

    device.offer(&cloud, &good).await.assert_ok();
    let other = MediaOffer { size_bytes: 2_999, ..good.clone() };
    device.offer(&cloud, &other).await.assert_problem(409, Some("media_id"));
    device.send(&cloud, "c1", 2_000, &bytes[..1_001]).await.assert_problem(400, Some("offset"));
    device.send(&cloud, "..%2Fc1", 0, &bytes).await.assert_problem(400, Some("media_id"));
    let mut wrong = bytes.clone();
    wrong[7] ^= 1;
    device.send(&cloud, "c1", 0, &wrong).await.assert_problem(422, Some("sha256"));
    assert_eq!(device.send(&cloud, "c1", 0, &bytes).await.body["stored"], true);
    cloud.sql("update media_totals set bytes = 1024 * 1024 * 1024 - 10");
    device.offer(&cloud, &offer("c2", &bytes)).await.assert_problem(507, None);
    device.offer(&cloud, &good).await.assert_ok();
}
