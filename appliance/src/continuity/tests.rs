//! The ledger beside a real recorder's footage, outbox and chain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::continuity::Ledger;
use aivms_appliance_core::supervise::Failure;
use aivms_contract::desired::Recording;
use aivms_contract::footage::{FootageEvent, GapCause};
use aivms_contract::health::{CameraHealth, CameraState, RecordingState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::health::CameraVitals;
use crate::recorder::RecordingPolicy;
use crate::retention::tests::{Parts, Site, camera, eventually};

fn vitals(site: &Site) -> Arc<Vitals> {
    let vitals = Arc::new(Vitals::new(site.dir.path().to_owned()));
    let health = CameraHealth {
        camera_id: camera("door"),
        state: CameraState::Connecting,
        cause: None,
        since: clock::now(),
        detect_fps: 0.0,
        recording: None,
    };
    vitals.set_cameras(BTreeMap::from([(camera("door"), CameraVitals::Running(watch::channel(health).1))]));
    vitals
}

fn continuity(site: &Site, parts: &Parts, vitals: &Arc<Vitals>) -> Continuity {
    Continuity {
        footage: parts.footage.clone(),
        policy: watch::channel(Arc::new(RecordingPolicy::default())).1,
        vitals: Arc::clone(vitals),
        outbox: site.outbox.clone(),
        chain: parts.chain.clone(),
        board: Board::default(),
        data_dir: site.dir.path().to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_start_the_time_off_is_a_restart_and_what_follows_is_the_cameras_or_the_networks() {
    let site = Site::new();
    // Ten minutes that ended five minutes ago.
    let ended = clock::now() - Duration::from_secs(300);
    for minute in 0..10 {
        site.lay("door", ended - Duration::from_secs((10 - minute) * 60), 1000);
    }
    let parts = site.open(Recording::default()).await;
    let vitals = vitals(&site);
    let (ends, ended_connections) = ends();
    let stop = CancellationToken::new();
    let work = continuity(&site, &parts, &vitals);
    let board = work.board.clone();
    let work = tokio::spawn(work.run(ended_connections, stop.clone()));
    ends.disconnected(&camera("door"), StreamRole::Sub, StreamEnd::Failed(Failure::Refused(401)));
    ends.disconnected(&camera("door"), StreamRole::Main, StreamEnd::Failed(Failure::Unreachable));
    // The network's part is told once it has lasted ten seconds.
    eventually(|| board.vitals().status.cameras.iter().any(|camera| camera.gaps.len() >= 2)).await;
    stop.cancel();
    work.await.unwrap();

    let told = site.told().await;
    let gaps: Vec<_> = told
        .into_iter()
        .filter_map(|(_, event)| match event {
            FootageEvent::Gap(gap) => Some(gap),
            _ => None,
        })
        .collect();
    let [restart, .., network] = &gaps[..] else { panic!("{gaps:?}") };
    assert_eq!((restart.cause, restart.start.as_millis() / 1000), (GapCause::Restart, ended.as_millis() / 1000));
    assert_eq!((network.cause, network.end), (GapCause::Network, None));
    assert!(network.detail.as_ref().unwrap().contains("cannot be reached"));
    let health = vitals.cameras().remove(0).recording.expect("it is recorded");
    assert_eq!(health.state, RecordingState::Waiting);
    assert_eq!(health.continuity_percent, Some(0.0), "nothing since the ledger began");

    // What is kept goes on where it was.
    let book = Book::read(site.dir.path()).await;
    assert_eq!(book.ledgers().next().unwrap().1.open_gap().unwrap().start, network.start);
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_a_crash_left_behind_is_brought_up_to_date_from_the_footage() {
    let site = Site::new();
    let now = clock::now();
    let first = now - Duration::from_secs(600);
    for minute in 0..5 {
        site.lay("door", first + Duration::from_secs(minute * 60), 1000);
    }
    let zone = aivms_appliance_core::schedule::SiteZone::default();
    let mut book = Book::default();
    book.ledger(&camera("door"), first, &zone).video(first, first + Duration::from_secs(90), &zone);
    book.write(site.dir.path()).await;
    let parts = site.open(Recording::default()).await;
    let mut book = Book::read(site.dir.path()).await;
    let told = book.resume(&parts.footage, now, &zone);
    let gaps = told.iter().filter(|(_, event)| matches!(event, FootageEvent::Gap(_))).count();
    assert_eq!(gaps, 0, "nothing was missing while it ran");
    let ledger: &Ledger = book.ledgers().next().unwrap().1;
    assert_eq!(ledger.accounted(), first + Duration::from_secs(300));
    // A damaged file loses what was counted, not what is on the disk.
    std::fs::write(site.dir.path().join("continuity.json"), b"{").unwrap();
    let mut book = Book::read(site.dir.path()).await;
    book.resume(&parts.footage, now, &zone);
    assert_eq!(book.ledgers().next().unwrap().1.accounted(), first + Duration::from_secs(300));
    parts.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_taken_out_of_the_settings_is_switched_off_and_forgotten_without_footage() {
    let site = Site::new();
    let now = clock::now();
    site.lay("shed", now - Duration::from_secs(300), 1000);
    let zone = aivms_appliance_core::schedule::SiteZone::default();
    let mut book = Book::default();
    for name in ["shed", "gone"] {
        let ledger = book.ledger(&camera(name), now - Duration::from_secs(300), &zone);
        ledger.switched(now - Duration::from_secs(200), true);
        ledger.tick(now - Duration::from_secs(100), &zone);
        assert!(ledger.open_gap().is_some());
    }
    book.write(site.dir.path()).await;
    let parts = site.open(Recording::default()).await;
    let vitals = Arc::new(Vitals::new(site.dir.path().to_owned()));
    assert_eq!(vitals.configured(), None, "nothing is known of cameras yet");
    let work = continuity(&site, &parts, &vitals);
    let mut work_now = Work {
        book: Book::read(site.dir.path()).await,
        written: BTreeMap::new(),
        untold: VecDeque::new(),
        last: (now, Instant::now()),
        started: Instant::now(),
    };
    work.tick(&mut work_now);
    assert_eq!(work_now.book.ledgers().count(), 2, "none is forgotten before the cameras are known");
    vitals.set_cameras(BTreeMap::new());
    work.tick(&mut work_now);
    let ledgers: Vec<_> = work_now.book.ledgers().collect();
    let [(shed, ledger)] = ledgers[..] else { panic!("{ledgers:?}") };
    assert_eq!(*shed, camera("shed"));
    let mut ledger = ledger.clone();
    ledger.tick(now + Duration::from_secs(120), &zone);
    assert_eq!(ledger.open_gap().map(|gap| gap.cause), Some(GapCause::SwitchedOff));
    let ended = |(id, event): &(CameraId, FootageEvent)| {
        *id == camera("gone") && matches!(event, FootageEvent::Gap(gap) if gap.end.is_some())
    };
    assert!(work_now.untold.iter().any(ended), "its gap does not last for ever: {:?}", work_now.untold);
    assert!(work.running(&work_now).is_empty(), "it is not said to wait for video");
    parts.close().await;
}
