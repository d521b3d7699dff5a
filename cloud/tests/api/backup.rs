//! A backup taken from a busy cloud, and the way back.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aivms_cloud::backup::{backup, restore};
use reqwest::Method;

use crate::cloud::{Answer, Cloud, Owner};
use crate::device::Device;

/// Place in the outbox of every stored detection.
async fn stored(cloud: &Cloud, owner: &Owner) -> BTreeSet<String> {
    let (mut found, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = cloud.get_as(owner, &format!("/api/events/detections?limit=200{cursor}")).await;
        page.assert_ok();
        found.extend(page.body["items"].as_array().unwrap().iter().map(|item| item["id"].to_string()));
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

fn take(cloud: &Cloud, folder: &Path) {
    let (config, folder) = (cloud.config(), folder.to_owned());
    std::thread::spawn(move || backup(&config, &folder).unwrap()).join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_busy_cloud_has_every_event_acknowledged_before_it_and_starts() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let place = cloud.dir.path().join("backup");
    let deliver = async {
        let mut seq = 0;
        while !stop.load(Ordering::Relaxed) {
            let batch: Vec<_> = (seq + 1..=seq + 100).map(|seq| device.detection(seq)).collect();
            device.deliver(&cloud, &batch).await.assert_ok();
            seq += 100;
            acknowledged.store(seq, Ordering::SeqCst);
        }
        seq
    };
    let back_up = async {
        while acknowledged.load(Ordering::SeqCst) < 1_000 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let before = acknowledged.load(Ordering::SeqCst);
        tokio::task::block_in_place(|| take(&cloud, &place));
        while acknowledged.load(Ordering::SeqCst) < before + 300 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        stop.store(true, Ordering::Relaxed);
        before
    };
    let (sent, before) = tokio::join!(deliver, back_up);
    assert!(sent > before, "events were stored after the backup as well");

    let mut again = Cloud::start().await;
    again.stop().await;
    let config = again.config();
    std::fs::remove_file(&config.database_path).unwrap();
    std::fs::remove_dir_all(config.data_dir()).unwrap();
    restore(&config, &place).unwrap();
    again.restart().await;
    // The token and the edge's certificate are still good: keys and secrets came back, too.
    let restored = stored(&again, &owner).await;
    let wanted: BTreeSet<_> = (1..=before).map(|seq| format!("\"{}\"", device.detection(seq).id)).collect();
    assert!(restored.is_superset(&wanted), "{} of {before} are there", restored.intersection(&wanted).count());
    assert_eq!(restored.len() % 100, 0, "each delivery is there whole or not at all");
    device.deliver(&again, &[device.detection(sent + 1)]).await.assert_ok();
    assert_eq!(Answer::of(again.request(Method::GET, "/readyz")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_or_a_place_that_is_taken_is_refused_and_nothing_is_touched() {
    let mut cloud = Cloud::start().await;
    cloud.register("acme").await;
    let place = cloud.dir.path().join("backup");
    take(&cloud, &place);
    let refused = |config: &aivms_cloud::config::Config| format!("{:#}", restore(config, &place).unwrap_err());
    assert!(refused(&cloud.config()).contains("database_path"));
    let twice = backup(&cloud.config(), &place).unwrap_err();
    assert!(format!("{twice:#}").contains("not empty"), "{twice:#}");
    cloud.stop().await;

    let elsewhere = tempfile::tempdir().unwrap();
    let mut config = cloud.config();
    config.database_path = elsewhere.path().join("cloud.db");
    for name in ["cloud.db", "data/ca-key.pem", "data/jwt-secret"] {
        let path = place.join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert!(refused(&config).contains(name), "{name}");
        std::fs::remove_file(&path).unwrap();
        assert!(refused(&config).contains(name), "{name}");
        std::fs::write(&path, whole).unwrap();
    }
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing was put there");
    restore(&config, &place).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_another_database_never_changes_the_restored_one() {
    let mut cloud = Cloud::start().await;
    let place = cloud.dir.path().join("backup");
    take(&cloud, &place);
    cloud.stop().await;

    let elsewhere = tempfile::tempdir().unwrap();
    let mut config = cloud.config();
    config.database_path = elsewhere.path().join("cloud.db");
    for name in ["cloud.db-wal", "cloud.db-shm", "cloud.db-journal"] {
        let left = elsewhere.path().join(name);
        std::fs::write(&left, "of another one").unwrap();
        let error = format!("{:#}", restore(&config, &place).unwrap_err());
        assert!(error.contains(left.to_str().unwrap()) && error.contains("move it away"), "{error}");
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 1, "nothing was put there");
        std::fs::remove_file(&left).unwrap();
    }
    restore(&config, &place).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_read_a_backup_and_it_holds_every_secret_a_start_needs() {
    use std::os::unix::fs::PermissionsExt;
    let mut cloud = Cloud::start().await;
    let place = cloud.dir.path().join("backup");
    take(&cloud, &place);
    cloud.stop().await;
    let mode = |name: &str| std::fs::metadata(place.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["", "data"].map(mode), [0o700; 2]);
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(cloud.config().data_dir()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
    assert!(names.contains(&"ca-key.pem".to_owned()), "{names:?}");
    for name in names.iter().map(|name| format!("data/{name}")).chain(["cloud.db".into(), "manifest.json".into()]) {
        assert_eq!(mode(&name), 0o600, "{name}");
    }
}
