//! A tenant that takes everything with it, and one that goes for good.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use aivms_cloud::config::Config;
use aivms_contract::clip::Clip;
use aivms_contract::envelope::Body;
use aivms_contract::media::{MediaKind, MediaOffer, MediaType, Sha256Hex};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cloud::{Answer, Cloud, Owner, PASSWORD, SOON};
use crate::device::{Device, at};

const CAMERA_PASSWORD: &str = "camera-pa55word-of-the-door";

/// Announces a clip and sends its file.
async fn send_clip(cloud: &Cloud, device: &Device, seq: u64, id: &str, bytes: &[u8]) {
    let clip = Clip {
        clip_id: id.parse().unwrap(),
        camera_id: "door".parse().unwrap(),
        start: at(1),
        duration_ms: 20_000,
        size_bytes: bytes.len() as u64,
        event_id: None,
        command_id: None,
        missing_ms: 0,
        missing: Vec::new(),
        event_offset_ms: None,
        codecs: None,
        sha256: None,
        masked: false,
    };
    device.deliver(cloud, &[device.envelope(seq, Body::Clips(clip))]).await.assert_ok();
    let offer = MediaOffer {
        kind: MediaKind::Clip,
        media_id: id.parse().unwrap(),
        camera_id: "door".parse().unwrap(),
        size_bytes: bytes.len() as u64,
        sha256: Sha256Hex::from_bytes(Sha256::digest(bytes).into()),
        content_type: MediaType::Mp4,
        captured_at: at(1),
        event_id: None,
    };
    let request = cloud.request(Method::POST, "/api/edge/media").bearer_auth(device.token());
    Answer::of(request.json(&offer)).await.assert_ok();
    let request = cloud.request(Method::PATCH, &format!("/api/edge/media/clip/{id}?offset=0"));
    let request = request.bearer_auth(device.token()).header("content-type", "application/octet-stream");
    assert_eq!(Answer::of(request.body(bytes.to_vec())).await.body["stored"], true);
}

/// A tenant with something of most nouns; returns the secrets that were put in or given out.
async fn furnish(cloud: &Cloud, owner: &Owner, device: &Device) -> Vec<String> {
    let mut secrets = vec![PASSWORD.to_owned(), CAMERA_PASSWORD.to_owned(), owner.token.clone(), device.token()];
    let batch: Vec<_> = (1..=700).map(|seq| device.detection(seq)).collect();
    for part in batch.chunks(400) {
        device.deliver(cloud, part).await.assert_ok();
    }
    send_clip(cloud, device, 701, "c1", &[7; 3_000]).await;
    let camera = json!({ "id": "door", "url": format!("rtsp://admin:{CAMERA_PASSWORD}@10.0.0.2/1"), "username": "root",
        "password": CAMERA_PASSWORD, "zones": [] });
    let path = format!("/api/tenant/edges/{}/desired", device.edge_id);
    cloud.send_as(owner, Method::PUT, &path, json!({ "version": 0, "cameras": [camera] })).await.assert_ok();
    for (path, body, members) in [
        ("/api/tenant/edges", json!({ "name": "Second" }), vec!["edge_secret"]),
        ("/api/tenant/operators", json!({ "name": "laptop" }), vec!["private_key_pem"]),
        ("/api/tenant/api-keys", json!({ "name": "report", "role": "viewer", "days": 9 }), vec!["key"]),
        (
            "/api/notifications/channels",
            json!({ "name": "Guard", "kind": "webhook", "url": "https://hooks.example.com/x?token=let-me-in-9" }),
            vec!["secret"],
        ),
        ("/api/tenant/invitations", json!({ "email": "new@example.com", "role": "viewer" }), vec![]),
        ("/api/auth/second-factor", json!({ "password": PASSWORD }), vec!["secret"]),
    ] {
        let made = cloud.post_as(owner, path, body).await;
        assert!(made.status.is_success(), "{path}: {made:?}");
        for member in members {
            let secret = made.text(member);
            secrets.push(secret.lines().find(|line| !line.starts_with("-----")).unwrap().to_owned());
        }
    }
    secrets.push("let-me-in-9".into());
    secrets.extend(kept_secrets(cloud));
    secrets
}

/// What the database keeps of secrets, in the forms in which it could be written somewhere.
fn kept_secrets(cloud: &Cloud) -> Vec<String> {
    let connection = rusqlite::Connection::open(cloud.database()).unwrap();
    let mut found = Vec::new();
    for (table, column) in [
        ("users", "password_hash"),
        ("second_factors", "secret"),
        ("refresh_tokens", "token_hash"),
        ("api_keys", "key_hash"),
        ("invitations", "token_hash"),
        ("edges", "secret_hash"),
        ("channels", "secret"),
    ] {
        let mut rows = connection.prepare(&format!("select {column} from {table} where {column} is not null")).unwrap();
        let mut rows = rows.query([]).unwrap();
        let before = found.len();
        while let Some(row) = rows.next().unwrap() {
            match row.get_ref(0).unwrap() {
                rusqlite::types::ValueRef::Blob(bytes) => found.push(hex::encode(bytes)),
                value => found.push(value.as_str().unwrap().to_owned()),
            }
        }
        assert!(found.len() > before, "{table}.{column} holds no secret to look for");
    }
    found
}

