//! What needs a look inside: crashes between two steps, a disk without room, parallel senders.

use std::path::Path;

use aivms_contract::id::EdgeId;
use aivms_contract::media::{MediaKind, MediaOffer, MediaProgress, MediaType, Sha256Hex};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::store::{NewTenant, Store};

mod bucket;

struct Bench {
    dir: TempDir,
    store: SharedStore,
    sender: Sender,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_sqlite(&dir.path().join("cloud.db")).unwrap();
        let tenant = NewTenant {
            tenant_id: "acme".parse().unwrap(),
            tenant_name: "Acme".into(),
            email: "a@example.com".into(),
            name: "A".into(),
            password_hash: String::new(),
        };
        let owner = store.register_tenant(tenant, clock::now()).await.unwrap();
        let edge_id = EdgeId::from_random(1);
        let edge = store.create_edge(owner.tenant, &edge_id, "Gate", [1; 32], clock::now()).await.unwrap();
        let sender = Sender { tenant: owner.tenant, tenant_id: owner.tenant_id, edge: edge.key, edge_id };
        Self { dir, store: Arc::new(store), sender }
    }

    fn files(&self) -> MediaFiles {
        self.files_with(|_| ())
    }

    fn files_with(&self, change: impl FnOnce(&mut MediaSettings)) -> MediaFiles {
        MediaFiles::open(self.settings(change), Arc::clone(&self.store)).unwrap()
    }

    fn settings(&self, change: impl FnOnce(&mut MediaSettings)) -> MediaSettings {
        let mut settings = MediaSettings {
            folder: self.dir.path().join("clips"),
            bucket: None,
            staging: self.dir.path().join("uploads"),
            max_file_bytes: 100 << 20,
            quota_bytes: u64::MAX,
            min_free_bytes: 0,
            unfinished_for: Duration::from_secs(3600),
        };
        change(&mut settings);
        settings
    }

    async fn send(&self, files: &MediaFiles, id: &str, offset: u64, piece: &[u8]) -> Result<MediaProgress, MediaError> {
        let piece = Bytes::copy_from_slice(piece);
        files.piece(&self.sender, MediaKind::Clip, &id.parse().unwrap(), offset, piece).await
    }

    async fn row(&self, id: &str) -> Option<Media> {
        self.store.offered_media(self.sender.edge, MediaKind::Clip, &id.parse().unwrap()).await.unwrap()
    }

    fn stored(&self, media: &Media) -> Option<Vec<u8>> {
        std::fs::read(self.dir.path().join("clips").join(&media.object)).ok()
    }

    fn parts(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("uploads")).unwrap().count()
    }
}

