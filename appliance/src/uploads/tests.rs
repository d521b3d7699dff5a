//! The queue on a real disk.

use std::fs;

use tempfile::TempDir;

use super::*;

fn settings(max_bytes: u64) -> config::Uploads {
    config::Uploads { max_bytes, bytes_per_s: None, schedule: Vec::new() }
}

struct Queued {
    dir: TempDir,
    outgoing: Outgoing,
}

impl Queued {
    fn new(max_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let outgoing = Outgoing::open(dir.path().join("outgoing"), &settings(max_bytes)).unwrap();
        Self { dir, outgoing }
    }

    fn restart(&mut self) {
        self.outgoing = Outgoing::open(self.dir.path().join("outgoing"), &settings(1 << 30)).unwrap();
    }

    fn put(&self, id: &str, worth: Worth, bytes: &[u8]) -> Result<(), OutgoingError> {
        let file = self.dir.path().join("made");
        fs::write(&file, bytes).unwrap();
        self.outgoing.put(job(id, worth, bytes), &file)
    }

    fn waiting(&self) -> Vec<String> {
        self.outgoing.queue().jobs.values().map(|job| job.id.to_string()).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("outgoing").join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("outgoing")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn job(id: &str, worth: Worth, bytes: &[u8]) -> OutgoingJob {
    use sha2::{Digest as _, Sha256};
    OutgoingJob {
        kind: MediaKind::Clip,
        id: id.parse().unwrap(),
        camera: "gate".parse().unwrap(),
        worth,
        sha256: Sha256Hex::from_bytes(Sha256::digest(bytes).into()),
        bytes: bytes.len() as u64,
        captured_at: UtcMillis::from_millis(1_795_352_700_000),
        event_id: None,
        hidden: Hidden::default(),
    }
}

#[test]
fn what_was_put_waits_over_a_restart_in_its_order_and_what_was_discarded_is_gone() {
    let mut queued = Queued::new(1 << 30);
    for id in ["first", "second", "third"] {
        queued.put(id, Worth::Event, id.as_bytes()).unwrap();
    }
    queued.outgoing.delivered(FileKey(2));
    queued.restart();
    assert_eq!(queued.waiting(), ["first", "third"]);
    assert_eq!(fs::read(queued.file("clip-third.media")).unwrap(), b"third");
    queued.put("fourth", Worth::Event, b"fourth").unwrap();
    queued.restart();
    assert_eq!(queued.waiting(), ["first", "third", "fourth"]);
    assert_eq!(queued.outgoing.health().unwrap().files, 3);
    assert_eq!(queued.names().len(), 6);
}

#[test]
fn what_a_crash_left_of_a_put_or_a_deletion_goes_and_damage_is_told() {
    let mut queued = Queued::new(1 << 30);
    for id in ["sound", "short", "gone", "torn"] {
        queued.put(id, Worth::Event, b"0123456789").unwrap();
    }
    fs::write(queued.file("clip-short.media"), b"012").unwrap();
    fs::remove_file(queued.file("clip-gone.media")).unwrap();
    fs::write(queued.file("clip-torn.job"), b"{").unwrap();
    fs::write(queued.file("clip-orphan.media"), b"put, and no job").unwrap();
    fs::write(queued.outgoing.draft_path("half"), b"not put").unwrap();
    queued.restart();
    assert_eq!(queued.waiting(), ["sound"]);
    assert_eq!(queued.names(), ["clip-sound.job", "clip-sound.media"]);
    let notices = queued.outgoing.take_notices();
    assert_eq!(notices.len(), 3, "{notices:?}");
    assert!(notices.iter().all(|notice| notice.code == "upload_damaged"));
    assert!(notices.iter().any(|notice| notice.message.contains("clip-short")));
}

#[test]
fn the_same_file_put_again_waits_once_and_another_one_under_its_id_is_refused() {
    let queued = Queued::new(1 << 30);
    queued.put("clip", Worth::Event, b"bytes").unwrap();
    queued.put("clip", Worth::Event, b"bytes").unwrap();
    assert!(!queued.dir.path().join("made").exists());
    let other = queued.put("clip", Worth::Event, b"other");
    assert!(matches!(other, Err(OutgoingError::Taken { .. })), "{other:?}");
    assert!(queued.dir.path().join("made").exists(), "what is refused stays where it was");
    let wrong = queued.outgoing.put(job("wrong", Worth::Event, b"longer"), &queued.dir.path().join("made"));
    assert!(matches!(wrong, Err(OutgoingError::Size { actual: 5, expected: 6, .. })), "{wrong:?}");
    assert_eq!(queued.waiting(), ["clip"]);
}

#[test]
fn a_full_queue_gives_up_what_is_worth_least_with_a_notice_and_alerts_last() {
    let queued = Queued::new(30);
    queued.put("alert", Worth::Alert, &[1; 10]).unwrap();
    queued.put("old", Worth::Event, &[2; 10]).unwrap();
    queued.put("new", Worth::Event, &[3; 10]).unwrap();
    queued.put("asked", Worth::Requested, &[4; 10]).unwrap();
    assert_eq!(queued.waiting(), ["alert", "new", "asked"]);
    let notices = queued.outgoing.take_notices();
    assert!(
        matches!(&notices[..], [notice] if notice.message.contains("clip old") && notice.code == "upload_given_up")
    );
    queued.put("alert-2", Worth::Alert, &[5; 20]).unwrap();
    assert_eq!(queued.waiting(), ["alert", "alert-2"]);
    let refused = queued.put("asked-2", Worth::Requested, &[6; 10]);
    assert!(matches!(refused, Err(OutgoingError::Full { .. })), "{refused:?}");
    assert_eq!(queued.names().len(), 4);
}

/// What the camera's masks are from now on; unknown without.
fn mask(keeper: &crate::masks::GateKeeper, masks: Option<serde_json::Value>) {
    let cameras = masks.map(|masks| serde_json::json!({"id": "gate", "url": "file:///a", "privacy_masks": masks}));
    let cameras = serde_json::json!({"cameras": cameras.into_iter().collect::<Vec<_>>()});
    let cameras: aivms_contract::desired::CamerasFile = serde_json::from_value(cameras).unwrap();
    keeper.set(cameras.cameras.as_slice());
}

#[test]
fn what_waits_without_a_mask_never_leaves_once_its_camera_has_one_also_after_a_restart() {
    let mut queued = Queued::new(1 << 30);
    let (keeper, gate) = crate::masks::Gate::new();
    mask(&keeper, Some(serde_json::json!([])));
    for id in ["raw", "late"] {
        queued.put(id, Worth::Event, b"bytes").unwrap();
    }
    assert!(queued.outgoing.may_leave(FileKey(1), &gate));
    mask(&keeper, Some(serde_json::json!([[[0.5, 0.5], [1.0, 0.5], [1.0, 1.0]]])));
    assert!(!queued.outgoing.may_leave(FileKey(1), &gate));
    assert_eq!(queued.waiting(), ["late"]);
    let notices = queued.outgoing.take_notices();
    assert!(matches!(&notices[..], [one] if one.message.contains("clip raw") && one.message.contains("masks")));
    queued.restart();
    queued.outgoing.sort_out(&gate);
    assert_eq!((queued.waiting().len(), queued.names().len()), (0, 0));
}

#[test]
fn what_hides_what_is_to_be_hidden_leaves_and_waits_while_its_camera_is_unknown() {
    let queued = Queued::new(1 << 30);
    let (keeper, gate) = crate::masks::Gate::new();
    let corner = serde_json::json!([[[0.5, 0.5], [1.0, 0.5], [1.0, 1.0]]]);
    mask(&keeper, Some(corner.clone()));
    let crate::masks::Pass::Masked(masks) = gate.pass(&"gate".parse().unwrap()).unwrap() else { panic!("it has one") };
    let file = queued.dir.path().join("made");
    fs::write(&file, b"masked").unwrap();
    let hidden = masks.let_through(()).hidden().clone();
    queued.outgoing.put(OutgoingJob { hidden, ..job("clip", Worth::Event, b"masked") }, &file).unwrap();
    assert!(queued.outgoing.may_leave(FileKey(1), &gate));
    mask(&keeper, None);
    queued.outgoing.sort_out(&gate);
    assert_eq!(queued.outgoing.next_step(), aivms_appliance_core::uploads::Step::Idle, "nobody knows what to hide");
    let health = queued.outgoing.health().unwrap();
    assert!(health.files == 1 && health.cause.unwrap().contains("camera gate is not configured"));
    mask(&keeper, Some(corner));
    queued.outgoing.sort_out(&gate);
    assert_eq!(queued.outgoing.next_step(), aivms_appliance_core::uploads::Step::Offer(FileKey(1)));
}