/// Asks for an export and waits until it is written.
async fn exported(cloud: &Cloud, owner: &Owner, include_media: bool) -> Answer {
    let asked = cloud.post_as(owner, "/api/tenant/exports", json!({ "include_media": include_media })).await;
    assert_eq!((asked.status.as_u16(), &asked.body["state"]), (201, &json!("waiting")), "{asked:?}");
    finished(cloud, owner, &asked.text("export_id")).await
}

async fn finished(cloud: &Cloud, owner: &Owner, export_id: &str) -> Answer {
    let path = format!("/api/tenant/exports/{export_id}");
    let done = async {
        loop {
            let export = cloud.get_as(owner, &path).await;
            match export.body["state"].as_str().unwrap() {
                "finished" => return export,
                "failed" | "expired" => panic!("{export:?}"),
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    tokio::time::timeout(2 * SOON, done).await.expect("an export in time")
}

/// The files of an archive.
fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let files = archive.entries().unwrap().map(|entry| {
        let (mut entry, mut content) = (entry.unwrap(), Vec::new());
        let path = entry.path().unwrap().display().to_string();
        entry.read_to_end(&mut content).unwrap();
        (path, content)
    });
    files.collect()
}

/// Lines of a noun.
fn lines(files: &BTreeMap<String, Vec<u8>>, noun: &str) -> Vec<Value> {
    let parts = files.iter().filter(|(path, _)| path.rsplit_once('/').is_some_and(|(folder, _)| folder == noun));
    parts
        .flat_map(|(_, part)| {
            std::str::from_utf8(part).unwrap().lines().map(|line| serde_json::from_str(line).unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_holds_everything_of_its_tenant_checked_by_its_sums_and_no_secret() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    let device = Device::enrolled(&cloud, &owner).await;
    let theirs = Device::enrolled(&cloud, &rival).await;
    theirs.deliver(&cloud, &[theirs.detection(1)]).await.assert_ok();
    let secrets = furnish(&cloud, &owner, &device).await;
    let export = exported(&cloud, &owner, true).await;
    let archive = cloud.request(Method::GET, &export.text("url")).send().await.unwrap();
    assert_eq!(archive.headers()["content-type"], "application/x-tar");
    let archive = archive.bytes().await.unwrap();
    assert_eq!(export.body["size_bytes"], archive.len());
    assert_eq!(export.text("sha256"), hex::encode(Sha256::digest(&archive)));
    for secret in &secrets {
        let found = archive.windows(secret.len()).position(|window| window == secret.as_bytes());
        assert_eq!(found, None, "a secret is in the archive: {secret}");
    }
    let files = unpacked(&archive);
    check_sums(&files);
    assert_eq!(lines(&files, "events").len(), 701);
    assert_eq!(lines(&files, "desired_documents")[0]["document"]["cameras"][0]["password"], "***");
    for (noun, count) in [("tenant", 1), ("people", 1), ("edges", 2), ("channels", 1), ("invitations", 1)] {
        assert_eq!(lines(&files, noun).len(), count, "{noun}");
    }
    assert_eq!(files[&format!("media/{}/c1.mp4", device.edge_id)], [7; 3_000]);
    let told = &lines(&files, "media/manifest")[0];
    assert_eq!((&told["intact"], &told["sha256"]), (&json!(true), &json!(hex::encode(Sha256::digest([7; 3_000])))));
    check_chain(&lines(&files, "audit"));
    let everything = files.values().map(|file| String::from_utf8_lossy(file)).collect::<String>();
    assert!(!everything.contains(theirs.edge_id.as_str()), "something of another tenant is in it");
    let log = cloud.get_as(&owner, "/api/audit?limit=50").await;
    let told: Vec<_> = log.body["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str()).collect();
    for action in ["tenant.export_requested", "tenant.export_finished", "tenant.export_downloaded"] {
        assert!(told.contains(&Some(action)), "{action} in {told:?}");
    }
}

/// What `manifest.json` says of each part is so, and no other part is there.
fn check_sums(files: &BTreeMap<String, Vec<u8>>) {
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!((&manifest["form"], &manifest["tenant_id"]), (&json!("aivms-tenant-export-1"), &json!("acme")));
    let nouns = manifest["nouns"].as_array().unwrap();
    let parts: Vec<_> = nouns.iter().flat_map(|noun| noun["parts"].as_array().unwrap()).collect();
    for part in &parts {
        let content = &files[part["path"].as_str().unwrap()];
        assert_eq!(part["sha256"], hex::encode(Sha256::digest(content)), "{part}");
        assert_eq!(part["lines"], content.iter().filter(|byte| **byte == b'\n').count(), "{part}");
    }
    assert_eq!(parts.len(), files.keys().filter(|path| path.ends_with(".jsonl")).count());
}

/// The chain of the exported log is whole, by the form that the archive itself describes.
fn check_chain(entries: &[Value]) {
    assert!(entries.len() > 5, "{entries:?}");
    let mut previous = "0".repeat(64);
    for entry in entries {
        let text = json!([
            "aivms-audit-1",
            entry["seq"],
            entry["tenant"],
            entry["at_ms"],
            entry["actor_kind"],
            entry["actor_id"],
            entry["actor_name"],
            entry["address"],
            entry["action"],
            entry["subject"],
            entry["detail"],
            previous
        ]);
        assert_eq!(entry["previous"], previous, "{entry}");
        previous = hex::encode(Sha256::digest(text.to_string()));
        assert_eq!(entry["hash"], previous, "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_read_in_ranges_by_its_link_alone_and_goes_when_it_is_deleted() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    send_clip(&cloud, &device, 1, "c1", &[7; 30_000]).await;
    let export = exported(&cloud, &owner, false).await;
    assert_eq!(export.body["files_of"], 0);
    let url = export.text("url");
    let whole = cloud.request(Method::GET, &url).send().await.unwrap().bytes().await.unwrap();
    assert!(whole.len() < 30_000, "the file is left out: {}", whole.len());
    assert_eq!(lines(&unpacked(&whole), "media/manifest")[0]["included"], false);
    let part = cloud.request(Method::GET, &url).header("range", "bytes=512-1535").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.bytes().await.unwrap()), (206, whole.slice(512..1_536)));
    let token = url.strip_prefix("/exports/").unwrap();
    for other in [format!("/media/{token}"), format!("{url}A"), "/exports/x".to_owned()] {
        Answer::of(cloud.request(Method::GET, &other)).await.assert_problem(404, None);
    }
    // A try that a dead process left is begun again, wherever it was.
    cloud.sql("update tenant_exports set state = 'running', lease = 'dead', leased_until = 1, sha256 = null");
    let again = finished(&cloud, &owner, &export.text("export_id")).await;
    assert_ne!(again.body["sha256"], json!(null));
    let folder = cloud.dir.path().join("clips/acme/exports");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "what the dead one left is gone");

    let path = format!("/api/tenant/exports/{}", export.text("export_id"));
    let deleted = cloud.send_as(&owner, Method::DELETE, &path, json!({})).await;
    assert_eq!(deleted.status, 204);
    Answer::of(cloud.request(Method::GET, &again.text("url"))).await.assert_problem(404, None);
    until(|| std::fs::read_dir(&folder).unwrap().count() == 0).await;
    let listed = cloud.get_as(&owner, "/api/tenant/exports").await;
    assert_eq!((&listed.body["items"][0]["state"], &listed.body["items"][0]["url"]), (&json!("expired"), &Value::Null));
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(2 * SOON, wait).await.expect("in time");
}

fn number(cloud: &Cloud, sql: &str) -> i64 {
    let connection = rusqlite::Connection::open(cloud.database()).unwrap();
    connection.busy_timeout(SOON).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn files_below(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

async fn ask(cloud: &Cloud, owner: &Owner, password: &str, name: &str) -> Answer {
    let body = json!({ "current_password": password, "tenant_name": name });
    cloud.post_as(owner, "/api/tenant/deletion", body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_needs_password_and_name_and_can_be_called_off_while_it_waits() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    ask(&cloud, &owner, "a wrong password", "acme").await.assert_problem(422, Some("current_password"));
    ask(&cloud, &owner, PASSWORD, "acm").await.assert_problem(422, Some("tenant_name"));
    let show = async || cloud.get_as(&owner, "/api/tenant/deletion").await.body;
    assert_eq!(show().await["is_asked_for"], false);
    let asked = ask(&cloud, &owner, PASSWORD, "acme").await;
    assert_eq!((asked.status.as_u16(), &asked.body["asked_by"]), (202, &json!("owner@acme.example")), "{asked:?}");
    assert_eq!(show().await, asked.body);
    let cancelled = cloud.send_as(&owner, Method::DELETE, "/api/tenant/deletion", json!({})).await;
    assert_eq!(cancelled.status, 204);
    assert_eq!(show().await["is_asked_for"], false);
    assert_eq!(number(&cloud, "select count(*) from outgoing_mail where recipient = 'owner@acme.example'"), 2);
    let log = cloud.get_as(&owner, "/api/audit").await;
    let told: Vec<_> = log.body["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str()).collect();
    assert_eq!(told[..2], [Some("tenant.deletion_cancelled"), Some("tenant.deletion_requested")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_tenant_is_out_at_once_and_leaves_no_row_and_no_file_and_another_one_loses_nothing() {
    let cloud = Cloud::with(|config: &mut Config| config.tenants.deletion_wait_days = 0).await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("acme-two").await);
    let device = Device::enrolled(&cloud, &owner).await;
    let theirs = Device::enrolled(&cloud, &rival).await;
    furnish(&cloud, &owner, &device).await;
    exported(&cloud, &owner, true).await;
    theirs.deliver(&cloud, &[theirs.detection(1)]).await.assert_ok();
    send_clip(&cloud, &theirs, 2, "c2", &[9; 2_000]).await;
    let clips = cloud.dir.path().join("clips");
    // What a crash may have left, and what an upload is under way with.
    std::fs::write(clips.join("acme/exports/left-behind.tar#1"), b"x").unwrap();
    assert_eq!((files_below(&clips.join("acme")), files_below(&clips.join("acme-two"))), (3, 1));

    ask(&cloud, &owner, PASSWORD, "acme").await.assert_ok();
    until(|| number(&cloud, "select count(*) from tenants where emptied_at is not null") == 1).await;
    cloud.get_as(&owner, "/api/auth/me").await.assert_problem(401, None);
    let late = device.deliver(&cloud, &[device.detection(900)]).await;
    assert_eq!(late.status, 401, "{late:?}");
    let login = json!({ "email": "owner@acme.example", "password": PASSWORD });
    cloud.post("/api/auth/login", login).await.assert_problem(401, None);
    assert_eq!((files_below(&clips.join("acme")), files_below(&clips.join("acme-two"))), (0, 1));
    assert_eq!(number(&cloud, "select count(*) from users"), 1);
    for table in tables_with_tenant(&cloud) {
        let left = number(&cloud, &format!("select count(*) from {table} where tenant = 1"));
        assert_eq!(left, 0, "{table} keeps rows");
    }
    assert_eq!(number(&cloud, "select count(*) from outgoing_mail where recipient like '%acme.example'"), 0);
    assert_eq!(cloud.get_as(&rival, "/api/events/detections").await.body["items"].as_array().unwrap().len(), 1);
    let clip = cloud.get_as(&rival, "/api/clips/c2").await;
    let seen = cloud.request(Method::GET, &clip.text("url")).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(seen, vec![9; 2_000]);

    // After the last look the name is free, and the number of the row is never used again.
    cloud.sql("update tenants set emptied_at = 1 where id = 1");
    until(|| number(&cloud, "select count(*) from tenants where tenant_id = '#1'") == 1).await;
    cloud.register("acme").await;
    assert_eq!(number(&cloud, "select id from tenants where tenant_id = 'acme'"), 3);
    assert_eq!(number(&cloud, "select count(*) from tenants where id = 1 and name = ''"), 1);
}

fn tables_with_tenant(cloud: &Cloud) -> Vec<String> {
    let connection = rusqlite::Connection::open(cloud.database()).unwrap();
    let sql = "select m.name from sqlite_master m join pragma_table_info(m.name) c where m.type = 'table' and
        c.name = 'tenant'";
    let mut tables = connection.prepare(sql).unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(tables.len() > 30);
    tables
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clip_is_locked_with_a_reason_once_its_file_is_here_and_lists_tell_so() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let (path, lock) = ("/api/clips/c1/lock", json!({ "reason": " Case 4711 " }));
    cloud.send_as(&owner, Method::PUT, path, lock.clone()).await.assert_problem(404, None);
    send_clip(&cloud, &device, 1, "c1", &[7; 3_000]).await;
    let empty = cloud.send_as(&owner, Method::PUT, path, json!({ "reason": " " })).await;
    empty.assert_problem(422, Some("reason"));
    let locked = cloud.send_as(&owner, Method::PUT, path, lock).await;
    assert_eq!(locked.body["reason"], "Case 4711", "{locked:?}");
    assert_eq!(locked.body["locked_by"], "owner@acme.example");
    let listed = cloud.get_as(&owner, "/api/clips").await;
    assert_eq!(listed.body["items"][0]["lock"], locked.body);
    for _ in 0..2 {
        assert_eq!(cloud.send_as(&owner, Method::DELETE, path, json!({})).await.status, 204);
    }
    assert_eq!(cloud.get_as(&owner, "/api/clips/c1").await.body["lock"], Value::Null);
    let told = cloud.get_as(&owner, "/api/audit?action=clip.locked").await;
    assert_eq!(told.body["items"][0]["detail"]["reason"], "Case 4711", "{told:?}");
}
