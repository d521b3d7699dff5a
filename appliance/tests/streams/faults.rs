//! Every fault of a camera that must be survived, on both clients, all at the same time beside a camera without any.
//!
//! The times allowed are those stated in `docs/ref/cameras.md`; what a loaded machine needs beyond them is `SLACK`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance::pipeline::camera::CameraHandle;
use aivms_appliance::pipeline::consumer::{StreamConsumer, StreamEnd};
use aivms_appliance_core::supervise::Failure;
use aivms_rig::{Clip, ClipSpec, Mount, TestCamera, Wire};

use crate::clips::{CLIENTS, camera, clip, missing, pictures, server};
use crate::consumer::{Counting, eventually};
use crate::files::{Recordings, pictures_in};
use crate::{spawn, spawn_feeding};

/// Time that a loaded machine may take beyond what is stated.
const SLACK: Duration = Duration::from_secs(10);

/// One camera with its fault.
struct Case {
    name: String,
    counting: Arc<Counting>,
    handle: CameraHandle,
}

/// A recorder beside the counting.
fn record(name: &str, url: &str, client: &str, recordings: &Recordings) -> Case {
    let counting = Arc::new(Counting::default());
    let consumers: Vec<Arc<dyn StreamConsumer>> =
        vec![Arc::clone(&counting) as _, Arc::new(recordings.recorder.clone())];
    let handle = spawn_feeding(camera(name, url, client), consumers);
    Case { name: name.to_owned(), counting, handle }
}

impl Case {
    fn start(fault: &str, client: &str, url: &str, recordings: &Recordings) -> Self {
        record(&format!("{fault}-{client}"), url, client, recordings)
    }

    /// Waits until the camera streams.
    async fn streams(&self) {
        self.counting.connection(&self.name, 0, 10).await;
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

    async fn stop(self) {
        self.handle.stop().await;
    }
}

fn small() -> Arc<Clip> {
    clip(ClipSpec::default())
}

async fn killed(client: &str, recordings: &Recordings) {
    let mounts = || vec![Mount::of_clips("/main", &[small()])];
    let server = TestCamera::start(mounts(), 0).unwrap();
    let (port, case) = (server.port(), Case::start("killed", client, &server.url("/main"), recordings));
    case.streams().await;
    let since = Instant::now();
    drop(server);
    let told = case.ends_with(|why| matches!(why, Failure::Ended)).await;
    assert!(told - since < Duration::from_secs(1) + SLACK, "{}", case.name);
    case.ends_with(|why| matches!(why, Failure::Unreachable)).await;
    let since = Instant::now();
    let _again = TestCamera::start(mounts(), port).unwrap();
    case.is_back(since, Duration::from_secs(4)).await;
    case.stop().await;
}

async fn frozen(client: &str, recordings: &Recordings) {
    let server = server(&[small()]);
    let case = Case::start("frozen", client, &server.url("/main"), recordings);
    case.streams().await;
    server.faults("/main").freeze(true);
    let since = Instant::now();
    let told = case.ends_with(|why| matches!(why, Failure::Stalled)).await;
    assert!(told - since < Duration::from_secs(6) + SLACK, "{}", case.name);
    server.faults("/main").freeze(false);
    case.is_back(Instant::now(), Duration::from_secs(4)).await;
    case.stop().await;
}

async fn blackholed(client: &str, recordings: &Recordings) {
    let server = server(&[small()]);
    let wire = Wire::to(server.port()).unwrap();
    let case = Case::start("blackholed", client, &format!("rtsp://127.0.0.1:{}/main", wire.port()), recordings);
    case.streams().await;
    wire.blackhole(true);
    let since = Instant::now();
    let told = case.ends_with(|why| matches!(why, Failure::Stalled)).await;
    assert!(told - since < Duration::from_secs(6) + SLACK, "{}", case.name);
    // The next attempt is taken and not answered.
    case.ends_with(|why| matches!(why, Failure::Unreachable)).await;
    wire.blackhole(false);
    case.is_back(Instant::now(), Duration::from_secs(4)).await;
    case.stop().await;
}

async fn refused(client: &str) {
    let server = server(&[small()]);
    let (name, counting) = (format!("refused-{client}"), Arc::new(Counting::default()));
    let mut wrong = camera(&name, &server.url("/main"), client);
    wrong["password"] = "wrong".into();
    let handle = spawn(wrong, &counting);
    let ends = eventually("two refusals", || Some(counting.ends(&name)).filter(|ends| ends.len() >= 2)).await;
    assert!(ends.iter().all(|(_, end, _)| *end == StreamEnd::Failed(Failure::Refused(401))), "{name}: {ends:?}");
    assert!(counting.connections(&name).is_empty());
    handle.stop().await;
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
    case.streams().await;
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
    case.stop().await;
}

/// A camera whose clock is set: no picture is lost, and media time goes on with real time.
async fn jumped(client: &str, recordings: &Recordings) {
    let server = server(&[small()]);
    let case = Case::start("jumped", client, &server.url("/main"), recordings);
    case.streams().await;
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
    case.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_fault_is_told_by_its_cause_and_survived_in_time_and_other_cameras_lose_no_picture() {
    let good = server(&[small()]);
    let recordings = Recordings::open();
    let others = CLIENTS.map(|client| Case::start("good", client, &good.url("/main"), &recordings));
    for other in &others {
        other.streams().await;
    }
    let [gst, retina] = CLIENTS;
    tokio::join!(
        killed(gst, &recordings),
        frozen(gst, &recordings),
        blackholed(gst, &recordings),
        refused(gst),
        changed(gst, &recordings),
        jumped(gst, &recordings),
        killed(retina, &recordings),
        frozen(retina, &recordings),
        blackholed(retina, &recordings),
        refused(retina),
        changed(retina, &recordings),
        jumped(retina, &recordings),
    );
    let mut seen_by = HashMap::new();
    for (client, other) in CLIENTS.into_iter().zip(others) {
        let seen = other.counting.connection(&other.name, 0, 100).await;
        assert_eq!(missing(&seen.units.lock().unwrap(), &small()), [], "{}", other.name);
        assert_eq!((other.counting.connections(&other.name).len(), *seen.lost.lock().unwrap()), (1, 0));
        assert!(other.counting.ends(&other.name).is_empty());
        other.stop().await;
        seen_by.insert(client, seen);
    }
    recordings.recorder.close().await;
    for client in CLIENTS {
        let files = recordings.files(&format!("good-{client}"));
        assert!(files.len() >= 3, "some segments: {files:?}");
        let (kept, came) = (pictures_in(&files, &small()), seen_by[client].count());
        assert_eq!(kept, came, "good-{client}: pictures in the files and pictures that came");
    }
}
