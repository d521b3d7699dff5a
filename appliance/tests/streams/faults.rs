//! Every fault of a camera that must be survived, on both clients, all at the same time beside a camera without any.
//!
//! The times allowed are those stated in `docs/ref/cameras.md`; what a loaded machine needs beyond them is `SLACK`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance::clock;
use aivms_appliance::pipeline::camera::CameraHandle;
use aivms_appliance::pipeline::consumer::{StreamConsumer, StreamEnd};
use aivms_appliance_core::supervise::Failure;
use aivms_contract::footage::{Gap, GapCause};
use aivms_contract::time::UtcMillis;
use aivms_rig::{Clip, ClipSpec, Mount, TestCamera, Wire};
use serde_json::Value;

use crate::clips::{CLIENTS, camera, clip, missing, pictures, server};
use crate::consumer::{Counting, eventually};
use crate::files::{Recordings, pictures_in};
use crate::spawn_feeding;

/// Time that a loaded machine may take beyond what is stated.
const SLACK: Duration = Duration::from_secs(10);
/// How far the ends of a gap may lie from the moments at which a test makes and ends its fault: a fragment, and what
/// is on its way through client and recorder.
const MARGIN: Duration = Duration::from_secs(2);

/// One camera with its fault.
struct Case {
    name: String,
    counting: Arc<Counting>,
    handle: CameraHandle,
}

/// Starts a camera that is counted and recorded, and whose gaps are entered in the ledger.
fn record(camera: Value, recordings: &Recordings) -> Case {
    let (name, counting) = (camera["id"].as_str().unwrap().to_owned(), Arc::new(Counting::default()));
    let consumers: Vec<Arc<dyn StreamConsumer>> = vec![
        Arc::clone(&counting) as _,
        Arc::new(recordings.recorder.clone()),
        Arc::new(recordings.ledger.ends.clone()),
    ];
    Case { name, counting, handle: spawn_feeding(camera, consumers) }
}

impl Case {
    fn start(fault: &str, client: &str, url: &str, recordings: &Recordings) -> Self {
        record(camera(&format!("{fault}-{client}"), url, client), recordings)
    }

    /// Waits until the camera streams; what is missing from then on counts.
    async fn streams(&self, recordings: &Recordings) {
        self.counting.connection(&self.name, 0, 10).await;
        recordings.ledger.switch_on(&self.name);
    }

    /// Waits for an end with the right cause.
    async fn ends_with(&self, fits: impl Fn(&Failure) -> bool) -> Instant {
        let found = || {
            let ends = self.counting.ends(&self.name);
            ends.into_iter().find(|(_, end, _)| matches!(end, StreamEnd::Failed(why) if fits(why))).map(|(.., at)| at)
        };
        eventually(&format!("{}: the end, not {:?}", self.name, self.counting.ends(&self.name)), found).await
    }

    /// Waits until the camera streams again, which must be within `stated` of `since`.
    async fn is_back(&self, since: Instant, stated: Duration) {
        self.counting.connection(&self.name, 1, 1).await;
        assert!(since.elapsed() < stated + SLACK, "{}: back only after {:?}", self.name, since.elapsed());
    }

    /// Waits until the ledger tells the end of a gap that lasted from `from`, when the fault was made, to `to`, when it
    /// was over.
    async fn has_gap(&self, recordings: &Recordings, cause: GapCause, from: UtcMillis, to: UtcMillis) {
        let is_of_fault = |gap: &Gap| gap.start < to && gap.end.is_some_and(|end| end > from);
        let gap = recordings.ledger.gap(&self.name, is_of_fault).await;
        let Gap { start, end: Some(end), .. } = gap else { panic!("{gap:?}") };
        assert_eq!(gap.cause, cause, "{}: {gap:?}, {:?}", self.name, self.counting.ends(&self.name));
        assert!(start + MARGIN > from && start < from + MARGIN, "{}: from {from}: {gap:?}", self.name);
        assert!(end + MARGIN > to && end < clock::now() + MARGIN, "{}: to {to}: {gap:?}", self.name);
    }

    /// Stops the camera, as settings that switch it off do.
    async fn stop(self, recordings: &Recordings) {
        self.handle.stop().await;
        recordings.ledger.switch_off(&self.name);
    }
}

fn small() -> Arc<Clip> {
    clip(ClipSpec::default())
}

async fn killed(client: &str, recordings: &Recordings) {
    let mounts = || vec![Mount::of_clips("/main", &[small()])];
    let server = TestCamera::start(mounts(), 0).unwrap();
    let (port, case) = (server.port(), Case::start("killed", client, &server.url("/main"), recordings));
    case.streams(recordings).await;
    let (since, from) = (Instant::now(), clock::now());
    drop(server);
    let told = case.ends_with(|why| matches!(why, Failure::Ended)).await;
    assert!(told - since < Duration::from_secs(1) + SLACK, "{}", case.name);
    case.ends_with(|why| matches!(why, Failure::Unreachable)).await;
    let (since, to) = (Instant::now(), clock::now());
    let _again = TestCamera::start(mounts(), port).unwrap();
    case.is_back(since, Duration::from_secs(4)).await;
    case.has_gap(recordings, GapCause::Network, from, to).await;
    case.stop(recordings).await;
}

