//! One edge's hub in simulated time.

use std::sync::Arc;

use aivms_contract::relay::{FrameHeader, FrameKind, FromEdge, Role};
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn utc(seconds: i64) -> UtcMillis {
    UtcMillis::from_millis(1_795_352_700_000 + seconds * 1_000)
}

fn live(camera: &str) -> Wanted {
    Wanted { camera: camera.parse().unwrap(), view: View::Live, h265: false }
}

fn playback(from: i64) -> Wanted {
    let view = View::Playback { from: utc(from), key_frames_only: false };
    Wanted { camera: "gate".parse().unwrap(), view, h265: false }
}

fn opened(stream: u32, from: Option<UtcMillis>) -> FromEdge {
    FromEdge::Opened {
        stream,
        mime: "video/mp4; codecs=\"avc1.64001f\"".into(),
        width: 1280,
        height: 720,
        role: Role::Main,
        from,
        masked: false,
    }
}

fn header(kind: FrameKind, stream: u32, key: bool, number: u32) -> FrameHeader {
    let (wall, sent_at) = (utc(number.into()), utc(number.into()));
    FrameHeader { kind, key, stream, wall, sent_at, duration_ms: 1_000, media_ms: number }
}

fn send(hub: &mut Hub, header: &FrameHeader, bytes: usize, now: Duration) {
    hub.frame(header, &Arc::from(header.frame(&vec![0; bytes])), now);
}

fn fragment(hub: &mut Hub, stream: u32, key: bool, number: u32, now: Duration) {
    send(hub, &header(FrameKind::Fragment, stream, key, number), 1_000, now);
}

fn begin(hub: &mut Hub, stream: u32) {
    hub.text(&opened(stream, None), at(0));
    send(hub, &header(FrameKind::Init, stream, false, 0), 100, at(0));
}

/// What a viewer gets, in short: `o`pened, `i`nit, `e`nded, `d`ropped, or the number of a fragment.
fn taken(hub: &mut Hub, viewer: ViewerId) -> Vec<String> {
    std::iter::from_fn(|| hub.take_for_viewer(viewer))
        .map(|message| match message {
            ForViewer::Text(FromEdge::Opened { .. }) => "o".to_owned(),
            ForViewer::Text(FromEdge::Dropped { fragments, .. }) => format!("d{fragments}"),
            ForViewer::Text(FromEdge::Ended { reason, .. }) => format!("e {reason:?}"),
            ForViewer::Text(other) => format!("{other:?}"),
            ForViewer::Frame(frame) => match FrameHeader::read(&frame).unwrap().0 {
                FrameHeader { kind: FrameKind::Init, .. } => "i".to_owned(),
                FrameHeader { media_ms, .. } => media_ms.to_string(),
            },
        })
        .collect()
}

fn for_edge(hub: &mut Hub) -> Vec<ToEdge> {
    std::iter::from_fn(|| hub.take_for_edge()).collect()
}

fn connected() -> Hub {
    let mut hub = Hub::default();
    hub.connected(at(0));
    hub
}

#[test]
fn a_camera_comes_up_once_however_many_watch_and_ends_when_the_last_has_gone() {
    let mut hub = connected();
    let viewers: Vec<_> = (0..3).map(|_| hub.join(&live("gate"), at(0)).unwrap()).collect();
    let asked = for_edge(&mut hub);
    assert!(matches!(asked[..], [ToEdge::Open { stream: 1, view: View::Live, .. }]), "{asked:?}");
    begin(&mut hub, 1);
    fragment(&mut hub, 1, true, 1, at(1));
    for viewer in &viewers {
        assert_eq!(taken(&mut hub, *viewer), ["o", "i", "1"]);
    }
    viewers.iter().for_each(|viewer| hub.leave(*viewer, at(2)));
    hub.tick(at(2));
    assert_eq!(for_edge(&mut hub), [], "whoever comes back soon has a picture at once");
    assert_eq!(hub.next_deadline(), Some(at(2) + GRACE));
    hub.tick(at(2) + GRACE);
    assert_eq!(for_edge(&mut hub), [ToEdge::Close { stream: 1 }]);
    assert_eq!((hub.streams(), hub.viewers(), hub.next_deadline()), (0, 0, None));
}

#[test]
fn a_late_viewer_begins_with_the_last_key_picture() {
    let mut hub = connected();
    hub.join(&live("gate"), at(0)).unwrap();
    begin(&mut hub, 1);
    for (number, key) in [(1, true), (2, false), (3, true), (4, false)] {
        fragment(&mut hub, 1, key, number, at(1));
    }
    let late = hub.join(&live("gate"), at(2)).unwrap();
    fragment(&mut hub, 1, false, 5, at(2));
    assert_eq!(taken(&mut hub, late), ["o", "i", "3", "4", "5"]);
}

