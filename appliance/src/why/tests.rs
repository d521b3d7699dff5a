//! Reasons on real files: kept, bounded, deleted, damaged, read while written, and told.

use std::os::unix::fs::symlink;
use std::path::Path;

use aivms_appliance_core::schedule::SiteZone;
use aivms_contract::time::UtcMillis;
use aivms_contract::why::{Check, Gate};
use aivms_contract::zone_event::ZoneEventType;
use tempfile::TempDir;

use super::*;
use crate::config;
use crate::testing::eventually;

const DAY: config::Why = config::Why { keep: Duration::from_secs(86_400), max_bytes: 64 << 20 };
const HOUR: Duration = Duration::from_secs(3600);

fn at(text: &str) -> UtcMillis {
    text.parse().unwrap()
}

fn noon() -> UtcMillis {
    at("2026-11-22T12:00:00Z")
}

fn check(gate: Gate, passed: bool, value: Option<f64>, limit: Option<f64>) -> Check {
    Check { gate, passed, value, limit }
}

/// A person who did not enter the yard, because of `why`.
fn stopped(at: UtcMillis, why: Check) -> Decision {
    Decision {
        at,
        camera_id: "gate".parse().unwrap(),
        zone_id: Some("yard".parse().unwrap()),
        track_id: "gate-k3-7".parse().unwrap(),
        object_class: "person".to_owned(),
        event_type: ZoneEventType::Enter,
        made: false,
        why: vec![check(Gate::Class, true, None, None), why],
    }
}

fn debounced(at: UtcMillis) -> Decision {
    stopped(at, check(Gate::Debounce, false, Some(200.0), Some(400.0)))
}

fn everything() -> Question {
    Question { camera: None, zone: None, track: None, from: at("2000-01-01T00:00:00Z"), to: at("2100-01-01T00:00:00Z") }
}

fn kept(dir: &Path) -> Vec<Decision> {
    read(dir, &everything()).unwrap().decisions
}

fn files(dir: &Path) -> Vec<(String, u64)> {
    store::list(&store::folder(dir)).unwrap().into_iter().map(|(name, bytes)| (name.to_string(), bytes)).collect()
}

#[test]
fn decisions_are_read_back_as_they_were_written_over_hours_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let decisions: Vec<_> = (0..6).map(|half| debounced(noon() + HOUR / 2 * half)).collect();
    for decision in &decisions {
        WhyStore::new(dir.path(), DAY).append(std::slice::from_ref(decision), decision.at).unwrap();
    }
    assert_eq!(kept(dir.path()), decisions);
    let names: Vec<_> = files(dir.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["12", "13", "14"].map(|hour| format!("2026-11-22T{hour}_00000.jsonl")));
    assert_eq!(read(dir.path(), &everything()).unwrap().kept_since, Some(noon()));
}

#[test]
fn a_question_is_answered_by_camera_zone_track_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut masked = stopped(noon() + HOUR, check(Gate::Mask, false, None, None));
    masked.zone_id = None;
    let mut elsewhere = debounced(noon());
    elsewhere.zone_id = Some("road".parse().unwrap());
    let mut other = debounced(noon());
    (other.camera_id, other.track_id) = ("lobby".parse().unwrap(), "lobby-1".parse().unwrap());
    // Out of order on the disk, as those of two cameras can be.
    let all = [masked.clone(), elsewhere.clone(), other.clone(), debounced(noon())];
    WhyStore::new(dir.path(), DAY).append(&all, noon()).unwrap();
    let ask = |question| read(dir.path(), &question).unwrap().decisions;
    let gate = Question { camera: "gate".parse().ok(), ..everything() };
    assert_eq!(ask(gate), [elsewhere, debounced(noon()), masked.clone()]);
    // What stopped it before any zone speaks for each of them.
    assert_eq!(
        ask(Question { zone: "yard".parse().ok(), ..everything() }),
        [other.clone(), debounced(noon()), masked.clone()]
    );
    assert_eq!(ask(Question { track: "lobby-1".parse().ok(), ..everything() }), [other]);
    assert_eq!(ask(Question { from: noon() + HOUR, ..everything() }), [masked]);
    assert!(ask(Question { to: at("2026-11-22T11:59:59.999Z"), ..everything() }).is_empty());
}

