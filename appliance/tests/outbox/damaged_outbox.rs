//! An outbox whose files were damaged or deleted: each ends in a working start and a notice.

use std::fs;
use std::path::PathBuf;

use aivms_appliance::outbox::Outbox;
use aivms_appliance::state::State;
use aivms_contract::health::Notice;
use aivms_contract::id::EdgeId;
use aivms_contract::topic::UpKind;

use crate::site::{self, Site, body, flip, tells};
use crate::writer::MAX_BYTES;

/// An outbox with ten zone events, closed.
async fn settled_outbox(site: &Site) -> Vec<u64> {
    let (outbox, _state) = site.open();
    let bodies = (0..10).map(|number| body(UpKind::ZoneEvents, number, 300)).collect();
    let seqs = outbox.append_all(bodies).await.into_iter().map(Result::unwrap).collect();
    outbox.close().await;
    seqs
}

fn spool_files(site: &Site) -> Vec<PathBuf> {
    let names = fs::read_dir(site.outbox_dir()).unwrap().map(|entry| entry.unwrap().path());
    let mut spools: Vec<_> = names.filter(|path| path.extension().is_some_and(|suffix| suffix == "spool")).collect();
    spools.sort();
    spools
}

fn spool_file(site: &Site) -> PathBuf {
    let mut spools = spool_files(site);
    assert_eq!(spools.len(), 1);
    spools.remove(0)
}

/// Opens it, finds the numbers, and gives the notices; a second start has nothing to tell.
async fn found(site: &Site, numbers: &[u64]) -> Vec<Notice> {
    let (outbox, state, notices) = site.open_noting();
    check_numbers(&outbox, numbers).await;
    let last = outbox.append(body(UpKind::Alerts, 77, 5)).await.unwrap();
    outbox.acknowledge(0).await.unwrap();
    outbox.close().await;
    drop(state);
    let (outbox, state, again) = site.open_noting();
    assert_eq!(again, []);
    check_numbers(&outbox, &[numbers, &[77]].concat()).await;
    assert!(outbox.append(body(UpKind::Alerts, 78, 5)).await.unwrap() > last);
    outbox.close().await;
    drop(state);
    notices
}

async fn check_numbers(outbox: &Outbox, numbers: &[u64]) {
    let entries = outbox.read_after(0, 100, usize::MAX).await.unwrap();
    assert_eq!(entries.iter().map(site::number_of).collect::<Vec<_>>(), numbers);
    for entry in &entries {
        site::check_entry(outbox, entry, site::number_of(entry));
    }
}

#[tokio::test]
async fn a_damaged_event_in_the_middle_is_reported_and_the_others_are_there() {
    let site = Site::new();
    settled_outbox(&site).await;
    flip(&spool_file(&site), |bytes| bytes.len() / 2);
    let (outbox, state, notices) = site.open_noting();
    assert!(tells(&notices, "events_lost", "up to 1 events"), "{notices:?}");
    let entries = outbox.read_after(0, 100, usize::MAX).await.unwrap();
    assert_eq!(entries.len(), 9);
    outbox.close().await;
    drop(state);
    let numbers: Vec<u64> = entries.iter().map(site::number_of).collect();
    assert_eq!(found(&site, &numbers).await, []);
}

#[tokio::test]
async fn a_damaged_last_event_that_was_kept_is_reported() {
    let site = Site::new();
    settled_outbox(&site).await;
    flip(&spool_file(&site), |bytes| bytes.len() - 3);
    let notices = found(&site, &[0, 1, 2, 3, 4, 5, 6, 7, 8]).await;
    assert!(tells(&notices, "events_lost", "up to 1 events"), "{notices:?}");
}

#[tokio::test]
async fn bytes_of_an_unfinished_write_are_cut_without_a_word() {
    let site = Site::new();
    settled_outbox(&site).await;
    let path = spool_file(&site);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&bytes.clone()[200..260]);
    fs::write(&path, bytes).unwrap();
    assert_eq!(found(&site, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).await, []);
}

