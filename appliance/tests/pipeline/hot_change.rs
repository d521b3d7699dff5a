//! Changes while cameras run: each touches the cameras it is about and no other, counted frame by frame.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aivms_appliance::control::CameraSet;
use aivms_appliance::control::desired::Wanted;
use aivms_appliance::health::Vitals;
use aivms_appliance::pipeline::engine::{Engine, EngineError, EngineOutput, EngineSession, Feed};
use aivms_contract::envelope::Body;
use aivms_contract::time::MediaTime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::{cache, detector};

/// Frames per second of media time; four cameras of it are a quarter of a core.
const FPS: f64 = 1.0;
/// A loaded machine may be late; it must not be later than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// The real engine, with a list of what it says of each camera: for each connection the times of its frames.
struct Listened {
    engine: Arc<dyn Engine>,
    heard: Arc<Mutex<BTreeMap<String, Vec<Vec<MediaTime>>>>>,
}

impl Engine for Listened {
    fn labels(&self) -> &[String] {
        self.engine.labels()
    }

    fn connect(self: Arc<Self>, feed: Feed) -> Result<Box<dyn EngineSession>, EngineError> {
        let (output, mut results) = EngineOutput::new();
        let camera = feed.camera.to_string();
        let connection = {
            let mut heard = self.heard.lock().unwrap();
            let connections = heard.entry(camera.clone()).or_default();
            connections.push(vec![]);
            connections.len() - 1
        };
        let (heard, on) = (Arc::clone(&self.heard), feed.output.clone());
        tokio::spawn(async move {
            while let Some(frame) = results.frames.recv().await {
                heard.lock().unwrap().get_mut(&camera).unwrap()[connection].push(frame.pts);
                on.frame(frame);
            }
        });
        Arc::clone(&self.engine).connect(Feed { output, ..feed })
    }
}

/// A site whose cameras show the demo video.
struct Site {
    cameras: CameraSet,
    heard: Arc<Mutex<BTreeMap<String, Vec<Vec<MediaTime>>>>>,
    bodies: mpsc::Receiver<Body>,
    _data: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let heard = Arc::default();
        let engine = detector(&cache("models/nanodet-g-416.onnx"));
        let engine = Arc::new(Listened { engine, heard: Arc::clone(&heard) });
        let (send, bodies) = mpsc::channel(10_000);
        let data = tempfile::tempdir().unwrap();
        let vitals = Arc::new(Vitals::new(data.path().to_owned()));
        Self { cameras: CameraSet::new(engine, send, vitals), heard, bodies, _data: data }
    }

    fn frames(&self, camera: &str) -> usize {
        self.heard.lock().unwrap().get(camera).map_or(0, |connections| connections.iter().map(Vec::len).sum())
    }

    /// Waits until each of the cameras has shown so many more frames.
    async fn wait_for_more(&self, cameras: &[&str], more: usize) {
        let (end, before) = (Instant::now() + PATIENCE, cameras.iter().map(|camera| self.frames(camera)));
        let before: Vec<_> = before.collect();
        while cameras.iter().zip(&before).any(|(camera, before)| self.frames(camera) < before + more) {
            assert!(Instant::now() < end, "no frames: {:?}", self.heard.lock().unwrap());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The camera was connected once and gave every frame it should.
    fn assert_without_gap(&self, camera: &str) {
        let heard = self.heard.lock().unwrap();
        let [frames] = &heard[camera][..] else { panic!("{camera} was connected anew: {:?}", heard[camera]) };
        for pair in frames.windows(2) {
            let gap = pair[1].since(pair[0]).as_secs_f64();
            assert!(gap < 1.5 / FPS, "{camera}: {gap} s without a frame after {:?}", pair[0]);
        }
    }
}

fn wanted(id: &str, rules: &serde_json::Value) -> Wanted {
    let mut camera = serde_json::json!({
        "id": id, "url": format!("file://{}", cache("video/vtest.avi").display()), "classes": ["person"],
    });
    camera.as_object_mut().unwrap().extend(rules.as_object().unwrap().clone());
    Wanted {
        camera: serde_json::from_value(camera).unwrap(),
        detection_fps: FPS,
        confidence: 0.5,
        classes: vec!["person".to_owned()],
        time_zone: aivms_appliance_core::schedule::SiteZone::default(),
        audio: false,
    }
}

fn plain(id: &str) -> Wanted {
    wanted(id, &serde_json::json!({}))
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_camera_cost_the_three_others_no_frame() {
    let mut site = Site::new();
    let others = || ["b", "c", "d"].map(plain);
    let with = |first: Wanted| [vec![first], others().to_vec()].concat();
    site.cameras.apply(&with(plain("a"))).await;
    site.wait_for_more(&["a", "b", "c", "d"], 3).await;

    let everywhere = serde_json::json!([[0, 0], [1, 0], [1, 1], [0, 1]]);
    let changes = [
        serde_json::json!({"zones": [{"id": "all", "polygon": everywhere}]}),
        serde_json::json!({"zones": [{"id": "left", "polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], "dwell_ms": 1000}]}),
        serde_json::json!({"lines": [{"id": "middle", "from": [0.5, 0], "to": [0.5, 1]}]}),
        serde_json::json!({"filters": [{"min_area": 0.001}], "masks": [{"polygon": [[0, 0], [0.1, 0], [0, 0.1]]}]}),
    ];
    for rules in changes {
        site.cameras.apply(&with(wanted("a", &rules))).await;
        site.wait_for_more(&["a", "b", "c", "d"], 3).await;
    }
    // So far not even the camera itself was connected anew.
    site.assert_without_gap("a");

    site.cameras.restart(Some(&"a".parse().unwrap())).unwrap();
    site.wait_for_more(&["a", "b"], 1).await;
    site.cameras.apply(&with(Wanted { confidence: 0.4, detection_fps: 2.0, ..plain("a") })).await;
    site.wait_for_more(&["a", "b"], 2).await;
    site.cameras.apply(&[with(plain("a")), vec![plain("e")]].concat()).await;
    site.wait_for_more(&["e", "b", "c", "d"], 2).await;
    site.cameras.apply(&others()).await;
    let left = site.frames("a");
    site.wait_for_more(&["b", "c", "d"], 2).await;
    assert_eq!(site.frames("a"), left, "a camera that was removed is not watched");
    for camera in ["b", "c", "d"] {
        site.assert_without_gap(camera);
    }
    site.cameras.stop().await;
    let mut events = 0;
    while let Ok(body) = site.bodies.try_recv() {
        events += usize::from(matches!(body, Body::ZoneEvents(_)));
    }
    assert!(events > 0, "people were in the zones that came and went");
}