#[test]
fn what_is_too_old_goes_and_a_start_with_an_unset_clock_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = WhyStore::new(dir.path(), config::Why { keep: HOUR * 2, ..DAY });
    for hour in 0..5 {
        store.append(&[debounced(noon() + HOUR * hour)], noon() + HOUR * hour).unwrap();
    }
    assert_eq!(kept(dir.path()).len(), 3, "those of this hour and of two whole ones before");
    // Nothing new has to be decided for that.
    store.append(&[], noon() + HOUR * 6).unwrap();
    assert_eq!(kept(dir.path()), [debounced(noon() + HOUR * 4)]);
    store.append(&[], at("1970-01-01T00:00:01Z")).unwrap();
    assert_eq!(kept(dir.path()), [debounced(noon() + HOUR * 4)]);
    let ahead = at("2038-01-01T00:00:00Z");
    store.append(&[debounced(ahead)], ahead).unwrap();
    store.append(&[debounced(noon())], noon()).unwrap();
    assert_eq!(kept(dir.path()), [debounced(noon()), debounced(ahead)]);
    // Files of others are left alone.
    std::fs::write(store::folder(dir.path()).join("notes.txt"), "mine").unwrap();
    WhyStore::new(dir.path(), config::Why { keep: Duration::ZERO, ..DAY })
        .append(&[debounced(noon())], noon())
        .unwrap();
    assert!(files(dir.path()).is_empty() && store::folder(dir.path()).join("notes.txt").exists());
}

#[test]
fn the_files_never_take_more_than_allowed_and_the_newest_reasons_stay() {
    const MOST: u64 = 256 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let mut store = WhyStore::new(dir.path(), config::Why { max_bytes: MOST, ..DAY });
    let decision = |i: u32| debounced(noon() + Duration::from_millis(u64::from(i)));
    for batch in 0..200 {
        let decisions: Vec<_> = (0..20).map(|i| decision(batch * 20 + i)).collect();
        store.append(&decisions, noon()).unwrap();
        let used: u64 = files(dir.path()).into_iter().map(|(_, bytes)| bytes).sum();
        assert!(used <= MOST, "{used}");
    }
    let kept = kept(dir.path());
    assert!(kept.len() > 500 && files(dir.path()).len() > 10, "deleting the oldest file leaves most of the rest");
    let first = 4000 - u32::try_from(kept.len()).unwrap();
    assert_eq!(kept, (first..4000).map(decision).collect::<Vec<_>>(), "the latest, without a gap");
    // More at once than is allowed in all is lost, and the next ones are kept.
    let flood: Vec<_> = (0..4000).map(decision).collect();
    store.append(&flood, noon()).unwrap_err();
    store.append(&[decision(1)], noon()).unwrap();
}

#[test]
fn a_line_torn_by_a_crash_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = [debounced(noon()), debounced(noon() + HOUR / 60)];
    WhyStore::new(dir.path(), DAY).append(std::slice::from_ref(&first), noon()).unwrap();
    let path = store::folder(dir.path()).join(&files(dir.path())[0].0);
    let whole = std::fs::read(&path).unwrap();
    for cut in 1..whole.len() {
        std::fs::write(&path, [&whole[..], &whole[..cut]].concat()).unwrap();
        WhyStore::new(dir.path(), DAY).append(std::slice::from_ref(&second), noon()).unwrap();
        let found = read(dir.path(), &everything()).unwrap();
        // A line that lacks nothing but its end is one.
        let torn = u64::from(cut < whole.len() - 1);
        assert_eq!(found.unreadable, torn, "cut at {cut}");
        assert_eq!(found.decisions.first().zip(found.decisions.last()), Some((&first, &second)), "cut at {cut}");
    }
    std::fs::write(&path, b"\xff\xfe nonsense\n\n{}\n").unwrap();
    assert_eq!(read(dir.path(), &everything()).unwrap().unreadable, 3);
}