async fn frozen(client: &str, recordings: &Recordings) {
    let server = server(&[small()]);
    let case = Case::start("frozen", client, &server.url("/main"), recordings);
    case.streams(recordings).await;
    server.faults("/main").freeze(true);
    let (since, from) = (Instant::now(), clock::now());
    let told = case.ends_with(|why| matches!(why, Failure::Stalled)).await;
    assert!(told - since < Duration::from_secs(6) + SLACK, "{}", case.name);
    server.faults("/main").freeze(false);
    let to = clock::now();
    case.is_back(Instant::now(), Duration::from_secs(4)).await;
    // The first attempt gives video: so it was not the network.
    case.has_gap(recordings, GapCause::Camera, from, to).await;
    case.stop(recordings).await;
}

async fn blackholed(client: &str, recordings: &Recordings) {
    let server = server(&[small()]);
    let wire = Wire::to(server.port()).unwrap();
    let case = Case::start("blackholed", client, &format!("rtsp://127.0.0.1:{}/main", wire.port()), recordings);
    case.streams(recordings).await;
    wire.blackhole(true);
    let (since, from) = (Instant::now(), clock::now());
    let told = case.ends_with(|why| matches!(why, Failure::Stalled)).await;
    assert!(told - since < Duration::from_secs(6) + SLACK, "{}", case.name);
    // The next attempt is taken and not answered.
    case.ends_with(|why| matches!(why, Failure::Unreachable)).await;
    wire.blackhole(false);
    let to = clock::now();
    case.is_back(Instant::now(), Duration::from_secs(4)).await;
    case.has_gap(recordings, GapCause::Network, from, to).await;
    case.stop(recordings).await;
}

/// A wrong password, which is put right later.
async fn refused(client: &str, recordings: &Recordings) {
    let (server, from) = (server(&[small()]), clock::now());
    let right = camera(&format!("refused-{client}"), &server.url("/main"), client);
    let mut wrong = right.clone();
    wrong["password"] = "wrong".into();
    let Case { name, counting, handle } = record(wrong, recordings);
    recordings.ledger.switch_on(&name);
    let ends = eventually("two refusals", || Some(counting.ends(&name)).filter(|ends| ends.len() >= 2)).await;
    assert!(ends.iter().all(|(_, end, _)| *end == StreamEnd::Failed(Failure::Refused(401))), "{name}: {ends:?}");
    assert!(counting.connections(&name).is_empty());
    let open = recordings.ledger.gap(&name, |gap| gap.end.is_none()).await;
    assert_eq!((open.cause, open.end), (GapCause::Camera, None));
    assert!(open.detail.as_ref().unwrap().contains("401"), "{open:?}");
    handle.stop().await;
    let (case, to) = (record(right, recordings), clock::now());
    case.streams(recordings).await;
    case.has_gap(recordings, GapCause::Camera, from, to).await;
    case.stop(recordings).await;
}

