//! Desired documents by API, applied or refused by an edge over MQTT.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, Owner};
use crate::device::{Device, at};
use crate::mqtt_edge::MqttEdge;
use crate::people::join;

struct Scene {
    cloud: Cloud,
    owner: Owner,
    device: Device,
}

impl Scene {
    async fn start() -> Self {
        let cloud = Cloud::start().await;
        let owner = cloud.register("acme").await;
        let device = Device::enrolled(&cloud, &owner).await;
        Self { cloud, owner, device }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/tenant/edges/{}/{rest}", self.device.edge_id)
    }

    async fn put(&self, rest: &str, body: Value) -> Answer {
        self.cloud.send_as(&self.owner, Method::PUT, &self.path(rest), body).await
    }

    async fn get(&self, rest: &str) -> Answer {
        self.cloud.get_as(&self.owner, &self.path(rest)).await
    }
}

fn camera(url: &str) -> Value {
    let zone = json!({ "id": "lawn", "polygon": [[0, 0], [1, 0], [0, 1]], "dwell_ms": 1000 });
    json!({ "id": "gate", "url": url, "username": "root", "password": "hunter2", "zones": [zone] })
}

#[tokio::test]
async fn a_document_reaches_the_edge_whole_and_nobody_else_sees_its_passwords() {
    let scene = Scene::start().await;
    let none = scene.get("desired").await;
    assert_eq!((none.header("etag"), &none.body["version"], &none.body["cameras"]), ("\"0\"", &0.into(), &Value::Null));
    let first = json!({ "version": 0, "cameras": [camera("rtsp://admin:s3cr3t@10.0.0.9/1")] });
    let made = scene.put("desired", first).await;
    assert_eq!((made.status, made.header("etag")), (StatusCode::OK, "\"1\""));

    let mut edge = MqttEdge::connect(&scene.cloud, &scene.device).await;
    let told = edge.told("desired").await;
    assert_eq!((&told["version"], &told["cameras"][0]["password"]), (&1.into(), &"hunter2".into()));
    assert_eq!(told["cameras"][0]["url"], "rtsp://admin:s3cr3t@10.0.0.9/1");
    edge.say("reported", &json!({ "version": 1, "at": at(0), "state": "applied" })).await;
    let reported = scene.get("reported").await;
    assert_eq!((reported.text("state"), &reported.body["is_current"]), ("applied".into(), &true.into()));

    // What was shown comes back with one change; the masks mean what is stored.
    let shown = scene.get("desired").await.body;
    let mut changed = json!({ "version": 1, "cameras": shown["cameras"], "settings": shown["settings"] });
    changed["cameras"][0]["zones"][0]["dwell_ms"] = 2000.into();
    scene.put("desired", changed).await.assert_ok();
    let told = edge.told("desired").await;
    assert_eq!((&told["version"], &told["cameras"][0]["password"]), (&2.into(), &"hunter2".into()));
    assert_eq!(told["cameras"][0]["url"], "rtsp://admin:s3cr3t@10.0.0.9/1");
    let difference = scene.get("desired/difference").await;
    let expected = json!({ "from": 1, "to": 2, "items":
        [{ "path": "cameras[gate].zones[lawn].dwell_ms", "before": 1000, "after": 2000 }] });
    assert_eq!(difference.body, expected);
    edge.say(
        "reported",
        &json!({ "version": 2, "at": at(1), "state": "refused", "field": "cameras[0]", "reason": "no" }),
    )
    .await;
    let reported = scene.get("reported").await;
    assert_eq!(
        (reported.text("state"), &reported.body["runs"], reported.text("field")),
        ("refused".into(), &1.into(), "cameras[0]".into())
    );

    let elsewhere = json!([{ "edge_id": scene.device.edge_id, "camera_id": "elsewhere" }]);
    let rights = json!({ "role": "viewer", "cameras": elsewhere });
    let (guard, _) = join(&scene.cloud, &scene.owner, "guard@acme.example", rights).await;
    let reported = scene.cloud.get_as(&guard, &scene.path("reported")).await;
    assert_eq!((reported.text("state"), reported.text("field")), ("refused".into(), "cameras".into()));
    assert_ne!(reported.text("reason"), "no", "it may name a camera that is not to be seen");

    let history = scene.get("desired/history").await;
    assert_eq!(history.body["items"][0]["changes"][0]["path"], "cameras[gate].zones[lawn].dwell_ms");
    assert_eq!(
        (&history.body["items"][1]["version"], &history.body["items"][1]["made_by"]),
        (&1.into(), &"Owner".into())
    );
    for path in ["desired", "desired?version=1", "desired/history", "desired/difference?from=0", "reported"] {
        let text = scene.get(path).await.body.to_string();
        for secret in ["admin", "s3cr3t", "root", "hunter2"] {
            assert!(!text.contains(secret), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn two_people_who_change_a_document_at_once_do_not_overwrite_each_other() {
    let scene = Scene::start().await;
    let document = |version: u64, url: &str| json!({ "version": version, "cameras": [{ "id": "gate", "url": url }] });
    scene.put("desired", document(0, "rtsp://h/1")).await.assert_ok();
    scene.put("desired", document(1, "rtsp://h/2")).await.assert_ok();
    scene.put("desired", document(1, "rtsp://h/3")).await.assert_problem(409, Some("version"));
    let request = scene.cloud.request(Method::PUT, &scene.path("desired")).bearer_auth(&scene.owner.token);
    let stale = Answer::of(request.header("If-Match", "\"1\"").json(&document(2, "rtsp://h/3"))).await;
    stale.assert_problem(409, Some("version"));
    assert_eq!(scene.get("desired").await.body["cameras"][0]["url"], "rtsp://h/2");
    let zones = json!({ "version": 1, "zones": [] });
    scene.put("cameras/gate/zones", zones).await.assert_problem(409, Some("version"));
    let zones = json!({ "zones": [{ "id": "z", "polygon": [[0, 0], [1, 0], [0, 1]] }] });
    let changed = scene.put("cameras/gate/zones", zones).await;
    assert_eq!((&changed.body["version"], &changed.body["cameras"][0]["zones"][0]["id"]), (&3.into(), &"z".into()));
}

#[tokio::test]
async fn a_wrong_document_is_refused_with_the_path_of_its_field() {
    let scene = Scene::start().await;
    let with = |change: Value| {
        let mut camera = camera("rtsp://h/1");
        camera.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({ "version": 0, "cameras": [camera] })
    };
    let bow_tie = json!([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]);
    for (body, field) in [
        (with(json!({ "zones": [{ "id": "z", "polygon": bow_tie }] })), "cameras[0].zones[0].polygon"),
        (with(json!({ "id": "Not A Slug" })), "cameras[0].id"),
        (with(json!({ "url": "http://h/1" })), "cameras[0].url"),
        (with(json!({ "url": "***" })), "cameras[0].url"),
        (with(json!({ "password": "***" })), "cameras[0].password"),
        (with(json!({ "colour": "red" })), "cameras[0].colour"),
        (json!({ "version": 0, "cameras": [], "settings": { "fps": 3 } }), "settings.fps"),
        (json!({ "cameras": [] }), "version"),
        (with(json!({ "name": "x".repeat(70_000) })), "cameras"),
    ] {
        let refused = scene.put("desired", body).await;
        refused.assert_problem(422, Some(field));
        assert!(!refused.body.to_string().contains("hunter2"), "{refused:?}");
    }
    assert_eq!(scene.get("desired").await.body["version"], 0);
    scene.put("cameras/gate/zones", json!({ "zones": [] })).await.assert_problem(404, None);
}

#[tokio::test]
async fn documents_of_others_are_as_if_they_did_not_exist() {
    let scene = Scene::start().await;
    let rival = scene.cloud.register("rival").await;
    scene.put("desired", json!({ "version": 0, "cameras": [camera("rtsp://h/1")] })).await.assert_ok();
    for path in ["desired", "desired/history", "desired/difference", "reported"] {
        scene.cloud.get_as(&rival, &scene.path(path)).await.assert_problem(404, None);
    }
    let theft = json!({ "version": 1, "cameras": [] });
    scene.cloud.send_as(&rival, Method::PUT, &scene.path("desired"), theft).await.assert_problem(404, None);
    let zones = scene.path("cameras/gate/zones");
    scene.cloud.send_as(&rival, Method::PUT, &zones, json!({ "zones": [] })).await.assert_problem(404, None);
}