#[tokio::test]
async fn damage_that_appears_while_running_is_skipped_and_reported() {
    let site = Site::new();
    let (outbox, _state) = site.open();
    let bodies = (0..10).map(|number| body(UpKind::ZoneEvents, number, 300)).collect();
    outbox.append_all(bodies).await;
    flip(&spool_file(&site), |bytes| bytes.len() / 2);
    assert_eq!(outbox.read_after(0, 100, usize::MAX).await.unwrap().len(), 9);
    assert!(tells(&outbox.take_notices(), "events_lost", "damaged bytes"));
    assert_eq!(outbox.take_notices(), []);
}

#[tokio::test]
async fn files_cut_or_deleted_behind_the_programs_back_do_not_stop_the_rest() {
    let site = Site::bounded(MAX_BYTES);
    let (outbox, _state) = site.open();
    outbox.append_all((0..300).map(|number| body(UpKind::ZoneEvents, number, 1000)).collect()).await;
    let spools = spool_files(&site);
    assert!(spools.len() > 4);
    fs::remove_file(&spools[1]).unwrap();
    fs::OpenOptions::new().write(true).open(&spools[2]).unwrap().set_len(20_000).unwrap();
    let entries = outbox.read_after(0, 1000, usize::MAX).await.unwrap();
    assert!(entries.len() > 150 && entries.len() < 300, "{}", entries.len());
    assert_eq!(site::number_of(&entries[0]), 0);
    assert_eq!(site::number_of(&entries[entries.len() - 1]), 299);
    assert_eq!(outbox.take_notices().len(), 2);
}

#[tokio::test]
async fn a_deleted_spool_file_is_reported() {
    let site = Site::new();
    settled_outbox(&site).await;
    fs::remove_file(spool_file(&site)).unwrap();
    let notices = found(&site, &[]).await;
    assert!(tells(&notices, "events_lost", "up to 10 events"), "{notices:?}");
}

#[tokio::test]
async fn a_lost_small_file_makes_the_numbers_jump_and_nothing_else() {
    for damage in [0, 1] {
        let site = Site::new();
        let seqs = settled_outbox(&site).await;
        let small = site.outbox_dir().join("outbox.json");
        if damage == 0 {
            fs::remove_file(&small).unwrap();
        } else {
            flip(&small, |bytes| bytes.len() / 2);
        }
        let notices = found(&site, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
        assert!(tells(&notices, "outbox_recovered", "jump"), "{notices:?}");
        let (outbox, _state, _) = site.open_noting();
        assert!(*outbox.kept().borrow() > seqs[9] + 100_000);
    }
}

#[tokio::test]
async fn a_deleted_state_loses_no_event() {
    let site = Site::new();
    settled_outbox(&site).await;
    fs::remove_dir_all(site.state_dir()).unwrap();
    fs::remove_file(site.state_dir().with_extension("json")).unwrap();
    let notices = found(&site, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
    assert!(tells(&notices, "outbox_recovered", "sent again"), "{notices:?}");
}

#[tokio::test]
async fn a_deleted_outbox_is_reported_and_its_numbers_are_not_used_again() {
    let site = Site::new();
    let seqs = settled_outbox(&site).await;
    fs::remove_dir_all(site.outbox_dir()).unwrap();
    let notices = found(&site, &[]).await;
    assert!(tells(&notices, "events_lost", "up to 10 events"), "{notices:?}");
    let (outbox, _state, _) = site.open_noting();
    assert!(*outbox.kept().borrow() > seqs[9]);
}

#[tokio::test]
async fn the_outbox_of_another_edge_is_set_aside_and_a_new_one_begun() {
    let site = Site::new();
    settled_outbox(&site).await;
    let other: EdgeId = "edge_other".parse().unwrap();
    let (state, _) = State::open(site.state_dir()).unwrap();
    let (outbox, notices) = Outbox::open(site.settings(), other, &state).unwrap();
    assert!(tells(&notices, "events_lost", "edge_one"), "{notices:?}");
    assert_eq!(outbox.read_after(0, 10, usize::MAX).await.unwrap(), []);
    assert_eq!(outbox.append(body(UpKind::Alerts, 0, 5)).await.unwrap(), 1);
}
