use std::collections::BTreeMap;

use aivms_contract::footage::{DeletionReason, Gap, GapCause, Locked};
use aivms_contract::id::{CameraId, EdgeId};
use aivms_contract::time::UtcMillis;
use proptest::prelude::*;

use super::sign::tests::TestKey;
use super::*;

/// What a disk holds: lines and segments, by what they are named.
#[derive(Debug, Clone)]
struct Disk {
    lines: Vec<String>,
    files: BTreeMap<UtcMillis, FileState>,
}

fn camera() -> CameraId {
    "gate".parse().unwrap()
}

fn edge() -> Option<EdgeId> {
    Some("edge_1".parse().unwrap())
}

fn at(seconds: i64) -> UtcMillis {
    UtcMillis::from_millis(1_795_352_700_000 + seconds * 1000)
}

/// Writes a chain as the appliance does.
struct Writing<'a> {
    key: Option<&'a TestKey>,
    last: Option<Chained>,
    now: i64,
    disk: Disk,
}

impl<'a> Writing<'a> {
    fn new(key: Option<&'a TestKey>) -> Self {
        let mut new = Self { key: None, last: None, now: 0, disk: Disk { lines: Vec::new(), files: BTreeMap::new() } };
        new.add(Entry::Begin { why: BeginReason::First });
        if let Some(key) = key {
            new.take_key(key, key);
        }
        new
    }

    fn take_key(&mut self, new: &'a TestKey, signed_by: &'a TestKey) {
        self.key = Some(signed_by);
        self.add(key_entry(new));
        self.key = Some(new);
    }

    fn add(&mut self, what: Entry) -> Chained {
        let record = Record::after(self.last, camera(), edge(), at(self.now), what);
        let line = Line::seal(record, self.key.map(|key| key as &dyn Signer)).unwrap();
        self.last = Some(line.place());
        self.disk.lines.push(line.as_str().to_owned());
        line.place()
    }

    /// A minute of video and its record.
    fn segment(&mut self, content: u8) -> UtcMillis {
        let start = at(self.now);
        self.now += 60;
        let leaf = |second| Leaf { hash: [content.wrapping_add(second); 32], wall: start };
        let leaves = vec![leaf(0), leaf(1), leaf(2)];
        let (tracks, outside) = (Digest::of(b"tracks"), Digest::of(&[content]));
        self.add(Entry::Segment(SegmentSeal {
            start,
            end: at(self.now),
            bytes: 1000,
            fragments: 3,
            root: root_of(&leaves),
            tracks,
            outside,
            sealed: SealTime::Closed,
        }));
        let claimed = leaves.clone();
        self.disk.files.insert(start, FileState::Read { bytes: 1000, leaves, claimed, tracks, outside });
        start
    }

    fn delete(&mut self, starts: &[UtcMillis]) {
        let millis = starts.iter().map(|start| start.as_millis()).collect();
        self.add(Entry::Deleted(Deletion { starts: millis, bytes: 1000, reason: DeletionReason::Age }));
        for start in starts {
            self.disk.files.remove(start);
        }
    }
}

fn key_entry(key: &TestKey) -> Entry {
    Entry::Key(KeyChange { public_key: key.public_key().clone(), certificates: vec!["AAAA".to_owned()] })
}

/// One of everything.
fn a_day(key: &TestKey) -> Disk {
    let mut writing = Writing::new(Some(key));
    let first = writing.segment(1);
    writing.segment(2);
    writing.now += 30;
    let gap = Gap { start: at(120), end: Some(at(150)), cause: GapCause::Network, detail: None };
    writing.add(Entry::Gap(gap));
    writing.segment(3);
    let locked =
        Locked { lock_id: "l1".parse().unwrap(), start: at(0), end: at(10), reason: "theft\tof \"it\"".into() };
    writing.add(Entry::Locked(locked));
    writing.add(Entry::Unlocked { lock_id: "l1".parse().unwrap() });
    writing.delete(&[first]);
    writing.segment(4);
    writing.disk
}

fn place(line: usize) -> Place {
    Place { file: "chain".to_owned(), line: Some(line as u64 + 1) }
}

