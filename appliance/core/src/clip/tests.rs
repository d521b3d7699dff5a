use super::*;
use proptest::prelude::*;

fn at(seconds: i64) -> UtcMillis {
    UtcMillis::from_millis(1_795_352_700_000 + seconds * 1000)
}

fn event(seconds: i64) -> EventId {
    EventId::from_parts(at(seconds), 7)
}

fn gate() -> CameraId {
    "gate".parse().unwrap()
}

fn book() -> ClipBook {
    ClipBook::new(ClipSettings::default(), vec![])
}

#[test]
fn events_that_follow_each_other_closely_share_the_clip_of_the_first() {
    let mut book = book();
    for second in [0, 4, 17] {
        assert_eq!(book.on_event(event(second), &gate(), at(second)), None);
    }
    book.on_event(event(1), &"yard".parse().unwrap(), at(1));
    let spans: Vec<_> = book.jobs().iter().map(|job| (job.camera_id.as_str(), job.start, job.end)).collect();
    assert_eq!(spans, [("gate", at(-5), at(27)), ("yard", at(-4), at(11))]);
    assert_eq!(book.jobs()[0].cause, ClipCause::Event { id: event(0), at: at(0) });
    assert_eq!(book.jobs()[0].id.as_str(), format!("c-{}", event(0)).to_ascii_lowercase());
}

#[test]
fn a_storm_of_events_becomes_clips_of_bounded_length_that_leave_nothing_out() {
    let mut book = book();
    for second in 0..600 {
        book.on_event(event(second), &gate(), at(second));
    }
    let jobs = book.jobs();
    assert!(jobs.len() < 8, "{}", jobs.len());
    assert!(jobs.iter().all(|job| job.end.since(job.start) <= Duration::from_secs(120)));
    assert!(jobs.windows(2).all(|pair| pair[1].start <= pair[0].end), "each second is in a clip");
    assert_eq!((jobs[0].start, jobs.last().unwrap().end), (at(-5), at(609)));
}

#[test]
fn a_clip_that_is_being_cut_takes_no_further_event() {
    let mut book = book();
    book.on_event(event(0), &gate(), at(0));
    let job = book.begin_next(at(30), |_| None).unwrap();
    book.on_event(event(5), &gate(), at(5));
    assert_eq!(book.jobs().len(), 2);
    assert_eq!(book.jobs()[0], job);
    book.end(&job.id);
    assert_eq!(book.jobs().len(), 1);
}

#[test]
fn a_clip_is_cut_when_its_footage_is_there_and_no_later_than_patience_allows() {
    let mut book = book();
    book.on_event(event(0), &gate(), at(0));
    assert_eq!(book.begin_next(at(10), |_| Some(at(9))), None);
    assert!(book.begin_next(at(10), |_| Some(at(10))).is_some());
    assert_eq!(book.begin_next(at(19), |_| None), None);
    assert!(book.begin_next(at(20), |_| None).is_some());
}

#[test]
fn what_was_asked_for_is_cut_first() {
    let mut book = book();
    book.on_event(event(0), &gate(), at(0));
    book.on_request(&"ask".parse().unwrap(), &gate(), at(1), 8_000, at(20)).unwrap();
    let first = book.begin_next(at(60), |_| None).unwrap();
    assert_eq!(first.cause, ClipCause::Command { id: "ask".parse().unwrap() });
    assert_eq!((first.id.as_str(), first.start, first.end), ("c-ask", at(1), at(9)));
}

#[test]
fn a_request_that_cannot_be_met_names_the_argument_and_a_repeated_one_waits_once() {
    let mut book = book();
    let mut ask = |start, duration| book.on_request(&"ask".parse().unwrap(), &gate(), at(start), duration, at(0));
    assert_eq!(ask(0, 0), Err(ClipRefusal::NoDuration));
    assert!(ask(0, 0).unwrap_err().to_string().starts_with("duration_ms: "));
    assert_eq!(ask(-7200, 1_800_001), Err(ClipRefusal::TooLong { asked: 1_800_001 }));
    assert_eq!(ask(0, u64::MAX), Err(ClipRefusal::TooLong { asked: u64::MAX }));
    assert!(ask(3600, 1000).unwrap_err().to_string().starts_with("start: "));
    assert_eq!((ask(1700, 60_000), ask(1700, 60_000)), (Ok(()), Ok(())));
    let long = "x".repeat(63).parse().unwrap();
    assert_eq!(book.on_request(&long, &gate(), at(0), 1, at(0)), Err(ClipRefusal::LongId));
    assert_eq!(book.jobs().len(), 1);
}

#[test]
fn when_too_many_wait_the_oldest_of_an_event_goes_and_requests_stay() {
    let mut book = book();
    for number in 0..MAX_JOBS - 1 {
        book.on_request(&format!("r{number}").parse().unwrap(), &gate(), at(0), 1, at(0)).unwrap();
    }
    book.on_event(event(0), &gate(), at(0));
    assert_eq!(book.on_request(&"more".parse().unwrap(), &gate(), at(0), 1, at(0)), Err(ClipRefusal::Full));
    let given_up = book.on_event(event(1000), &gate(), at(1000)).unwrap();
    assert_eq!(given_up.cause, ClipCause::Event { id: event(0), at: at(0) });
    assert_eq!(book.jobs().len(), MAX_JOBS);
}

proptest! {
    #[test]
    fn every_event_lies_in_a_clip_of_its_camera_and_jobs_survive_being_written(
        seconds in prop::collection::vec((0i64..5_000, 0usize..3), 1..100)
    ) {
        let mut book = book();
        let cameras: Vec<CameraId> = ["a", "b", "c"].map(|id| id.parse().unwrap()).to_vec();
        for &(second, camera) in &seconds {
            book.on_event(event(second), &cameras[camera], at(second));
        }
        for &(second, camera) in &seconds {
            let shown = |job: &&ClipJob| {
                job.camera_id == cameras[camera] && job.start <= at(second - 5) && job.end >= at(second + 10)
            };
            prop_assert!(book.jobs().iter().any(|job| shown(&job)));
        }
        let read: Vec<ClipJob> = serde_json::from_str(&serde_json::to_string(book.jobs()).unwrap()).unwrap();
        prop_assert_eq!(read, book.jobs());
    }
}