/// A sink, and the task that writes what it takes.
fn running(dir: &TempDir) -> (WhySink, tokio::task::JoinHandle<()>) {
    let (sink, noted) = channel();
    (sink, tokio::spawn(keep(noted, WhyStore::new(dir.path(), DAY))))
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_what_became_none_are_kept_and_read_while_the_appliance_writes() {
    let dir = tempfile::tempdir().unwrap();
    let (sink, task) = running(&dir);
    let now = clock::now();
    let golden = include_str!("../../../bindings/contract/tests/golden/v1-zone-events-enter-why.json");
    let body = aivms_contract::envelope::Envelope::from_json(golden.as_bytes()).unwrap().body;
    let Body::ZoneEvents(event) = body else { panic!("not a zone event") };
    let event = aivms_contract::zone_event::ZoneEvent { timestamp: now, ..event };
    sink.note(&[Body::ZoneEvents(event.clone())], vec![debounced(now)]);
    eventually("both are on the disk", || kept(dir.path()).len() == 2).await;
    let [made, not_made] = &kept(dir.path())[..] else { panic!() };
    assert_eq!((made.made, &made.why, not_made), (true, &event.why, &debounced(now)));
    drop(sink);
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_broken_disk_costs_reasons_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let folder = store::folder(dir.path());
    let now = clock::now();
    // A file where the folder should be: nothing can be written.
    std::fs::write(&folder, "in the way").unwrap();
    let (sink, task) = running(&dir);
    for _ in 0..10 {
        sink.note(&[], vec![debounced(now)]);
        tokio::task::yield_now().await;
    }
    std::fs::remove_file(&folder).unwrap();
    // From here on they are kept again, without anybody's help.
    eventually("reasons are kept again", || {
        sink.note(&[], vec![debounced(now)]);
        !kept(dir.path()).is_empty()
    })
    .await;
    drop(sink);
    task.await.unwrap();
}

#[test]
fn on_a_full_disk_the_write_fails_and_the_next_one_is_whole_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = store::folder(dir.path());
    std::fs::create_dir_all(&folder).unwrap();
    let name = folder.join("2026-11-22T12_00000.jsonl");
    symlink("/dev/full", &name).unwrap();
    let mut store = WhyStore::new(dir.path(), DAY);
    let error = store.append(&[debounced(noon())], noon()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
    std::fs::remove_file(&name).unwrap();
    store.append(&[debounced(noon())], noon()).unwrap();
    assert_eq!(kept(dir.path()), [debounced(noon())]);
}

#[test]
fn the_last_room_of_a_disk_is_left_to_the_outbox() {
    let dir = tempfile::tempdir().unwrap();
    WhyStore::new(dir.path(), DAY).append(&[debounced(noon())], noon()).unwrap();
    let mut store = WhyStore::new(dir.path(), DAY).leaving_free(u64::MAX);
    assert_eq!(store.append(&[debounced(noon())], noon()).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert!(kept(dir.path()).is_empty(), "the old ones made room too");
}

#[test]
fn a_sink_never_waits_and_counts_what_it_drops() {
    let (sink, noted) = channel();
    for _ in 0..WAITING + 7 {
        sink.note(&[], vec![debounced(noon())]);
    }
    assert_eq!(noted.dropped.load(Ordering::Relaxed), 7);
    WhySink::default().note(&[], vec![debounced(noon())]);
}

#[test]
fn each_gate_has_its_words() {
    let said = |gate, value, limit| sentence(&stopped(noon(), check(gate, false, value, limit)));
    let cases = [
        (Gate::Class, None, None, "person is not asked for"),
        (Gate::Confidence, Some(0.41), Some(0.6), "confidence 0.41, at least 0.6 asked for"),
        (Gate::Confidence, Some(0.6957), Some(0.7), "confidence 0.696, at least 0.7 asked for"),
        (Gate::MinArea, Some(0.001), Some(0.002), "covers 0.1 % of the frame, at least 0.2 asked for"),
        (Gate::MaxArea, Some(0.6), Some(0.5), "covers 60 % of the frame, at most 50 asked for"),
        (Gate::MinAspect, Some(0.1), Some(0.2), "width is 0.1 times the height, at least 0.2 asked for"),
        (Gate::MaxAspect, Some(3.0), Some(1.5), "width is 3 times the height, at most 1.5 asked for"),
        (Gate::Mask, None, None, "stands in a mask"),
        (Gate::Overlap, Some(0.12), Some(0.25), "overlaps by 12 % of its box, at least 25 asked for"),
        (Gate::Schedule, None, None, "outside the schedule"),
        (Gate::Debounce, Some(200.0), Some(400.0), "debounce held 200 of 400 ms"),
        (Gate::Direction, None, None, "went the way that is not asked for"),
        (Gate::Dwell, Some(8_200.0), Some(10_000.0), "was inside for 8.2 of 10 s"),
        (Gate::Speed, Some(2.1), Some(2.5), "speed 2.1 km/h, at least 2.5 asked for"),
        (Gate::Occupancy, Some(2.0), Some(3.0), "2 inside, at least 3 asked for"),
        (Gate::Stationary, None, None, "is at rest and was told of before"),
    ];
    for (gate, value, limit, words) in cases {
        assert_eq!(said(gate, value, limit), format!("gate/yard: person gate-k3-7 did not enter: {words}"));
    }
    let mut made = stopped(noon(), check(Gate::Debounce, true, Some(440.0), Some(400.0)));
    made.made = true;
    assert_eq!(sentence(&made), "gate/yard: person gate-k3-7 entered: debounce held 440 of 400 ms");
    (made.why, made.event_type, made.zone_id) = (vec![], ZoneEventType::Exit, None);
    assert_eq!(sentence(&made), "gate: person gate-k3-7 left");
}

/// What the rules of a camera decide about a person who walks in at `begin` and stands there for four seconds, told.
fn walk_in(dir: &TempDir, rules: serde_json::Value, begin: UtcMillis) -> String {
    use aivms_appliance_core::analysis::{AnalysisSettings, CameraAnalysis};
    use aivms_appliance_core::detection::{FrameDetections, Tracked};
    use aivms_appliance_core::rules::CameraRules;
    use aivms_contract::geometry::{FrameSize, PixelBox};
    use aivms_contract::time::{MediaClock, MediaTime};

    let camera = serde_json::from_value(rules).unwrap();
    let labels = vec!["person".to_owned()];
    let rules = CameraRules::of(&camera, &berlin());
    let session = "k3".parse().unwrap();
    let mut analysis = CameraAnalysis::new(camera.id, &session, labels, &rules, AnalysisSettings::for_rate(5.0));
    let (sink, mut noted) = channel();
    for i in 0..30u64 {
        let x = if i < 10 { 10.0 } else { 60.0 };
        let object =
            Tracked { track: 7, class: 0, confidence: 0.55, bbox: PixelBox::new(x, 40.0, x + 10.0, 70.0).unwrap() };
        let frame = FrameDetections {
            pts: MediaTime::from_millis(i * 200),
            frame: FrameSize { width: 100, height: 100 },
            objects: vec![object],
        };
        let findings = analysis.on_frame(&frame, &MediaClock { zero_at: begin });
        sink.note(&findings.bodies, findings.decisions);
    }
    let findings = analysis.on_end();
    sink.note(&findings.bodies, findings.decisions);
    drop(sink);
    let mut decisions = vec![];
    while let Ok(decision) = noted.receiver.try_recv() {
        decisions.push(decision);
    }
    WhyStore::new(dir.path(), DAY).append(&decisions, begin).unwrap();
    let now = begin + Duration::from_secs(30);
    answer(dir.path(), &Ask { since: "1m".parse().ok(), ..Ask::default() }, &berlin(), now).unwrap()
}

#[test]
fn one_asks_why_a_person_was_or_was_not_told_of_and_hears_it_as_frigate_notify_108_and_scrypted_1725_ask() {
    let zone = |more: serde_json::Value| {
        let mut zone = serde_json::json!({"id": "yard", "polygon": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]});
        zone.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::json!({"id": "gate", "url": "rtsp://h/1", "zones": [zone]})
    };
    let told = |rules, begin| walk_in(&tempfile::tempdir().unwrap(), rules, at(begin));
    let night = serde_json::json!({"schedule": [{"from": "22:00", "to": "06:00"}]});
    // The night of nine hours: 05:30 winter time is the ninth, and belongs to the watch.
    let ninth = told(zone(night.clone()), "2026-10-25T04:30:00Z");
    assert!(ninth.starts_with("2026-10-25 (Europe/Berlin, UTC+01:00)\n05:30:0"), "{ninth}");
    assert!(ninth.contains(" entered: debounce held"), "{ninth}");
    let day = told(zone(night), "2026-10-25T05:30:00Z");
    assert!(day.contains("06:30:0") && day.contains("did not enter: outside the schedule"), "{day}");
    let unsure = told(zone(serde_json::json!({"filters": [{"min_confidence": 0.6}]})), "2026-10-25T05:30:00Z");
    assert!(unsure.contains("did not enter: confidence 0.55, at least 0.6 asked for"), "{unsure}");
    let brief = told(zone(serde_json::json!({"debounce_ms": 60_000})), "2026-10-25T05:30:00Z");
    assert!(!brief.contains(" entered"), "{brief}");
    let mut masked = zone(serde_json::json!({}));
    masked["masks"] = serde_json::json!([{"polygon": [[0, 0], [1, 0], [1, 1], [0, 1]]}]);
    let masked = told(masked, "2026-10-25T05:30:00Z");
    assert!(masked.contains("gate: person") && masked.contains("stands in a mask"), "{masked}");
}

fn berlin() -> SiteZone {
    SiteZone::of(Some(&"Europe/Berlin".to_owned().try_into().unwrap())).unwrap()
}

#[test]
fn the_answer_is_told_on_the_sites_clock_also_in_the_hour_that_comes_twice() {
    let dir = tempfile::tempdir().unwrap();
    let times = ["2026-10-25T00:30:11.250Z", "2026-10-25T01:30:11.250Z"].map(at);
    WhyStore::new(dir.path(), DAY).append(&times.map(debounced), times[1]).unwrap();
    let ask = Ask { since: "2h".parse().ok(), ..Ask::default() };
    let line = "02:30:11 gate/yard: person gate-k3-7 did not enter: debounce held 200 of 400 ms\n";
    let expected =
        format!("2026-10-25 (Europe/Berlin, UTC+02:00)\n{line}2026-10-25 (Europe/Berlin, UTC+01:00)\n{line}");
    assert_eq!(answer(dir.path(), &ask, &berlin(), times[1]).unwrap(), expected);
    let json = answer(dir.path(), &Ask { json: true, ..ask }, &berlin(), times[1]).unwrap();
    let read: Vec<Decision> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, times.map(debounced));
}

