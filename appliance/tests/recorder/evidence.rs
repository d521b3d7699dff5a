//! The chain over what the real recorder records.

use std::path::Path;
use std::time::Duration;

use aivms_appliance::chain::{Chain, ChainSettings, follow};
use aivms_contract::time::UtcMillis;
use aivms_verify::{Ask, PartState, Report, Verdict};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::material::{Material, SMALL};
use crate::rig::{Rig, at, until};

const SEGMENT: Duration = Duration::from_secs(2);

/// The chain of a running recorder, as the appliance runs it.
struct Followed {
    chain: Chain,
    stop: CancellationToken,
    follower: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Followed {
    fn new(root: &Path, rig: &Rig) -> Self {
        let settings =
            ChainSettings { recordings: root.join("recordings"), slow: None, edge: "edge_test".parse().unwrap() };
        // An edge that is not enrolled: nothing is signed.
        let (chain, writer) = Chain::new(settings, watch::channel(None).1);
        let stop = CancellationToken::new();
        let follower = tokio::spawn(follow(chain.clone(), rig.footage.clone(), stop.clone()));
        Self { chain, stop, follower, writer: tokio::task::spawn_blocking(|| writer.run()) }
    }

    async fn end(self) {
        self.stop.cancel();
        self.follower.await.unwrap();
        self.chain.close().await;
        self.writer.await.unwrap();
    }
}

/// Records pictures from `from` on, the first of them at `zero`.
async fn record(rig: &Rig, material: &Material, count: u64, zero: UtcMillis) {
    let camera = rig.connect("gate", zero);
    for number in 0..count {
        camera.feed(material.unit(number));
        camera.taken().await;
    }
    rig.disconnect(camera);
    rig.reaches("gate", zero + Duration::from_millis(count * 40 - 1)).await;
}

fn verify(root: &Path) -> Report {
    aivms_verify::check(&Ask { paths: vec![root.join("recordings")], ..Ask::default() }).unwrap()
}

#[tokio::test]
async fn every_closed_segment_gets_one_record_also_those_of_a_run_that_ended_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let material = Material::new(dir.path(), SMALL);
    let before = Rig::complete(dir.path(), SEGMENT).await;
    record(&before, &material, 100, at(0)).await;
    before.close().await;

    let rig = Rig::open(dir.path(), SEGMENT);
    let followed = Followed::new(dir.path(), &rig);
    record(&rig, &material, 160, at(10_000)).await;
    rig.is_complete().await;
    rig.recorder.close().await;
    let closed = rig.segments("gate").len();
    until("all have a record", || followed.chain.sealed(&"gate".parse().unwrap()).len() == closed).await;
    followed.end().await;

    let report = verify(dir.path());
    assert_eq!(report.verdict, Verdict::Doubtful, "{report}");
    let parts = &report.checked[0].parts;
    assert!(parts.len() == closed && parts.iter().all(|part| part.state == PartState::Ok), "{report}");
    let later = report.to_string().matches("was sealed at a later start only").count();
    assert!((2..closed).contains(&later), "{report}");
    let path = &rig.segments("gate")[1].path;
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(path, bytes).unwrap();
    assert_eq!(verify(dir.path()).verdict, Verdict::Altered);
}
