//! What the cloud says, carried out: with the real state and outbox, and cameras that can't be reached.

use std::time::Duration;

use aivms_contract::command::Outcome;
use aivms_contract::envelope::Body;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::config::Environment;
use crate::masks::Gate;
use crate::outbox::OutboxSettings;
use crate::pipeline::engine::{Engine, EngineError, EngineSession, Feed};
use crate::testing::eventually;

/// An engine with labels; no camera of these tests gets as far as to need more.
struct Labels(Vec<String>);

impl Engine for Labels {
    fn labels(&self) -> &[String] {
        &self.0
    }

    fn connect(self: Arc<Self>, _feed: Feed) -> Result<Box<dyn EngineSession>, EngineError> {
        Err(EngineError::Detect("no model in this test".to_owned()))
    }
}

/// An edge with one local camera, and the task under test.
struct Edge {
    dir: TempDir,
    vitals: Arc<Vitals>,
    gate: Gate,
    tell: mpsc::Sender<Told>,
    said: mpsc::Receiver<Say>,
    _bodies: mpsc::Receiver<Body>,
    stop: CancellationToken,
    work: JoinHandle<()>,
    outbox: Outbox,
}

impl Edge {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("appliance.toml"), "").unwrap();
        write_cameras(&dir, &json!([{"id": "local", "url": "file:///nonexistent/a.mp4"}]));
        Self::start(dir)
    }

    fn start(dir: TempDir) -> Self {
        let config = Config::load(Some(&dir.path().join("appliance.toml")), &Environment::default()).unwrap();
        let (state, _) = State::open(dir.path().join("state")).unwrap();
        let settings = OutboxSettings {
            dir: dir.path().join("outbox"),
            max_bytes: 1 << 20,
            group_time: Duration::from_millis(20),
        };
        let (outbox, _) = Outbox::open(settings, "edge_1".parse().unwrap(), &state).unwrap();
        let vitals = Arc::new(Vitals::new(dir.path().to_owned()));
        let (bodies, seen) = mpsc::channel(16);
        let (say, said) = mpsc::channel(crate::uplink::MESSAGES);
        let (tell, told) = mpsc::channel(crate::uplink::MESSAGES);
        let (keeper, gate) = Gate::new();
        let media = Media {
            clips: crate::clips::channel().0,
            snapshots: crate::snapshots::requests().0,
            gate: keeper,
            answers: mpsc::channel(1).1,
        };
        let engine = Arc::new(Labels(vec!["person".to_owned()]));
        let control = Control {
            config: Arc::new(config),
            state,
            cameras: CameraSet::new(engine, bodies, Arc::clone(&vitals)),
            recording: tokio::sync::watch::channel(Arc::default()).0,
            relay: crate::relay::Relay::default(),
            vitals: Arc::clone(&vitals),
            outbox: outbox.clone(),
            media: Some(media),
            locking: None,
            say,
        };
        let stop = CancellationToken::new();
        let work = tokio::spawn(control.run(told, stop.clone()));
        Self { dir, vitals, gate, tell, said, _bodies: seen, stop, work, outbox }
    }

    /// Stops the task and starts it anew on the same disk.
    async fn restarted(self) -> Self {
        self.stop.cancel();
        self.work.await.unwrap();
        self.outbox.close().await;
        Self::start(self.dir)
    }

    async fn told(&mut self, told: Told) -> Say {
        self.tell.send(told).await.unwrap();
        self.next().await
    }

    async fn next(&mut self) -> Say {
        tokio::time::timeout(Duration::from_secs(20), self.said.recv()).await.expect("something is said").unwrap()
    }

    async fn command(&mut self, id: &str, name: &str, payload: serde_json::Value) -> CommandResult {
        let now = clock::now();
        let command = json!({"id": id, "issued_at": now, "expires_at": now + Duration::from_secs(60),
            "command": name, "payload": payload});
        match self.told(Told::Command(serde_json::from_value(command).unwrap())).await {
            Say::Result(result) => result,
            other => panic!("{other:?}"),
        }
    }

    async fn desired(&mut self, document: serde_json::Value) -> Reported {
        match self.told(Told::Desired(document.to_string().into())).await {
            Say::Reported(reported) => reported,
            other => panic!("{other:?}"),
        }
    }

    fn cameras(&self) -> Vec<String> {
        self.vitals.cameras().into_iter().map(|camera| camera.camera_id.to_string()).collect()
    }

    async fn runs(&self, cameras: &[&str]) {
        eventually("the right cameras run", || self.cameras() == cameras).await;
    }
}

fn write_cameras(dir: &TempDir, cameras: &serde_json::Value) {
    std::fs::write(dir.path().join("cameras.json"), json!({"cameras": cameras}).to_string()).unwrap();
}