fn check(disk: &Disk, anchors: Vec<Chained>) -> ChainReport {
    let mut check = ChainCheck::new(camera(), anchors);
    for (index, line) in disk.lines.iter().enumerate() {
        check.line(&place(index), line.as_bytes());
    }
    for (start, file) in &disk.files {
        check.file(&Place { file: start.to_string(), line: None }, *start, file);
    }
    check.finish()
}

/// What is found that is more than a note, in words, with its place.
fn found(disk: &Disk, anchors: &[Chained]) -> Vec<String> {
    let report = check(disk, anchors.to_vec());
    let serious = report.findings.iter().filter(|finding| finding.level() > Level::Note);
    let place = |place: &Place| place.line.map_or_else(|| place.file.clone(), |line| format!("line {line}"));
    serious
        .map(|found| format!("{}: {}", found.place.as_ref().map_or_else(String::new, place), found.problem))
        .collect()
}

fn assert_found(disk: &Disk, anchors: &[Chained], expected: &[&str]) {
    let found = found(disk, anchors);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found:?} does not say {expected:?}");
    }
}

fn head(disk: &Disk) -> Chained {
    Line::parse(disk.lines.last().unwrap().as_bytes()).unwrap().place()
}

#[test]
fn an_untouched_chain_with_gap_and_deletion_is_clean() {
    let disk = a_day(&TestKey::new());
    assert_found(&disk, &[head(&disk)], &[]);
    let report = check(&disk, vec![]);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!((report.segments.len(), report.deleted, report.gaps.len()), (3, 1, 1));
    assert_eq!((report.keys.len(), report.keys[0].records), (1, 9));
}

#[test]
fn a_removed_segment_is_missing_unless_its_deletion_is_on_record() {
    let key = TestKey::new();
    let mut disk = a_day(&key);
    let start = *disk.files.keys().next().unwrap();
    disk.files.remove(&start);
    assert_found(&disk, &[], &["line 4: the segment at 2026-11-22T13:06:00.000Z is missing"]);
}

#[test]
fn lines_cut_out_swapped_doubled_or_put_in_are_named_by_their_place() {
    let key = TestKey::new();
    let whole = a_day(&key);
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut disk = whole.clone();
        change(&mut disk.lines);
        disk
    };
    assert_found(&changed(&|lines| drop(lines.remove(4))), &[], &["line 5: 1 records from 4 to 4 are missing"]);
    assert_found(
        &changed(&|lines| lines.swap(5, 6)),
        &[],
        &["line 6: 1 records from 5", "line 7: record 5 stands where record 7", "line 8: 1 records from 6 to 6"],
    );
    assert_found(
        &changed(&|lines| lines.insert(5, lines[4].clone())),
        &[],
        &["line 6: record 4 stands where record 5"],
    );
    let beginning = &found(&changed(&|lines| drop(lines.drain(..2))), &[])[0];
    assert!(beginning.contains("line 1: the chain begins with record 2, so 2 records before it are missing"));
}

#[test]
fn an_end_that_was_cut_off_shows_against_a_known_head() {
    let mut disk = a_day(&TestKey::new());
    let known = head(&disk);
    disk.lines.pop();
    disk.files.pop_last();
    assert_found(&disk, &[], &[]);
    assert_found(&disk, &[known], &["the chain ends at record 8, and record 9 is known to have been written"]);
}

