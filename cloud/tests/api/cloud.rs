//! A running cloud and the people who call it.

use std::path::PathBuf;
use std::time::Duration;

use aivms_cloud::config::{Config, MediaConfig, NotificationsConfig, PresenceConfig};
use aivms_cloud::run::{self, Running};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take that should happen at once, on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A cloud with a database of its own.
pub(crate) struct Cloud {
    pub dir: TempDir,
    pub http: Client,
    /// Settings of files, from the next start on.
    pub media: MediaConfig,
    /// Where the cloud may call, from the next start on.
    pub notifications: NotificationsConfig,
    /// Where people reach the cloud, from the next start on.
    pub public_url: Option<url::Url>,
    /// Seconds of silence after which an edge is not heard any more, from the next start on.
    pub edge_timeout_seconds: u32,
    /// Patience before an edge is told offline or online, from the next start on.
    pub presence: PresenceConfig,
    /// What else the settings say.
    change: fn(&mut Config),
    running: Option<Running>,
    base: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    /// Without the name of the request, so that two answers to the same question are equal.
    pub body: Value,
    /// The name of the request in a problem document.
    pub request_id: Option<Value>,
}

/// A signed-in owner of a tenant.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub token: String,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// One with other settings.
    pub(crate) async fn with(change: fn(&mut Config)) -> Self {
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let media = MediaConfig { min_free_mib: 0, ..MediaConfig::default() };
        let mut cloud = Self {
            dir: tempfile::tempdir().unwrap(),
            http,
            media,
            change,
            notifications: NotificationsConfig::default(),
            public_url: None,
            edge_timeout_seconds: 120,
            presence: PresenceConfig::default(),
            running: None,
            base: String::new(),
        };
        cloud.restart().await;
        cloud
    }

    /// Stops if it runs, and starts on the same database.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let running = run::start(self.config()).await.unwrap();
        self.base = format!("http://{}", running.http_addr());
        self.running = Some(running);
    }

    /// The settings it is started with.
    pub(crate) fn config(&self) -> Config {
        let loopback = "127.0.0.1:0".parse().unwrap();
        let clip_upload_dir = self.dir.path().join("clips");
        let mut config = Config { database_path: self.database(), clip_upload_dir, ..Config::default() };
        config.media = self.media.clone();
        config.edge_timeout_seconds = self.edge_timeout_seconds;
        config.presence = self.presence.clone();
        config.notifications = self.notifications.clone();
        config.http.public_url = self.public_url.clone();
        config.http.bind = loopback;
        config.mqtt.bind = loopback;
        config.metrics.bind = Some(loopback);
        // One program plays everybody, and faster than people are; tests of the limits set them.
        config.calls.per_second = 0;
        config.calls.tenant_per_second = 0;
        config.http.security_contact = "mailto:security@example.com".parse().ok();
        (self.change)(&mut config);
        config
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await.unwrap();
        }
    }

    pub(crate) fn http_port(&self) -> u16 {
        self.running.as_ref().unwrap().http_addr().port()
    }

    pub(crate) fn mqtt_port(&self) -> u16 {
        self.running.as_ref().unwrap().mqtt_addr().port()
    }

    /// Asks the listener for those who run the cloud.
    pub(crate) async fn inside(&self, path: &str) -> Answer {
        self.inside_as(path, None).await
    }

    pub(crate) async fn inside_as(&self, path: &str, token: Option<&str>) -> Answer {
        let address = self.running.as_ref().unwrap().metrics_addr().unwrap();
        let mut request = self.http.get(format!("http://{address}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Answer::of(request).await
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("cloud.db")
    }

    /// Changes rows behind the cloud's back.
    pub(crate) fn sql(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.database()).unwrap();
        connection.busy_timeout(SOON).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(&body)).await
    }

    /// Registers a tenant; its owner's address is made from the name.
    pub(crate) async fn register(&self, tenant_name: &str) -> Owner {
        let email = format!("owner@{tenant_name}.example");
        let body = json!({ "tenant_name": tenant_name, "email": email, "password": PASSWORD, "name": "Owner" });
        let answer = self.post("/api/auth/register", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        Owner { token: answer.text("token") }
    }

    pub(crate) async fn get_as(&self, owner: &Owner, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).bearer_auth(&owner.token)).await
    }

    pub(crate) async fn send_as(&self, owner: &Owner, method: Method, path: &str, body: Value) -> Answer {
        Answer::of(self.request(method, path).bearer_auth(&owner.token).json(&body)).await
    }

    pub(crate) async fn post_as(&self, owner: &Owner, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, path).bearer_auth(&owner.token).json(&body)).await
    }

    /// Registers an edge; returns its id and secret.
    pub(crate) async fn register_edge(&self, owner: &Owner) -> (String, String) {
        let answer = self.post_as(owner, "/api/tenant/edges", json!({ "name": "Gate" })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        (answer.text("edge_id"), answer.text("edge_secret"))
    }
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let mut body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let request_id = body.as_object_mut().and_then(|problem| problem.remove("request_id"));
        Self { status, headers, body, request_id }
    }

    pub(crate) fn text(&self, member: &str) -> String {
        self.body[member].as_str().unwrap_or_else(|| panic!("{member} in {self:?}")).to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem document with `status` about `field`.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, field: Option<&str>) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.body["status"], status, "{self:?}");
        assert_eq!(self.body["field"].as_str(), field, "{self:?}");
        for member in ["type", "title", "detail"] {
            assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {self:?}");
        }
    }

    #[track_caller]
    pub(crate) fn assert_ok(&self) {
        assert!(self.status.is_success(), "{self:?}");
    }
}