fn offer(id: &str, bytes: &[u8]) -> MediaOffer {
    MediaOffer {
        kind: MediaKind::Clip,
        media_id: id.parse().unwrap(),
        camera_id: "door".parse().unwrap(),
        size_bytes: bytes.len() as u64,
        sha256: Sha256Hex::from_bytes(Sha256::digest(bytes).into()),
        content_type: MediaType::Mp4,
        captured_at: "2026-11-22T13:05:00.250Z".parse().unwrap(),
        event_id: None,
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(bytes as u64);
    (0..bytes).map(|_| random.u8(..)).collect()
}

#[tokio::test]
async fn a_file_sent_in_any_pieces_over_any_restarts_arrives_whole_and_once() {
    let bench = Bench::new().await;
    for round in 0..20 {
        let (id, bytes) = (format!("clip-{round}"), noise(fastrand::usize(1..40_000)));
        let mut files = bench.files();
        let mut progress = files.offer(&bench.sender, offer(&id, &bytes)).await.unwrap();
        let mut sent = 0;
        while !progress.stored {
            if fastrand::u8(..4) == 0 {
                files = bench.files();
                progress = files.offer(&bench.sender, offer(&id, &bytes)).await.unwrap();
                continue;
            }
            // Often right, sometimes too early or known already.
            let from = if fastrand::bool() { progress.offset as usize } else { fastrand::usize(..bytes.len()) };
            let to = fastrand::usize(from + 1..=bytes.len().min(from + 16_000));
            progress = bench.send(&files, &id, from as u64, &bytes[from..to]).await.unwrap();
            sent += 1;
            assert!(sent < 1_000, "it goes on");
        }
        let row = bench.row(&id).await.unwrap();
        assert_eq!(row.object, format!("acme/{}/2026-11-22/{id}.mp4", bench.sender.edge_id));
        assert_eq!(bench.stored(&row).as_deref(), Some(&*bytes), "round {round}");
        // What comes late changes nothing.
        let late = bench.send(&files, &id, 0, &bytes[..1]).await.unwrap();
        assert_eq!(late, MediaProgress { offset: bytes.len() as u64, stored: true });
    }
    assert_eq!(bench.parts(), 0);
}

#[tokio::test]
async fn parallel_senders_of_one_file_do_no_harm() {
    let bench = Bench::new().await;
    let (files, bytes) = (bench.files(), noise(300_000));
    files.offer(&bench.sender, offer("clip", &bytes)).await.unwrap();
    let send_all = async || {
        let mut offset = 0;
        loop {
            let end = (offset + 7_000).min(bytes.len());
            let progress = bench.send(&files, "clip", offset as u64, &bytes[offset..end]).await.unwrap();
            if progress.stored {
                return;
            }
            offset = progress.offset as usize;
        }
    };
    tokio::join!(send_all(), send_all(), send_all());
    let row = bench.row("clip").await.unwrap();
    assert_eq!(bench.stored(&row).as_deref(), Some(&*bytes));
}

#[tokio::test]
async fn what_arrived_wrong_is_forgotten_and_can_be_sent_again() {
    let bench = Bench::new().await;
    let (files, bytes) = (bench.files(), noise(5_000));
    files.offer(&bench.sender, offer("clip", &bytes)).await.unwrap();
    let mut wrong = bytes.clone();
    wrong[4_000] ^= 1;
    let refused = bench.send(&files, "clip", 0, &wrong).await;
    assert!(matches!(refused, Err(MediaError::Damaged)), "{refused:?}");
    let again = files.offer(&bench.sender, offer("clip", &bytes)).await.unwrap();
    assert_eq!(again, MediaProgress { offset: 0, stored: false });
    assert!(bench.send(&files, "clip", 0, &bytes).await.unwrap().stored);
}

#[tokio::test]
async fn a_crash_between_putting_a_file_and_saying_so_is_mended_by_the_edge_or_by_the_janitor() {
    let bench = Bench::new().await;
    let (files, bytes) = (bench.files(), noise(5_000));
    for id in ["again", "gone", "torn"] {
        files.offer(&bench.sender, offer(id, &bytes)).await.unwrap();
        let row = bench.row(id).await.unwrap();
        let length = if id == "torn" { 4_999 } else { 5_000 };
        std::fs::write(files.inner.staging.path(row.key), &bytes[..length]).unwrap();
        if id != "torn" {
            files.inner.objects.put(&row.object, &files.inner.staging.path(row.key)).await.unwrap();
        }
    }
    let restarted = bench.files();
    assert!(restarted.offer(&bench.sender, offer("again", &bytes)).await.unwrap().stored);
    Janitor::new(restarted.clone()).round().await.unwrap();
    for id in ["again", "gone"] {
        let row = bench.row(id).await.unwrap();
        assert!(row.stored_at.is_some(), "{id}");
        assert_eq!(bench.stored(&row).as_deref(), Some(&*bytes), "{id}");
    }
    let torn = restarted.offer(&bench.sender, offer("torn", &bytes)).await.unwrap();
    assert_eq!(torn, MediaProgress { offset: 4_999, stored: false });
    assert_eq!(bench.parts(), 1);
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_is_given_up_with_all_it_left() {
    let bench = Bench::new().await;
    let files = bench.files_with(|settings| settings.unfinished_for = Duration::ZERO);
    let bytes = noise(5_000);
    files.offer(&bench.sender, offer("clip", &bytes)).await.unwrap();
    bench.send(&files, "clip", 0, &bytes[..100]).await.unwrap();
    std::fs::write(bench.dir.path().join("uploads/77.part"), b"of no row").unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    Janitor::new(files.clone()).round().await.unwrap();
    assert_eq!((bench.row("clip").await, bench.parts()), (None, 0));
    let unknown = bench.send(&files, "clip", 100, &bytes[100..]).await;
    assert!(matches!(unknown, Err(MediaError::Store(StoreError::NotFound))), "{unknown:?}");
}

#[tokio::test]
async fn a_disk_with_little_room_takes_no_piece_and_keeps_what_is_there() {
    let bench = Bench::new().await;
    let bytes = noise(5_000);
    let roomy = bench.files();
    roomy.offer(&bench.sender, offer("clip", &bytes)).await.unwrap();
    bench.send(&roomy, "clip", 0, &bytes[..100]).await.unwrap();
    let full = bench.files_with(|settings| settings.min_free_bytes = u64::MAX / 2);
    let refused = bench.send(&full, "clip", 100, &bytes[100..]).await;
    assert!(matches!(refused, Err(MediaError::NoRoom)), "{refused:?}");
    assert_eq!(roomy.offer(&bench.sender, offer("clip", &bytes)).await.unwrap().offset, 100);
    assert!(bench.send(&roomy, "clip", 100, &bytes[100..]).await.unwrap().stored);
}

#[tokio::test]
async fn a_whole_file_is_not_copied_to_a_disk_with_little_room_and_is_stored_when_there_is_some() {
    let bench = Bench::new().await;
    let (roomy, bytes) = (bench.files(), noise(5_000));
    roomy.offer(&bench.sender, offer("clip", &bytes)).await.unwrap();
    let row = bench.row("clip").await.unwrap();
    std::fs::write(roomy.inner.staging.path(row.key), &bytes).unwrap();
    let full = bench.files_with(|settings| settings.min_free_bytes = u64::MAX / 2);
    let refused = full.offer(&bench.sender, offer("clip", &bytes)).await;
    assert!(matches!(refused, Err(MediaError::NoRoom)), "{refused:?}");
    assert_eq!((bench.stored(&row), bench.parts()), (None, 1));
    assert!(roomy.offer(&bench.sender, offer("clip", &bytes)).await.unwrap().stored);
}

#[tokio::test]
async fn a_file_that_can_not_be_deleted_is_tried_again_behind_the_others() {
    let bench = Bench::new().await;
    let (files, bytes) = (bench.files_with(|settings| settings.unfinished_for = Duration::ZERO), noise(5_000));
    files.offer(&bench.sender, offer("clip", &bytes)).await.unwrap();
    assert!(bench.send(&files, "clip", 0, &bytes).await.unwrap().stored);
    // A folder is no file that can be deleted.
    let row = bench.row("clip").await.unwrap();
    let place = bench.dir.path().join("clips").join(&row.object);
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir_all(place.join("locked")).unwrap();
    assert!(matches!(files.delete(&row).await, Err(MediaError::Objects(_))));
    tokio::time::sleep(Duration::from_millis(5)).await;
    let until = clock::now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    Janitor::new(files).round().await.unwrap();
    assert!(bench.row("clip").await.is_some());
    assert_eq!(bench.store.unfinished_media(until, 10).await.unwrap(), []);
}

#[tokio::test]
async fn one_more_file_than_are_stored_at_once_waits_for_its_turn() {
    let bench = Bench::new().await;
    let (files, bytes) = (bench.files(), noise(5_000));
    files.offer(&bench.sender, offer("clip", &bytes)).await.unwrap();
    let others = files.inner.storing.acquire_many(STORED_AT_ONCE as u32).await.unwrap();
    let mut sending = std::pin::pin!(bench.send(&files, "clip", 0, &bytes));
    assert!(tokio::time::timeout(Duration::from_millis(200), sending.as_mut()).await.is_err());
    assert_eq!(bench.row("clip").await.unwrap().stored_at, None);
    drop(others);
    assert!(sending.await.unwrap().stored);
}

#[tokio::test]
async fn a_file_of_many_parts_is_put_and_read_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::folder(&dir.path().join("clips")).unwrap();
    let (from, bytes) = (dir.path().join("file"), noise((17 << 20) + 5));
    std::fs::write(&from, &bytes).unwrap();
    objects.put("acme/large.mp4", &from).await.unwrap();
    for part in [0..bytes.len(), 0..1, (8 << 20) - 1..(8 << 20) + 1, bytes.len() - 1..bytes.len()] {
        let range = part.start as u64..part.end as u64;
        let mut stream = objects.read("acme/large.mp4", range).await.unwrap();
        let mut read = Vec::new();
        while let Some(some) = futures_util::StreamExt::next(&mut stream).await {
            read.extend_from_slice(&some.unwrap());
        }
        assert!(read == bytes[part.clone()], "{part:?}");
    }
    assert!(objects.put("acme/none.mp4", Path::new("/nowhere")).await.is_err());
}

#[test]
fn a_full_disk_is_known_behind_the_errors_of_the_place_too() {
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let hidden = object_store::Error::Generic { store: "x", source: Box::new(io::Error::other(full)) };
    assert!(!objects::is_full(&object_store::Error::Generic { store: "x", source: "other".into() }));
    let plain =
        object_store::Error::Generic { store: "x", source: Box::new(io::Error::from(io::ErrorKind::StorageFull)) };
    assert!(objects::is_full(&plain) && objects::is_full(&hidden));
}
