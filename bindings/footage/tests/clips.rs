//! Whatever fragments a clip is planned of, its tables are theirs and its times rise; whatever is damaged, nothing panics.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::io::Cursor;

use aivms_contract::time::UtcMillis;
use aivms_footage::clip::{ClipError, copy_range, find_extra, read_clip};
use aivms_footage::{ClipPlan, ClipPlanner, FragmentHead};
use proptest::prelude::*;
use support::{START, closed_segment, tracks};

/// Segments of so many fragments of ten pictures each; those in `gaps` are left out. Each begins where the last ends.
fn planned(
    segments: &[u64],
    gaps: &[bool],
    wanted: std::ops::Range<i64>,
    sound: bool,
) -> (Option<ClipPlan>, Vec<Vec<u8>>) {
    let wanted = UtcMillis::from_millis(START + wanted.start)..UtcMillis::from_millis(START + wanted.end);
    let mut planner = ClipPlanner::new(tracks(sound), wanted);
    let (mut files, mut passed) = (Vec::new(), 0);
    for (count, gap) in segments.iter().zip(gaps.iter().cycle()) {
        // Fragments of 25 pictures begin with a key picture each.
        let (file, infos) = closed_segment(*count, 25, sound);
        if !gap {
            planner.segment(&tracks(sound), UtcMillis::from_millis(START + passed)).unwrap();
            for info in &infos {
                let mut head = FragmentHead::parse(&file[info.offset as usize..]).unwrap();
                head.wall = head.wall + std::time::Duration::from_millis(passed as u64);
                planner.fragment(head, info.offset, info.hash).unwrap();
            }
            files.push(file);
        }
        passed += *count as i64 * 1000;
    }
    (planner.plan().ok(), files)
}

fn written(plan: &ClipPlan, files: &[Vec<u8>]) -> Vec<u8> {
    let (mut clip, mut buffer) = (Vec::new(), Vec::new());
    plan.write(&mut clip, |range, out| copy_range(range, &mut Cursor::new(&files[range.segment]), out, &mut buffer))
        .unwrap();
    clip
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_clip_holds_what_was_planned_and_its_times_rise(
        segments in prop::collection::vec(1..4u64, 1..5),
        gaps in prop::collection::vec(prop::bool::weighted(0.3), 1..5),
        start in -2000..12_000i64,
        length in -1000..15_000i64,
        sound: bool,
    ) {
        let (plan, files) = planned(&segments, &gaps, start..start + length, sound);
        let Some(plan) = plan else {
            prop_assert!(files.is_empty());
            return Ok(());
        };
        let clip = written(&plan, &files);
        prop_assert_eq!(clip.len() as u64, plan.bytes());
        let read = read_clip(Cursor::new(&clip)).unwrap().unwrap();
        prop_assert_eq!(read.tracks, tracks(sound));
        let pictures: u32 = plan.fragments.iter().map(|fragment| fragment.pictures).sum();
        let sounds: u32 = plan.fragments.iter().map(|fragment| fragment.sounds).sum();
        prop_assert_eq!((read.pictures.len(), read.sounds.len()), (pictures as usize, sounds as usize));
        prop_assert!(plan.offset_of(plan.start()).is_zero());
        let offsets: Vec<_> = (-10..160).map(|at| plan.offset_of(UtcMillis::from_millis(START + at * 100))).collect();
        prop_assert!(offsets.is_sorted() && *offsets.last().unwrap() <= plan.duration());
        let shown = plan.shown();
        prop_assert!(shown.is_sorted_by(|a, b| a.end <= b.start));
        let lasts: i64 = shown.iter().map(|span| span.end.as_millis() - span.start.as_millis()).sum();
        prop_assert!((lasts - plan.duration().as_millis() as i64).abs() <= 2 * plan.fragments.len() as i64, "{shown:?}");
    }

    #[test]
    fn a_damaged_clip_never_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12), sound: bool) {
        let (plan, files) = planned(&[2, 1], &[false], 200..2500, sound);
        let mut clip = written(plan.as_ref().unwrap(), &files);
        for (at, value) in changes {
            let at = at.index(clip.len());
            clip[at] = value;
        }
        let spans: Vec<_> = plan.unwrap().fragments.iter().map(|f| (f.wall, f.pictures, f.sounds)).collect();
        if let Some(read) = read_clip(Cursor::new(&clip)).unwrap() {
            let _ = read.hashes(Cursor::new(&clip), &spans).unwrap();
        }
        let _ = find_extra(Cursor::new(&clip), b"aivms manifest\0\0").unwrap();
    }

    #[test]
    fn tables_with_any_numbers_never_panic(
        numbers in prop::collection::vec((any::<u64>(), any::<u64>(), any::<i32>(), any::<u32>(), any::<i64>()), 1..6),
        wanted in (any::<i64>(), any::<i64>()),
    ) {
        let (file, infos) = closed_segment(1, 5, true);
        let head = FragmentHead::parse(&file[infos[0].offset as usize..]).unwrap();
        let wanted = UtcMillis::from_millis(wanted.0)..UtcMillis::from_millis(wanted.1);
        let mut planner = ClipPlanner::new(tracks(true), wanted);
        planner.segment(&tracks(true), UtcMillis::from_millis(0)).unwrap();
        for (start, audio_start, composition, duration, wall) in numbers {
            let mut head = FragmentHead { start, audio_start, wall: UtcMillis::from_millis(wall), ..head.clone() };
            (head.video[1].composition, head.video[2].duration) = (composition, duration);
            planner.fragment(head, 0, None).unwrap();
        }
        let plan = planner.plan().unwrap();
        let _ = (plan.shown(), plan.duration(), plan.offset_of(plan.start()), plan.covers(plan.start()));
    }
}

#[test]
fn a_clip_begins_and_goes_on_with_what_can_be_decoded() {
    let (file, infos) = closed_segment(3, 10, false);
    let head = |at: usize| FragmentHead::parse(&file[infos[at].offset as usize..]).unwrap();
    let wanted = UtcMillis::from_millis(START)..UtcMillis::from_millis(START + 1000);
    let mut planner = ClipPlanner::new(tracks(false), wanted);
    assert_eq!(planner.clone().plan().unwrap_err(), ClipError::Empty);
    let later = UtcMillis::from_millis(START + 500);
    assert_eq!(planner.segment(&tracks(true), later), Err(ClipError::OtherTracks(later)));
    assert_eq!(planner.segment(&tracks(false), later), Ok(0));
    // Every 25th picture is a key picture.
    assert_eq!(planner.fragment(head(1), 0, None), Err(ClipError::NoKey(infos[1].wall)));
    planner.fragment(head(0), 0, None).unwrap();
    assert_eq!(planner.fragment(head(2), 0, None), Err(ClipError::NoKey(infos[2].wall)));
    planner.fragment(head(1), 0, None).unwrap();
}