/// Another size and a burst of bits: neither ends the connection, and no picture is lost.
async fn changed(client: &str, recordings: &Recordings) {
    let big = clip(ClipSpec { size: (640, 360), ..ClipSpec::default() });
    let burst = clip(ClipSpec { noise: 80, ..ClipSpec::default() });
    let clips = [small(), big, burst];
    let bytes = |number: usize| -> usize { clips[number].pictures.iter().map(|one| one.data.size()).sum() };
    assert!(bytes(2) > 5 * bytes(0), "a burst: {} of {}", bytes(2), bytes(0));
    let server = server(&clips);
    let case = Case::start("changed", client, &server.url("/main"), recordings);
    case.streams(recordings).await;
    for number in [1, 2, 0] {
        server.faults("/main").select(number);
        let seen = case.counting.connection(&case.name, 0, 1).await;
        let shown = || (pictures(&seen.units.lock().unwrap(), &clips).last()?.0 == number).then_some(());
        eventually(&format!("clip {number} of {}", case.name), shown).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let seen = case.counting.connection(&case.name, 0, 1).await;
    let units = seen.units.lock().unwrap().clone();
    let got = pictures(&units, &clips);
    let follows = |two: &[(usize, usize)]| {
        let ((before, at), (after, next)) = (two[0], two[1]);
        if before == after { next == (at + 1) % clips[before].pictures.len() } else { next == 0 }
    };
    assert!(got.windows(2).all(follows), "{}: {got:?}", case.name);
    let sizes: Vec<_> = units.iter().filter_map(|unit| unit.format.frame).map(|frame| frame.width).collect();
    let right = got.iter().zip(&sizes).all(|((clip, _), width)| *width == if *clip == 1 { 640 } else { 320 });
    assert!(right && sizes.len() == got.len(), "{}: each picture says its size", case.name);
    assert_eq!((case.counting.ends(&case.name).len(), *seen.lost.lock().unwrap()), (0, 0), "{}", case.name);
    case.stop(recordings).await;
}

/// A camera whose clock is set: no picture is lost, and media time goes on with real time.
async fn jumped(client: &str, recordings: &Recordings) {
    let server = server(&[small()]);
    let case = Case::start("jumped", client, &server.url("/main"), recordings);
    case.streams(recordings).await;
    for seconds in [3600, -7200] {
        server.faults("/main").jump(seconds);
        let seen = case.counting.connection(&case.name, 0, 1).await;
        let count = seen.count() + 20;
        case.counting.connection(&case.name, 0, count).await;
    }
    let seen = case.counting.connection(&case.name, 0, 1).await;
    let units = seen.units.lock().unwrap().clone();
    assert_eq!(missing(&units, &small()), [], "{}", case.name);
    let (first, last) = (units[0].at, units[units.len() - 1].at);
    let expected = Duration::from_secs(1) * u32::try_from(units.len() - 1).unwrap() / 15;
    assert!(last.since(first).abs_diff(expected) < Duration::from_secs(2), "{}: {:?}", case.name, last.since(first));
    assert!(case.counting.ends(&case.name).is_empty(), "{}: {:?}", case.name, case.counting.ends(&case.name));
    case.stop(recordings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_fault_is_told_by_its_cause_and_survived_in_time_the_ledger_names_its_gap_and_other_cameras_lose_nothing()
{
    let good = server(&[small()]);
    let recordings = Recordings::open();
    let others = CLIENTS.map(|client| Case::start("good", client, &good.url("/main"), &recordings));
    for other in &others {
        other.streams(&recordings).await;
    }
    let [gst, retina] = CLIENTS;
    tokio::join!(
        killed(gst, &recordings),
        frozen(gst, &recordings),
        blackholed(gst, &recordings),
        refused(gst, &recordings),
        changed(gst, &recordings),
        jumped(gst, &recordings),
        killed(retina, &recordings),
        frozen(retina, &recordings),
        blackholed(retina, &recordings),
        refused(retina, &recordings),
        changed(retina, &recordings),
        jumped(retina, &recordings),
    );
    let mut seen_by = HashMap::new();
    for (client, other) in CLIENTS.into_iter().zip(others) {
        let seen = other.counting.connection(&other.name, 0, 100).await;
        assert_eq!(missing(&seen.units.lock().unwrap(), &small()), [], "{}", other.name);
        assert_eq!((other.counting.connections(&other.name).len(), *seen.lost.lock().unwrap()), (1, 0));
        assert!(other.counting.ends(&other.name).is_empty());
        other.stop(&recordings).await;
        seen_by.insert(client, seen);
    }
    recordings.recorder.close().await;
    let told = recordings.ledger.close().await;
    for client in CLIENTS {
        gaps_are_those_of_the_faults(client, &told);
        let files = recordings.files(&format!("good-{client}"));
        assert!(files.len() >= 3, "some segments: {files:?}");
        let (kept, came) = (pictures_in(&files, &small()), seen_by[client].count());
        assert_eq!(kept, came, "good-{client}: pictures in the files and pictures that came");
    }
}

/// Each fault that stops a camera's video makes one gap, told until it is over; nothing else makes any. Pictures that
/// come late on a loaded machine, and are all there, may lie further apart than a gap takes at least.
fn gaps_are_those_of_the_faults(client: &str, told: &HashMap<String, Vec<Gap>>) {
    let is_long = |gap: &Gap| gap.end.is_none_or(|end| end.since(gap.start) > MARGIN);
    let of = |fault: &str| -> Vec<Gap> {
        let gaps = told.get(&format!("{fault}-{client}")).into_iter().flatten();
        gaps.filter(|gap| is_long(gap)).cloned().collect()
    };
    for fault in ["killed", "frozen", "blackholed", "refused"] {
        let gaps = of(fault);
        let Some((last, before)) = gaps.split_last() else {
            assert_eq!(fault, "killed", "the others last longer");
            continue;
        };
        let is_one = before.iter().all(|gap| (gap.start, gap.cause, gap.end) == (last.start, last.cause, None));
        assert!(is_one && before.len() <= 1 && last.end.is_some(), "{fault}-{client}: {gaps:?}");
    }
    for fault in ["good", "changed", "jumped"] {
        assert_eq!(of(fault), [], "{fault}-{client}");
    }
}