#[test]
fn a_slow_viewer_goes_on_at_a_key_picture_and_no_other_loses_anything() {
    let mut hub = connected();
    let [fast, slow] = [0, 1].map(|_| hub.join(&live("gate"), at(0)).unwrap());
    begin(&mut hub, 1);
    let mut seen = Vec::new();
    for number in 0..12 {
        fragment(&mut hub, 1, number % 5 == 0, number, SECOND * number);
        seen.extend(taken(&mut hub, fast));
    }
    assert_eq!(seen[2..], (0..12).map(|number| number.to_string()).collect::<Vec<_>>());
    let got = taken(&mut hub, slow);
    assert_eq!(got, ["o", "i", "d5", "d5", "10", "11"], "three seconds wait at most, then a key picture");
}

#[test]
fn a_viewer_that_never_catches_up_is_sent_away_with_a_reason() {
    let mut hub = connected();
    let slow = hub.join(&live("gate"), at(0)).unwrap();
    begin(&mut hub, 1);
    for number in 0..40 {
        fragment(&mut hub, 1, true, number, SECOND * number);
        hub.tick(SECOND * number);
    }
    assert_eq!(taken(&mut hub, slow), ["e TooSlow"]);
    assert_eq!(hub.streams(), 0, "nobody else looks");
}

#[test]
fn an_edge_is_called_while_it_is_needed_and_those_who_wait_are_told_when_it_does_not_come() {
    let mut hub = Hub::default();
    let viewer = hub.join(&live("gate"), at(0)).unwrap();
    let request = hub.ask(&Ask::Cameras, at(0)).unwrap();
    let mut calls = 0;
    while let Some(due) = hub.next_deadline() {
        hub.tick(due);
        calls += u32::from(hub.take_call());
    }
    assert_eq!(calls, 4 + 1, "at once and every five seconds for twenty");
    assert_eq!(taken(&mut hub, viewer), ["e EdgeAway"]);
    assert_eq!(hub.take_answer(), Some((request, Answer::EdgeAway)));
    hub.leave(viewer, at(30));
    assert!(hub.is_idle());
}

#[test]
fn streams_and_questions_survive_a_new_connection_of_the_edge() {
    let mut hub = connected();
    let (watching, playing) = (hub.join(&live("gate"), at(0)).unwrap(), hub.join(&playback(0), at(0)).unwrap());
    let request = hub.ask(&Ask::Cameras, at(0)).unwrap();
    hub.credit(playing, 8);
    for_edge(&mut hub);
    begin(&mut hub, 1);
    hub.text(&opened(2, Some(utc(0))), at(0));
    fragment(&mut hub, 2, true, 7, at(1));
    hub.disconnected(at(2));
    hub.tick(at(2));
    assert!(hub.take_call());
    hub.connected(at(3));
    let asked = for_edge(&mut hub);
    let resumed = View::Playback { from: utc(8), key_frames_only: false };
    assert!(matches!(&asked[0], ToEdge::Open { stream: 1, view: View::Live, .. }));
    assert!(matches!(&asked[1], ToEdge::Open { stream: 2, view, .. } if *view == resumed), "{asked:?}");
    assert_eq!(asked[2..], [ToEdge::Credit { stream: 2, fragments: 7 }, ToEdge::Cameras { request }]);
    begin(&mut hub, 1);
    assert_eq!(taken(&mut hub, watching), ["o", "i", "o", "i"]);
}

#[test]
fn after_a_seek_nothing_of_the_time_before_arrives() {
    let mut hub = connected();
    let viewer = hub.join(&playback(0), at(0)).unwrap();
    hub.credit(viewer, 4);
    hub.text(&opened(1, Some(utc(0))), at(0));
    fragment(&mut hub, 1, true, 1, at(0));
    hub.seek(viewer, utc(100), false);
    hub.seek(viewer, utc(200), false);
    hub.credit(viewer, 1_000);
    hub.credit(viewer, 1_000);
    let asked = for_edge(&mut hub);
    let seek = ToEdge::Seek { stream: 1, from: utc(200), key_frames_only: false };
    assert_eq!(asked[1..], [seek, ToEdge::Credit { stream: 1, fragments: MAX_CREDIT }], "the last counts");
    fragment(&mut hub, 1, false, 2, at(0));
    hub.text(&opened(1, Some(utc(100))), at(0));
    fragment(&mut hub, 1, true, 100, at(0));
    hub.text(&opened(1, Some(utc(200))), at(0));
    send(&mut hub, &header(FrameKind::Init, 1, false, 0), 100, at(0));
    fragment(&mut hub, 1, true, 200, at(0));
    assert_eq!(taken(&mut hub, viewer), ["o", "o", "i", "200"]);
}

