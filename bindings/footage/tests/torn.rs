//! Whatever a power cut or a bad disk leaves of a segment, the complete fragments in front of the damage are found.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::io::Cursor;

use aivms_footage::clip::{find_extra, read_clip};
use aivms_footage::{FragmentHead, FragmentTable, Scan, fragment_hash, front, read_fragment, scan, scan_media};
use proptest::prelude::*;
use support::{about, closed_segment, segment, tracks};

fn scanned(file: &[u8]) -> Option<Scan> {
    scan(Cursor::new(file)).unwrap()
}

#[test]
fn a_segment_that_is_cut_anywhere_keeps_every_complete_fragment() {
    let (file, infos) = closed_segment(4, 5, true);
    let (_, _, begin) = front(&file).unwrap();
    for length in 0..file.len() {
        let scan = scanned(&file[..length]);
        assert_eq!(scan.is_some(), length >= begin, "at {length}");
        let Some(scan) = scan else { continue };
        let whole = infos.iter().take_while(|info| info.end() <= length as u64).count();
        assert_eq!((scan.fragments.as_slice(), scan.closed), (&infos[..whole], false), "at {length}");
        let good = infos[..whole].last().map_or(begin as u64, aivms_footage::FragmentInfo::end);
        assert_eq!(scan.good_bytes, good, "at {length}");
    }
}

#[test]
fn a_closed_segment_tells_its_fragments_without_reading_media() {
    let (file, infos) = closed_segment(4, 5, true);
    let scan = scanned(&file).unwrap();
    assert_eq!((scan.tracks, scan.about), (tracks(true), about()));
    assert_eq!((scan.fragments, scan.good_bytes, scan.closed), (infos, file.len() as u64, true));
}

#[test]
fn a_segment_without_fragments_is_one_that_can_be_closed() {
    let (file, _) = closed_segment(0, 5, false);
    let scan = scanned(&file).unwrap();
    assert_eq!((scan.fragments.len(), scan.closed), (0, true));
}

#[test]
fn blocks_that_never_reached_the_disk_end_the_segment() {
    let (mut file, infos) = segment(4, 5, true);
    let hole = infos[2].offset as usize + infos[2].bytes as usize - 20;
    file[hole..hole + 10].fill(0);
    let scan = scanned(&file).unwrap();
    assert_eq!((scan.fragments.as_slice(), scan.good_bytes), (&infos[..2], infos[2].offset));
}

#[test]
fn a_flipped_bit_in_what_a_fragment_shows_is_found() {
    let (file, infos) = closed_segment(3, 3, true);
    for at in infos[1].offset..infos[1].end() {
        for bit in [0, 7] {
            let mut file = file.clone();
            file[at as usize] ^= 1 << bit;
            let found = scan_media(Cursor::new(&file)).unwrap().unwrap();
            let read = read_fragment(&bytes::Bytes::copy_from_slice(&file[infos[1].offset as usize..]));
            // What says nothing of the content may differ: a version that nobody reads, or where in its segment it lies.
            let same = read.is_ok_and(|read| Some(fragment_hash(&read)) == infos[1].hash);
            assert!(same || found.fragments == infos[..1], "byte {at}");
        }
    }
}

#[test]
fn garbage_behind_the_last_fragment_is_told_apart() {
    let (file, infos) = segment(3, 5, false);
    let good = file.len() as u64;
    for garbage in [&[0; 5000][..], b"\0\0\0\x20prft", &file[file.len() - 200..], &[0xff; 64]] {
        let scan = scanned(&[&file, garbage].concat()).unwrap();
        assert_eq!((scan.fragments.as_slice(), scan.good_bytes, scan.closed), (infos.as_slice(), good, false));
    }
}

#[test]
fn sixty_fragments_fit_in_a_thousand_bytes_of_index() {
    let (_, mut fragments) = segment(60, 25, true);
    for (at, info) in fragments.iter_mut().enumerate() {
        // As of a camera of 4 Mbit/s with a trembling clock.
        info.bytes = 500_000 + at as u32 * 977 % 40_000;
        info.wall = info.wall + std::time::Duration::from_millis(at as u64 * 7 % 5);
    }
    let packed = FragmentTable { fragments }.pack();
    assert!(packed.len() <= 1000, "{}", packed.len());
}

fn any_info() -> impl Strategy<Value = aivms_footage::FragmentInfo> {
    let numbers = (0..1u64 << 40, any::<u32>(), 0..1u64 << 50, any::<u32>(), 0..4_000_000_000_000i64, any::<bool>());
    numbers.prop_map(|(offset, bytes, start, duration, wall, key)| aivms_footage::FragmentInfo {
        offset,
        bytes,
        start,
        duration,
        wall: aivms_contract::time::UtcMillis::from_millis(wall),
        key,
        hash: None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packing_and_unpacking_a_table_are_inverses(fragments in prop::collection::vec(any_info(), 0..50)) {
        let table = FragmentTable { fragments };
        prop_assert_eq!(FragmentTable::unpack(&table.pack()), Ok(table));
    }

    #[test]
    fn a_damaged_table_is_refused(fragments in prop::collection::vec(any_info(), 0..20), at: prop::sample::Index, bit in 0..8u8) {
        let mut packed = FragmentTable { fragments }.pack();
        let at = at.index(packed.len());
        packed[at] ^= 1 << bit;
        prop_assert!(FragmentTable::unpack(&packed).is_err());
    }

    #[test]
    fn any_damage_leaves_the_fragments_in_front_of_it(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let (good, infos) = closed_segment(4, 3, true);
        let mut file = good.clone();
        let mut first = file.len() as u64;
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
            first = first.min(at as u64);
        }
        let begin = front(&good).unwrap().2 as u64;
        let scan = scan_media(Cursor::new(&file)).unwrap();
        prop_assert!(scan.is_some() || first < begin);
        if let Some(scan) = scan.filter(|_| first >= begin) {
            let intact = infos.iter().take_while(|info| info.end() <= first).count();
            prop_assert_eq!(&scan.fragments[..intact], &infos[..intact]);
        }
        // The others must not panic.
        let _ = (scanned(&file), read_clip(Cursor::new(&file)), find_extra(Cursor::new(&file), b"aivms segment\0\0\0"));
    }

    #[test]
    fn random_bytes_are_nothing(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(scanned(&bytes).is_none());
        prop_assert!(FragmentHead::parse(&bytes).is_err());
        prop_assert!(FragmentTable::unpack(&bytes).is_err());
    }
}