fn document(version: u64, camera: &str) -> serde_json::Value {
    json!({"version": version, "cameras": [{"id": camera, "url": "file:///nonexistent/b.mp4"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_replaces_the_local_files_and_still_runs_after_a_restart() {
    let mut edge = Edge::new();
    edge.runs(&["local"]).await;
    let reported = edge.desired(document(3, "central")).await;
    assert_eq!((reported.version, &reported.state), (3, &ReportedState::Applied));
    assert_eq!((edge.cameras(), edge.vitals.applied_version()), (vec!["central".to_owned()], 3));

    let mut edge = edge.restarted().await;
    edge.runs(&["central"]).await;
    assert!(matches!(edge.told(Told::Connected).await, Say::Status(status) if status.applied_version == 3));
    assert_eq!(edge.next().await, Say::Reported(reported), "the report is repeated on each connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_document_changes_nothing_and_is_refused_by_its_field() {
    let mut edge = Edge::new();
    edge.desired(document(3, "central")).await;
    let misspelt = json!({"version": 4, "cameras": [
        {"id": "good", "url": "file:///nonexistent/c.mp4"},
        {"id": "bad", "url": "file:///nonexistent/d.mp4", "classes": ["persn"]}]});
    let reported = edge.desired(misspelt).await;
    let ReportedState::Refused { field, reason } = reported.state else { panic!("{reported:?}") };
    assert_eq!((reported.version, field.as_str()), (4, "cameras[1].classes[0]"));
    assert!(reason.contains("persn"));
    assert_eq!((edge.cameras(), edge.vitals.applied_version()), (vec!["central".to_owned()], 3));

    // An outdated one and nonsense are passed over in silence; what is said next answers the one after.
    edge.tell.send(Told::Desired(document(2, "old").to_string().into())).await.unwrap();
    edge.tell.send(Told::Desired("nonsense".into())).await.unwrap();
    assert_eq!(edge.desired(document(5, "newest")).await.version, 5);
    assert_eq!(edge.cameras(), ["newest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_one_answer_also_after_a_restart() {
    let mut edge = Edge::new();
    edge.runs(&["local"]).await;
    let status = edge.command("c1", "get_status", json!({})).await;
    assert_eq!(status.outcome, Outcome::Succeeded);
    assert_eq!(status.data["cameras"][0]["camera_id"], "local");
    let clip = edge
        .command("c2", "request_clip", json!({"camera_id": "local", "start": clock::now(), "duration_ms": 1000}))
        .await;
    assert_eq!((clip.outcome, clip.reason.is_some()), (Outcome::Failed, true));
    let missing = edge.command("c3", "restart_detection", json!({"camera_id": "nobody"})).await;
    assert!(missing.outcome == Outcome::Failed && missing.reason.unwrap().contains("nobody"));
    assert_eq!(
        edge.command("c4", "restart_detection", json!({"camera_id": "local"})).await.outcome,
        Outcome::Succeeded
    );

    let mut edge = edge.restarted().await;
    assert_eq!(edge.command("c1", "get_status", json!({})).await, status);
    assert_eq!(edge.command("c2", "request_clip", json!({})).await, clip);
}

#[tokio::test(flavor = "multi_thread")]
async fn update_zones_reads_the_cameras_file_again() {
    let mut edge = Edge::new();
    edge.runs(&["local"]).await;
    write_cameras(&edge.dir, &json!([{"id": "edited", "url": "file:///nonexistent/a.mp4"}]));
    assert_eq!(edge.command("c1", "update_zones", json!({})).await.outcome, Outcome::Succeeded);
    assert_eq!(edge.cameras(), ["edited"]);
    write_cameras(&edge.dir, &json!([{"id": "edited", "url": "nonsense"}]));
    let wrong = edge.command("c2", "update_zones", json!({})).await;
    assert!(wrong.outcome == Outcome::Failed && wrong.reason.unwrap().contains("cameras[0].url"));
    assert_eq!(edge.cameras(), ["edited"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_any_camera_leaves_while_the_remembered_document_with_its_masks_cannot_be_read() {
    let edge = Edge::new();
    edge.runs(&["local"]).await;
    assert!(edge.gate.pass(&"local".parse().unwrap()).is_ok(), "where nothing was ever desired, the local file counts");
    edge.stop.cancel();
    edge.work.await.unwrap();
    edge.outbox.close().await;
    let (state, _) = State::open(edge.dir.path().join("state")).unwrap();
    state.put_durable(Key::Desired, &json!({"version": "of another form"})).unwrap();
    drop(state);

    let mut edge = Edge::start(edge.dir);
    edge.runs(&["local"]).await;
    let refused = edge.gate.pass(&"local".parse().unwrap());
    assert!(matches!(refused, Err(crate::masks::MaskError::UnknownCamera(_))), "{refused:?}");
    edge.command("c1", "update_zones", json!({})).await;
    assert!(edge.gate.pass(&"local".parse().unwrap()).is_err());
    edge.desired(document(1, "central")).await;
    assert!(edge.gate.pass(&"central".parse().unwrap()).is_ok());
}
