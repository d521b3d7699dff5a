//! Whatever order pictures come in, and however their clock trembles, decode times rise and times of showing stay.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use aivms_contract::time::{MediaTime, UtcMillis};
use aivms_footage::times::MAX_REORDER;
use aivms_footage::{DecodeTimes, Fragment, Gather, Shot, Timed};
use bytes::Bytes;
use proptest::prelude::*;

/// A group of pictures: how many shown pictures lie between those that others refer to, and how many of both.
#[derive(Debug, Clone)]
struct Group {
    between: usize,
    pyramid: bool,
    pictures: usize,
}

fn groups() -> impl Strategy<Value = Vec<Group>> {
    let group = (0..4usize, any::<bool>(), 1..30usize).prop_map(|(between, pyramid, pictures)| Group {
        between,
        pyramid,
        pictures,
    });
    prop::collection::vec(group, 1..6)
}

/// The places in showing order of a group's pictures, in decoding order.
fn order(group: &Group) -> Vec<usize> {
    let mut order = vec![0];
    let mut shown = 1;
    while shown < group.pictures {
        let anchor = (shown + group.between).min(group.pictures - 1);
        order.push(anchor);
        let mut between: Vec<usize> = (shown..anchor).collect();
        if group.pyramid && between.len() > 1 {
            let middle = between.remove(between.len() / 2);
            order.push(middle);
        }
        order.extend(between);
        shown = anchor + 1;
    }
    order
}

/// Pictures in decoding order: time of showing, whether they refresh, and their place in showing order.
fn stream(groups: &[Group], jitter: &[i64], lost: &[bool]) -> Vec<(i64, bool, usize)> {
    let (mut stream, mut first) = (Vec::new(), 0);
    for group in groups {
        for place in order(group) {
            let place = first + place;
            let time = place as i64 * 3600 + jitter[place % jitter.len()];
            let refresh = place == first;
            if refresh || !lost[place % lost.len()] {
                stream.push((time, refresh, place));
            }
        }
        first += group.pictures;
    }
    stream
}