#[test]
fn a_chain_rewritten_with_another_key_is_found() {
    let (key, thief) = (TestKey::new(), TestKey::new());
    let honest = a_day(&key);
    // Written on with a key of one's own.
    let last = Some(head(&honest));
    let deletion = Deletion { starts: vec![at(60).as_millis()], bytes: 1, reason: DeletionReason::Age };
    let forged = |what| Line::seal(Record::after(last, camera(), edge(), at(400), what), Some(&thief)).unwrap();
    let mut disk = honest.clone();
    disk.lines.push(forged(Entry::Deleted(deletion.clone())).as_str().to_owned());
    disk.files.remove(&at(60));
    let found_here = found(&disk, &[]);
    assert!(found_here[0].contains("line 11: the record is signed by"), "{found_here:?}");
    assert!(found_here[1].contains("line 4: the segment at 2026-11-22T13:06:00.000Z is missing"), "{found_here:?}");
    // That key introduced by itself.
    let mut disk = honest.clone();
    disk.lines.push(forged(key_entry(&thief)).as_str().to_owned());
    assert_found(&disk, &[], &["line 11: the new key"]);
    // A line that claims the right key, with another's signature.
    let mut record = Record::after(last, camera(), edge(), at(400), Entry::Deleted(deletion.clone()));
    record.key = Some(key.public_key().id());
    let text = line::seal_text(&record, Some(&thief)).unwrap();
    let mut disk = honest.clone();
    disk.lines.push(text);
    assert_found(&disk, &[], &["line 11: the signature is wrong"]);
    // The same without any signature.
    let unsigned = Line::seal(Record::after(last, camera(), edge(), at(400), Entry::Deleted(deletion)), None).unwrap();
    let mut disk = honest;
    disk.lines.push(unsigned.as_str().to_owned());
    assert_found(&disk, &[], &["line 11: the records from 10 on are not signed"]);
    // All of it anew: nothing in the chain shows it, the known head does.
    let known = head(&a_day(&key));
    let all = a_day(&thief);
    assert_found(&all, &[], &[]);
    assert_found(&all, &[known], &["line 10: record 9 is not the one that is known"]);
}

#[test]
fn a_key_handed_over_by_the_one_before_is_fine_and_the_old_one_is_then_foreign() {
    let (old, new) = (TestKey::new(), TestKey::new());
    let mut writing = Writing::new(Some(&old));
    writing.segment(1);
    writing.take_key(&new, &old);
    writing.segment(2);
    assert_found(&writing.disk, &[], &[]);
    assert_eq!(check(&writing.disk, vec![]).keys.len(), 2);
    writing.key = Some(&old);
    writing.segment(3);
    let found = found(&writing.disk, &[]);
    assert!(found[0].contains("which is not the key in use here"), "{found:?}");
}

#[test]
fn records_from_before_enrolment_are_covered_by_the_first_signed_one() {
    let key = TestKey::new();
    let mut writing = Writing::new(None);
    writing.segment(1);
    assert_found(&writing.disk, &[], &["line 1: no record is signed"]);
    writing.take_key(&key, &key);
    writing.segment(2);
    assert_found(&writing.disk, &[], &[]);
    let mut forged = writing.disk.clone();
    let line = Line::parse(forged.lines[1].as_bytes()).unwrap();
    let Entry::Segment(mut seal) = line.record().what.clone() else { panic!() };
    seal.bytes += 1;
    let mut record = line.record().clone();
    record.what = Entry::Segment(seal);
    forged.lines[1] = Line::seal(record, None).unwrap().as_str().to_owned();
    assert!(found(&forged, &[])[0].contains("line 3: the record was written after another line"));
}

#[test]
fn a_changed_segment_is_named_by_its_fragment() {
    let disk = a_day(&TestKey::new());
    let with = |change: &dyn Fn(&mut FileState)| {
        let mut disk = disk.clone();
        change(disk.files.values_mut().next().unwrap());
        found(&disk, &[])
    };
    type Change<'a> = &'a dyn Fn(&mut u64, &mut Vec<Leaf>, &mut Digest, &mut Digest);
    let part = |change: Change<'_>| {
        with(&|state| {
            let FileState::Read { bytes, leaves, tracks, outside, .. } = state else { panic!() };
            change(bytes, leaves, tracks, outside);
        })
    };
    let first = part(&|_, leaves, _, _| leaves[1].hash[5] ^= 1);
    assert!(first[0].contains("pictures or sound of the segment at 2026-11-22T13:06:00.000Z were changed, fragment 1"));
    assert!(part(&|_, leaves, _, _| leaves[1].wall = at(0))[0].contains("fragment 1"));
    let cut = part(&|_, leaves, _, _| leaves.truncate(1));
    assert!(cut.len() == 1 && cut[0].contains("fragment 1"), "{cut:?}");
    let with_other_tables = part(&|_, leaves, _, outside| {
        leaves.truncate(1);
        outside.0[0] ^= 1;
    });
    assert!(with_other_tables[1].contains("are not those that were sealed"), "{with_other_tables:?}");
    assert!(part(&|bytes, _, _, _| *bytes += 1)[0].contains("has 1001 bytes, was sealed with 1000"));
    assert!(part(&|_, _, tracks, _| tracks.0[0] ^= 1)[0].contains("decoder parameters"));
    assert!(part(&|_, _, _, outside| outside.0[0] ^= 1)[0].contains("headers, tables or times"));
    assert!(with(&|state| *state = FileState::Unreadable("no".into()))[0].contains("can't be read: no"));
}

