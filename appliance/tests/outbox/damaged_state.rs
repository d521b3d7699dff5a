//! A state whose files were damaged, deleted or left half-made: each ends in a working start and a notice.

use std::fs;
use std::path::{Path, PathBuf};

use aivms_appliance::state::{Key, State, StateError};

use crate::site::{Site, flip, tells};

const DESIRED: &str = "desired-document-marker";
const REPORTED: &str = "reported-document-marker";

/// A state with two settings and a removed one, opened often enough to have a snapshot.
fn settled_state(site: &Site) -> PathBuf {
    let dir = site.state_dir();
    for round in 0..3 {
        let (state, _) = State::open(&dir).unwrap();
        state.put(Key::Certificate, &round).unwrap();
        state.put(Key::Reported, &REPORTED).unwrap();
        state.put(Key::Desired, &DESIRED).unwrap();
        state.remove(Key::Certificate).unwrap();
    }
    dir
}

/// Opens it, finds every setting and a notice with `about` in it; the next start has nothing to tell.
fn mended(dir: &Path, about: &str) {
    let (state, notices) = State::open(dir).unwrap();
    check_settings(&state);
    assert!(tells(&notices, "state_recovered", about), "{notices:?}");
    drop(state);
    let (state, notices) = State::open(dir).unwrap();
    check_settings(&state);
    assert_eq!(notices, []);
}

fn check_settings(state: &State) {
    assert_eq!(state.get::<String>(Key::Desired).unwrap().as_deref(), Some(DESIRED));
    assert_eq!(state.get::<String>(Key::Reported).unwrap().as_deref(), Some(REPORTED));
    assert_eq!(state.get::<u32>(Key::Certificate).unwrap(), None);
}

fn snapshot(dir: &Path) -> PathBuf {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    names.into_iter().find(|path| path.to_string_lossy().contains("/snap.")).expect("sled has made a snapshot")
}

fn last_place_of(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).rposition(|window| window == text.as_bytes()).expect("the text is in the file")
}

#[test]
fn a_leftover_unfinished_snapshot_is_deleted() {
    let site = Site::new();
    let dir = settled_state(&site);
    fs::write(dir.join("snap.00000000000FFFFF.generating"), b"half").unwrap();
    mended(&dir, "snapshot that was never finished");
}

#[test]
fn a_damaged_snapshot_is_set_aside_and_the_log_read_again() {
    let site = Site::new();
    let dir = settled_state(&site);
    flip(&snapshot(&dir), |bytes| bytes.len() / 2);
    mended(&dir, "read again from its whole log");
}

#[test]
fn a_missing_conf_is_made_again() {
    let site = Site::new();
    let dir = settled_state(&site);
    fs::remove_file(dir.join("conf")).unwrap();
    mended(&dir, "conf was missing");
}

#[test]
fn a_zeroed_conf_is_made_again() {
    let site = Site::new();
    let dir = settled_state(&site);
    let bytes = fs::metadata(dir.join("conf")).unwrap().len();
    fs::write(dir.join("conf"), vec![0; usize::try_from(bytes).unwrap()]).unwrap();
    mended(&dir, "read again from its whole log");
}

#[test]
fn a_flipped_bit_in_a_setting_brings_it_back_from_the_second_copy() {
    let site = Site::new();
    let dir = settled_state(&site);
    flip(&dir.join("db"), |bytes| last_place_of(bytes, DESIRED));
    mended(&dir, "made anew");
}

#[test]
fn flipped_bits_anywhere_in_the_database_never_change_a_setting() {
    let site = Site::new();
    let dir = settled_state(&site);
    let db = fs::read(dir.join("db")).unwrap();
    let used = db.iter().rposition(|byte| *byte != 0).unwrap();
    for part in 0..24 {
        flip(&dir.join("db"), |bytes| (used * part / 24).min(bytes.len() - 1));
        let (state, _) = State::open(&dir).unwrap();
        check_settings(&state);
    }
}

#[test]
fn a_database_that_opens_empty_is_filled_from_the_second_copy() {
    let site = Site::new();
    let dir = settled_state(&site);
    fs::remove_dir_all(&dir).unwrap();
    drop(sled::open(&dir).unwrap());
    mended(&dir, "older than in the second copy");
}

#[test]
fn a_database_behind_its_second_copy_is_filled_from_it() {
    let site = Site::new();
    let dir = settled_state(&site);
    let old = site.state_dir().with_extension("old");
    copy_dir(&dir, &old);
    let (state, _) = State::open(&dir).unwrap();
    state.put(Key::Desired, &"newer").unwrap();
    drop(state);
    fs::remove_dir_all(&dir).unwrap();
    fs::rename(&old, &dir).unwrap();
    let (state, notices) = State::open(&dir).unwrap();
    assert_eq!(state.get::<String>(Key::Desired).unwrap().as_deref(), Some("newer"));
    assert!(tells(&notices, "state_recovered", "desired: older"), "{notices:?}");
}

#[test]
fn a_deleted_database_is_filled_from_the_second_copy() {
    let site = Site::new();
    let dir = settled_state(&site);
    fs::remove_dir_all(&dir).unwrap();
    mended(&dir, "was gone");
}

#[test]
fn a_database_without_its_data_file_is_filled_from_the_second_copy() {
    let site = Site::new();
    let dir = settled_state(&site);
    fs::remove_file(dir.join("db")).unwrap();
    mended(&dir, "db is missing");
}

#[test]
fn a_damaged_or_missing_second_copy_is_written_again() {
    let site = Site::new();
    let dir = settled_state(&site);
    flip(&dir.with_extension("json"), |bytes| last_place_of(bytes, DESIRED));
    mended(&dir, "second copy was damaged");
    fs::remove_file(dir.with_extension("json")).unwrap();
    mended(&dir, "second copy was missing");
}

#[test]
fn starts_that_ended_while_opening_make_the_next_one_careful() {
    let site = Site::new();
    let dir = settled_state(&site);
    let marker = dir.with_extension("opening");
    for (count, about) in [("2", "read again from its whole log"), ("5", "made anew")] {
        fs::write(&marker, format!("{{\"crc32\":{},\"content\":{count}}}", crc32fast::hash(count.as_bytes()))).unwrap();
        mended(&dir, about);
        assert!(!marker.exists());
    }
}

#[test]
fn only_one_quarantine_is_kept() {
    let site = Site::new();
    let dir = settled_state(&site);
    for _ in 0..3 {
        fs::remove_file(dir.join("db")).unwrap();
        mended(&dir, "made anew");
    }
    let siblings = fs::read_dir(dir.parent().unwrap()).unwrap();
    let quarantines =
        siblings.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("quarantine"));
    assert_eq!(quarantines.count(), 1);
}

#[test]
fn every_open_counts_as_another_start() {
    let site = Site::new();
    let mut starts = Vec::new();
    for _ in 0..3 {
        starts.push(State::open(site.state_dir()).unwrap().0.starts());
    }
    assert_eq!(starts, [1, 2, 3]);
}

#[test]
fn a_value_too_large_for_sled_is_refused_and_the_old_one_stays() {
    let site = Site::new();
    let dir = settled_state(&site);
    let (state, _) = State::open(&dir).unwrap();
    let refused = state.put(Key::Desired, &"x".repeat(70_000)).unwrap_err();
    assert!(matches!(refused, StateError::TooLarge { key: Key::Desired, .. }), "{refused}");
    check_settings(&state);
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