#[test]
fn questions_have_one_answer_and_a_forgotten_one_has_none() {
    let mut hub = connected();
    let [first, second] = [0, 1].map(|_| hub.ask(&Ask::Cameras, at(0)).unwrap());
    hub.forget(second);
    assert_eq!(for_edge(&mut hub), [ToEdge::Cameras { request: first }]);
    for request in [second, first, first] {
        hub.text(&FromEdge::Cameras { request, cameras: Vec::new() }, at(1));
    }
    assert!(matches!(hub.take_answer(), Some((request, Answer::Text(_))) if request == first));
    assert_eq!(hub.take_answer(), None);
}

#[test]
fn a_viewer_who_plays_h265_shares_what_is_there_and_gives_nobody_else_what_they_can_not_play() {
    let mut hub = connected();
    let modern = Wanted { h265: true, ..live("gate") };
    hub.join(&modern, at(0)).unwrap();
    hub.join(&live("gate"), at(0)).unwrap();
    assert_eq!(hub.streams(), 2);
    hub.join(&modern, at(0)).unwrap();
    assert_eq!(hub.streams(), 2);
}

#[test]
fn an_edge_that_begins_anew_without_end_never_fills_the_memory() {
    for (wanted, limit) in [(live("gate"), 24), (playback(0), 64)] {
        let mut hub = connected();
        let viewer = hub.join(&wanted, at(0)).unwrap();
        hub.text(&opened(1, Some(utc(0))), at(0));
        for _ in 0..2_000 {
            send(&mut hub, &header(FrameKind::Init, 1, false, 0), 60_000, at(0));
            assert!(hub.viewers[&viewer].bytes() <= (limit + 1) * 1024 * 1024);
        }
        assert_eq!(taken(&mut hub, viewer), ["e TooSlow"]);
    }
}

#[test]
fn frames_without_content_count_too() {
    let mut hub = connected();
    let viewer = hub.join(&live("gate"), at(0)).unwrap();
    hub.text(&opened(1, None), at(0));
    for _ in 0..200_000 {
        send(&mut hub, &header(FrameKind::Init, 1, false, 0), 0, at(0));
    }
    assert_eq!(taken(&mut hub, viewer), ["e TooSlow"]);
}

#[test]
fn a_stream_that_begins_with_more_than_any_camera_does_is_closed() {
    let mut hub = connected();
    let viewers = [(); 2].map(|()| hub.join(&live("gate"), at(0)).unwrap());
    let playing = hub.join(&playback(0), at(0)).unwrap();
    for_edge(&mut hub);
    hub.text(&opened(1, None), at(0));
    send(&mut hub, &header(FrameKind::Init, 1, false, 0), MAX_INIT_BYTES, at(0));
    let FromEdge::Opened { stream, width, height, role, from, masked, .. } = opened(2, Some(utc(0))) else { return };
    let mime = "x".repeat(MAX_MIME_BYTES + 1);
    hub.text(&FromEdge::Opened { stream, mime, width, height, role, from, masked }, at(0));
    for viewer in viewers.into_iter().chain([playing]) {
        assert_eq!(taken(&mut hub, viewer), ["e Failed"]);
        hub.leave(viewer, at(1));
    }
    assert_eq!(for_edge(&mut hub), [ToEdge::Close { stream: 1 }, ToEdge::Close { stream: 2 }]);
    assert_eq!((hub.streams(), hub.viewers()), (0, 0));
}

#[test]
fn an_edge_that_sends_far_more_than_it_was_asked_for_is_stopped() {
    let mut hub = connected();
    let viewer = hub.join(&playback(0), at(0)).unwrap();
    hub.credit(viewer, 2);
    hub.text(&opened(1, Some(utc(0))), at(0));
    let seen = (0..100).flat_map(|number| {
        fragment(&mut hub, 1, true, number, at(0));
        taken(&mut hub, viewer)
    });
    let seen: Vec<_> = seen.collect();
    assert_eq!(seen.len(), 1 + 2 + 2 * 16 + 1, "what a seek may have overtaken is let through");
    assert_eq!(seen.last().map(String::as_str), Some("e Failed"));
}

#[test]
fn a_seek_twice_to_the_same_time_plays_on() {
    let mut hub = connected();
    let viewer = hub.join(&playback(0), at(0)).unwrap();
    for _ in 0..2 {
        hub.seek(viewer, utc(200), false);
        hub.credit(viewer, MAX_CREDIT);
    }
    for _ in 0..2 {
        hub.text(&opened(1, Some(utc(200))), at(0));
        (200..200 + MAX_CREDIT).for_each(|number| fragment(&mut hub, 1, true, number, at(0)));
    }
    assert_eq!(taken(&mut hub, viewer).len(), 2 + 2 * 16);
}