#[test]
fn a_file_put_among_the_sealed_ones_is_found_and_the_newest_is_not_sealed_yet() {
    let mut disk = a_day(&TestKey::new());
    let state = disk.files.values().next().unwrap().clone();
    disk.files.insert(at(99_999), state.clone());
    assert_found(&disk, &[], &[]);
    disk.files.insert(at(61), state);
    assert_found(&disk, &[], &["no record knows the segment at"]);
}

#[test]
fn a_line_written_otherwise_or_in_a_future_form_is_refused() {
    let disk = a_day(&TestKey::new());
    let line = &disk.lines[2];
    assert!(Line::parse(line.as_bytes()).is_ok());
    for (from, to) in [
        ("{\"v\":1", "{ \"v\":1"),
        ("{\"v\":1", "{\"v\":2"),
        ("\"bytes\":1000", "\"bytes\":1000,\"more\":1"),
        ("\t", " \t"),
        ("\t", ""),
    ] {
        let changed = line.replacen(from, to, 1);
        assert_ne!(&changed, line);
        assert!(Line::parse(changed.as_bytes()).is_err(), "{changed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_changed_bit_of_any_line_is_found(line in 0usize..10, at in 0usize..10_000, bit in 0u8..8) {
        let mut disk = a_day(&TestKey::new());
        let mut bytes = disk.lines[line].clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let mut check = ChainCheck::new(camera(), vec![]);
        for (index, text) in disk.lines.drain(..).enumerate() {
            check.line(&place(index), if index == line { &bytes } else { text.as_bytes() });
        }
        for (start, file) in &disk.files {
            check.file(&Place { file: start.to_string(), line: None }, *start, file);
        }
        let report = check.finish();
        prop_assert!(report.findings.iter().any(|finding| finding.level() == Level::Broken), "line {line} byte {at}");
    }

    #[test]
    fn any_line_or_file_taken_away_doubled_or_moved_is_found(what in 0u8..4, i in 0usize..10, j in 0usize..10) {
        let whole = a_day(&TestKey::new());
        let mut disk = whole.clone();
        match what {
            0 => drop(disk.lines.remove(i)),
            1 => disk.lines.insert(j, disk.lines[i].clone()),
            2 => disk.lines.swap(i, j),
            _ => {
                let start = *disk.files.keys().nth(i % disk.files.len()).unwrap();
                disk.files.remove(&start);
            }
        }
        prop_assume!(what != 2 || i != j);
        prop_assert!(!found(&disk, &[head(&whole)]).is_empty(), "{what} {i} {j}");
    }

    #[test]
    fn no_bytes_make_the_reader_panic(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..5)) {
        let mut check = ChainCheck::new(camera(), vec![]);
        lines.iter().enumerate().for_each(|(index, line)| check.line(&place(index), line));
        let _ = check.finish();
    }

    #[test]
    fn leaves_read_back_as_they_were_printed(leaves in proptest::collection::vec((any::<[u8; 32]>(), 0i64..1 << 45), 0..9)) {
        let leaf = |(hash, millis)| Leaf { hash, wall: UtcMillis::from_millis(millis) };
        let leaves: Vec<_> = leaves.into_iter().map(leaf).collect();
        prop_assert_eq!(decode_leaves(&encode_leaves(&leaves)), Ok(leaves));
    }
}