fn timed(stream: &[(i64, bool, usize)], reorder: Option<usize>) -> Vec<Timed<(bool, usize)>> {
    let mut times = DecodeTimes::new(reorder);
    let mut out = Vec::new();
    for (at, (pts, refresh, place)) in stream.iter().enumerate() {
        times.push(*pts, *refresh, (*refresh, *place), &mut out);
        assert!(at + 1 - out.len() <= times.depth());
    }
    times.flush(&mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decode_times_rise_and_times_of_showing_stay(
        groups in groups(),
        jitter in prop::collection::vec(-1500..1500i64, 1..40),
        lost in prop::collection::vec(prop::bool::weighted(0.1), 1..40),
        said in prop::option::of(2..=4usize),
    ) {
        let stream = stream(&groups, &jitter, &lost);
        let out = timed(&stream, said);
        prop_assert_eq!(out.len(), stream.len());
        prop_assert!(out.is_sorted_by(|a, b| a.dts < b.dts));
        for (out, (pts, refresh, place)) in out.iter().zip(&stream) {
            prop_assert_eq!((out.pts, out.item), (*pts, (*refresh, *place)));
            // A picture that refreshes is shown when it is decoded.
            prop_assert!(!refresh || out.composition() == 0);
        }
        // Decode times are the times of showing in order; without parameter sets that say how deep pictures overtake,
        // only once that has been seen.
        if said.is_none() {
            return Ok(());
        }
        let mut shown: Vec<i64> = stream.iter().map(|(pts, ..)| *pts).collect();
        shown.sort_unstable();
        prop_assert_eq!(out.iter().map(|out| out.dts).collect::<Vec<_>>(), shown);
    }

    #[test]
    fn any_times_at_all_give_rising_decode_times(
        times in prop::collection::vec((any::<i64>(), any::<bool>()), 0..80),
        said in prop::option::of(0..=MAX_REORDER),
    ) {
        let stream: Vec<_> = times.iter().enumerate().map(|(at, (pts, refresh))| (pts / 4, *refresh, at)).collect();
        let out = timed(&stream, said);
        prop_assert!(out.is_sorted_by(|a, b| a.dts < b.dts));
        prop_assert_eq!(out.iter().map(|out| out.item.1).collect::<Vec<_>>(), (0..times.len()).collect::<Vec<_>>());
    }

    #[test]
    fn fragments_hold_every_picture_and_sound_once_and_leave_no_hole(
        groups in groups(),
        jitter in prop::collection::vec(-1500..1500i64, 1..40),
        limit in 9_000..100_000u32,
        segment in 1..200_000i64,
    ) {
        let stream = stream(&groups, &jitter, &[false]);
        let out = timed(&stream, None);
        let (count, end) = (out.len(), out.last().unwrap().dts);
        // They begin with or after the first picture and end before the last one.
        let sounds = (end / 90 * 48 / 1024 - 1).max(0) as usize;
        let mut gather = Gather::new(limit, Some(48_000));
        for at in 0..sounds {
            let begins = MediaTime::from_nanos(20_000_000 + at as u64 * 1_024_000_000 / 48);
            gather.sound(begins, Bytes::copy_from_slice(&at.to_be_bytes()));
        }
        let segments = gathered(gather, out, segment);
        let pictures: Vec<u8> = segments.iter().flatten().flat_map(|f| &f.video).flat_map(|s| s.data.to_vec()).collect();
        prop_assert_eq!(pictures.len(), count);
        let heard: Vec<usize> = segments.iter().flatten().flat_map(|f| &f.audio)
            .map(|s| usize::from_be_bytes(s.data.as_ref().try_into().unwrap())).collect();
        prop_assert_eq!(heard, (0..sounds).collect::<Vec<_>>());
        for segment in &segments {
            check_segment(segment, limit)?;
        }
    }
}

/// Cuts segments at the first key picture `segment` ticks after the last cut.
fn gathered(mut gather: Gather, timed: Vec<Timed<(bool, usize)>>, segment: i64) -> Vec<Vec<Fragment>> {
    let mut segments = vec![Vec::new()];
    for Timed { dts, pts, item: (key, place) } in timed {
        if key && gather.base().is_some_and(|base| dts - base >= segment) {
            segments.last_mut().unwrap().extend(gather.cut(Some(dts)));
            segments.push(Vec::new());
        }
        let shot = Shot { data: vec![place as u8].into(), key, wall: UtcMillis::from_millis(pts / 90) };
        segments.last_mut().unwrap().extend(gather.picture(Timed { dts, pts, item: shot }));
    }
    segments.last_mut().unwrap().extend(gather.cut(None));
    segments
}

fn check_segment(segment: &[Fragment], limit: u32) -> Result<(), TestCaseError> {
    let first = &segment[0].video[0];
    prop_assert_eq!((first.dts, first.key, first.composition), (0, true, 0));
    let (mut picture_end, mut sound_end) = (0, 0);
    for fragment in segment {
        for sample in &fragment.video {
            prop_assert_eq!(sample.dts, picture_end);
            picture_end += u64::from(sample.duration);
        }
        prop_assert!(fragment.video.iter().skip(1).all(|sample| !sample.key));
        let duration: u32 = fragment.video.iter().map(|sample| sample.duration).sum();
        let longest = fragment.video.iter().map(|sample| sample.duration).max().unwrap();
        prop_assert!(duration <= limit + longest || fragment.video.len() == 1, "{duration} of {limit}");
        for sample in &fragment.audio {
            prop_assert!(sample.dts >= sound_end && sample.duration > 0);
            sound_end = sample.dts + u64::from(sample.duration);
        }
    }
    Ok(())
}

#[test]
fn pictures_in_order_are_not_held_back_once_that_is_known() {
    let mut times = DecodeTimes::new(None);
    let mut out = Vec::new();
    for at in 0..40 {
        times.push(at * 3600, at % 10 == 0, at, &mut out);
        assert!(out.len() as i64 > at - 4);
    }
    assert_eq!((out.len(), times.depth()), (40, 0));
}

#[test]
fn pictures_that_cannot_overtake_are_never_held_back_and_a_clock_that_steps_back_is_smoothed() {
    let mut times = DecodeTimes::new(Some(0));
    let mut out = Vec::new();
    for pts in [0, 3600, 3500, 7200] {
        times.push(pts, false, (), &mut out);
    }
    assert_eq!(
        out.iter().map(|timed| (timed.dts, timed.pts)).collect::<Vec<_>>(),
        [(0, 0), (3600, 3600), (3601, 3601), (7200, 7200)]
    );
}

/// Pictures at 25 per second from `first` on, with a key picture in front; the fragments that end.
fn pictures(gather: &mut Gather, numbers: std::ops::Range<i64>) -> Vec<Fragment> {
    let first = numbers.start;
    let shot = |at| Shot { data: vec![1].into(), key: at == first, wall: UtcMillis::from_millis(at * 40) };
    numbers.filter_map(|at| gather.picture(Timed { dts: at * 3600, pts: at * 3600, item: shot(at) })).collect()
}

fn sound(gather: &mut Gather, numbers: std::ops::Range<u64>) {
    for at in numbers {
        gather.sound(MediaTime::from_nanos(at * 1_024_000_000 / 48), vec![at as u8].into());
    }
}

#[test]
fn sound_from_before_the_first_picture_is_left_out() {
    let mut gather = Gather::new(90_000, Some(48_000));
    sound(&mut gather, 0..94);
    assert!(pictures(&mut gather, 25..50).is_empty());
    let fragment = gather.cut(Some(50 * 3600)).unwrap();
    // The frames from 1.00 s on: the first begins 3 ms after the first picture.
    assert_eq!(fragment.audio.iter().map(|sample| sample.data[0]).collect::<Vec<_>>(), (47..94).collect::<Vec<_>>());
    assert_eq!((fragment.audio[0].dts, fragment.audio[46].dts), (0, 46 * 1024));
}

#[test]
fn sound_that_comes_after_the_cut_is_not_lost() {
    let mut gather = Gather::new(90_000, Some(48_000));
    sound(&mut gather, 0..44);
    pictures(&mut gather, 0..25);
    assert_eq!(gather.cut(Some(25 * 3600)).unwrap().audio.len(), 44);
    // Three frames late, of the second before.
    sound(&mut gather, 44..94);
    pictures(&mut gather, 25..50);
    let audio = gather.cut(None).unwrap().audio;
    assert_eq!(audio.len(), 50);
    assert!(audio.is_sorted_by(|a, b| a.dts < b.dts) && audio[3].dts <= 3 && audio[49].dts >= 46 * 1024);
}