#[test]
fn what_waits_for_all_who_play_back_is_bounded() {
    let mut hub = connected();
    let viewers: Vec<_> = (0..12).map(|_| hub.join(&playback(0), at(0)).unwrap()).collect();
    for (stream, viewer) in (1..).zip(&viewers) {
        hub.credit(*viewer, MAX_CREDIT);
        hub.text(&opened(stream, Some(utc(0))), at(0));
        for number in 0..6 {
            send(&mut hub, &header(FrameKind::Fragment, stream, true, number), 5_000_000, at(0));
            let waiting: usize = hub.viewers.values().map(Viewer::bytes).sum();
            assert!(waiting <= MAX_ALL_PLAYBACK_BYTES, "{waiting}");
        }
    }
    let away = viewers.iter().filter(|viewer| taken(&mut hub, **viewer) == ["e TooSlow"]).count();
    assert!((1..12).contains(&away), "{away}");
}

#[test]
fn a_reason_too_long_to_be_one_is_left_out() {
    let mut hub = connected();
    let viewer = hub.join(&live("gate"), at(0)).unwrap();
    let detail = "x".repeat(MAX_DETAIL_BYTES + 1);
    hub.text(&FromEdge::Ended { stream: 1, reason: EndReason::NoVideo, detail }, at(0));
    let ended = FromEdge::Ended { stream: 1, reason: EndReason::NoVideo, detail: String::new() };
    assert_eq!(hub.take_for_viewer(viewer), Some(ForViewer::Text(ended)));
}

#[derive(Debug, Clone)]
enum Step {
    Join(bool),
    Leave(usize),
    Take(usize),
    Seek(usize, i64),
    Credit(usize, u32),
    Fragment { stream: u32, key: bool, bytes: usize },
    Begin(u32),
    Ended(u32),
    Connection(bool),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<bool>().prop_map(Step::Join),
        (0usize..8).prop_map(Step::Leave),
        (0usize..8).prop_map(Step::Take),
        (0usize..8, 0i64..100).prop_map(|(viewer, from)| Step::Seek(viewer, from)),
        (0usize..8, any::<u32>()).prop_map(|(viewer, fragments)| Step::Credit(viewer, fragments)),
        (1u32..12, any::<bool>(), 0usize..3_000_000).prop_map(|(stream, key, bytes)| Step::Fragment {
            stream,
            key,
            bytes
        }),
        (1u32..12).prop_map(Step::Begin),
        (1u32..12).prop_map(Step::Ended),
        any::<bool>().prop_map(Step::Connection),
        (1u64..8_000).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_bounds_hold_and_nothing_is_asked_for_once_nobody_looks(steps in steps()) {
        let (mut hub, mut now, mut viewers) = (Hub::default(), Duration::ZERO, Vec::new());
        for (number, step) in (0u32..).zip(steps) {
            let of = |place: usize| viewers.get(place).copied().unwrap_or(ViewerId(0));
            match step {
                Step::Join(is_live) => {
                    viewers.extend(hub.join(&if is_live { live("gate") } else { playback(0) }, now));
                }
                Step::Leave(place) => hub.leave(of(place), now),
                Step::Take(place) => drop(taken(&mut hub, of(place))),
                Step::Seek(place, from) => hub.seek(of(place), utc(from), false),
                Step::Credit(place, fragments) => hub.credit(of(place), fragments),
                Step::Fragment { stream, key, bytes } => {
                    send(&mut hub, &header(FrameKind::Fragment, stream, key, number), bytes, now);
                }
                Step::Begin(stream) => {
                    hub.text(&opened(stream, Some(utc(0))), now);
                    send(&mut hub, &header(FrameKind::Init, stream, false, 0), 500, now);
                }
                Step::Ended(stream) => {
                    hub.text(&FromEdge::Ended { stream, reason: EndReason::NoVideo, detail: String::new() }, now);
                }
                Step::Connection(true) => hub.connected(now),
                Step::Connection(false) => hub.disconnected(now),
                Step::Wait(millis) => now += Duration::from_millis(millis),
            }
            if hub.next_deadline().is_some_and(|due| due <= now) {
                hub.tick(now);
            }
            prop_assert!(hub.streams() <= MAX_STREAMS && hub.viewers() <= MAX_VIEWERS);
            prop_assert!(hub.for_edge.len() <= 3 * MAX_STREAMS + MAX_REQUESTS + 120);
            prop_assert!(hub.viewers.values().all(|viewer| viewer.bytes() <= 68 * 1024 * 1024));
        }
        viewers.into_iter().for_each(|viewer| hub.leave(viewer, now));
        now += GRACE;
        hub.tick(now);
        prop_assert_eq!(hub.streams(), 0);
        prop_assert_eq!(hub.next_deadline(), None);
    }
}
