//! How the connection is: what MQTT and HTTPS know of each other, and what a person is shown.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock;

/// How the connection is, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkHealth {
    /// What it is doing.
    pub state: LinkState,
    /// Since when.
    pub since: UtcMillis,
    /// Why it is not connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// What the connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// No cloud is configured.
    Alone,
    /// There is no certificate yet.
    NotEnrolled,
    /// The first attempt is under way.
    Connecting,
    /// MQTT is connected.
    Connected,
    /// MQTT is not connected and is tried again.
    Retrying,
    /// MQTT is not connected; events go over HTTPS.
    Backup,
}

impl LinkHealth {
    /// A state entered now.
    #[must_use]
    pub fn now(state: LinkState, cause: Option<String>) -> Self {
        Self { state, since: clock::now(), cause }
    }
}

/// The line both ways share.
pub(super) struct Line {
    health: watch::Sender<LinkHealth>,
    /// Since when MQTT has not delivered; `None` while it does.
    mqtt_down_since: watch::Sender<Option<Instant>>,
    mqtt_cause: Mutex<Option<String>>,
}

impl Line {
    pub(super) fn new(health: watch::Sender<LinkHealth>) -> Self {
        let mqtt_down_since = watch::channel(Some(Instant::now())).0;
        Self { health, mqtt_down_since, mqtt_cause: Mutex::default() }
    }

    /// Shows a state; the time in it is kept when it is not new.
    pub(super) fn show(&self, state: LinkState, cause: Option<String>) {
        self.health.send_if_modified(|health| {
            let changed = health.state != state || health.cause != cause;
            if health.state != state {
                *health = LinkHealth::now(state, cause);
            } else {
                health.cause = cause;
            }
            changed
        });
    }

    /// MQTT works: it is connected and acknowledgements arrive, if anything waits for one.
    pub(super) fn mqtt_works(&self) {
        self.mqtt_down_since.send_replace(None);
        self.show(LinkState::Connected, None);
    }

    /// MQTT does not work. HTTPS, if it does, stays what a person is shown.
    pub(super) fn mqtt_failed(&self, cause: String) {
        self.mqtt_down_since.send_if_modified(|since| since.replace(since.unwrap_or_else(Instant::now)).is_none());
        *self.mqtt_cause() = Some(cause.clone());
        let is_backed_up = self.health.borrow().state == LinkState::Backup;
        self.show(if is_backed_up { LinkState::Backup } else { LinkState::Retrying }, Some(cause));
    }

    /// HTTPS delivers while MQTT does not.
    pub(super) fn backup_works(&self) {
        if self.mqtt_down_since.borrow().is_some() {
            let cause = self.mqtt_cause().clone();
            self.show(LinkState::Backup, cause);
        }
    }

    /// HTTPS does not deliver either; it often knows better why.
    pub(super) fn backup_failed(&self, cause: &str) {
        if self.mqtt_down_since.borrow().is_some() {
            let mqtt = self.mqtt_cause().clone().unwrap_or_else(|| "MQTT does not connect".to_owned());
            self.show(LinkState::Retrying, Some(format!("{mqtt}; over HTTPS: {cause}")));
        }
    }

    fn mqtt_cause(&self) -> MutexGuard<'_, Option<String>> {
        self.mqtt_cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when MQTT has not delivered, to be watched.
    pub(super) fn mqtt_down_since(&self) -> watch::Receiver<Option<Instant>> {
        self.mqtt_down_since.subscribe()
    }
}