#[test]
fn a_moment_is_found_however_it_is_said_and_nothing_found_says_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let happened = at("2026-11-22T13:03:11.250Z");
    let now = at("2026-11-23T10:00:00Z");
    WhyStore::new(dir.path(), DAY).append(&[debounced(happened)], happened).unwrap();
    let ask = |time: &str| Ask { at: Some(time.parse().unwrap()), ..Ask::default() };
    let told = |ask: &Ask| answer(dir.path(), ask, &berlin(), now).unwrap();
    for time in ["14:03", "14:03:11", "2026-11-22T14:03", "2026-11-22T13:03:30Z", "2026-11-22T14:03:30+01:00"] {
        assert!(told(&ask(time)).contains("14:03:11 gate/yard"), "{time}: {}", told(&ask(time)));
    }
    let none = told(&ask("15:03"));
    assert!(none.contains("2026-11-22 15:02:00 to 2026-11-22 15:04:00 (Europe/Berlin)"), "{none}");
    assert!(none.contains("kept since 2026-11-22 14:00:00"), "{none}");
    let empty = tempfile::tempdir().unwrap();
    assert!(answer(empty.path(), &Ask::default(), &berlin(), now).unwrap().contains("no reasons are kept yet"));
}

#[test]
fn a_time_that_is_none_is_refused_with_the_forms_that_are() {
    for wrong in ["", "h", "2", "2x", "-2h", "2.5h", "99999999999h", "ü"] {
        assert!(wrong.parse::<Span>().unwrap_err().contains("2h"), "{wrong}");
    }
    for wrong in ["", "25:00", "noon", "2026-13-01T00:00", "14:3"] {
        assert!(wrong.parse::<Time>().unwrap_err().contains("14:03"), "{wrong}");
    }
}
