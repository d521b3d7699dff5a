//! Sends the outbox over MQTT, over HTTPS when MQTT can't connect.
//!
//! An entry leaves the outbox only when the cloud has said on `down/acks` (or in the answer of an HTTPS batch) that
//! it is stored. The PUBACK of MQTT frees a packet id and nothing else. Every connection starts at the oldest entry
//! that is not acknowledged, and a connection on which acknowledgements stay away is given up, so nothing depends
//! on what the MQTT client remembers.

mod https;
mod line;
mod mqtt;
mod session;

use std::sync::Arc;
use std::time::Duration;

use aivms_contract::command::{Command, CommandResult};
use aivms_contract::desired::Reported;
use aivms_contract::status::Status;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::cloud::Cloud;
use crate::config;
use crate::identity::Identity;
use crate::outbox::Outbox;

pub use line::{LinkHealth, LinkState};

use line::Line;

/// Messages to or from the cloud that wait for the other side within the appliance. They are rare; when the channel
/// to the cloud is full a heartbeat is skipped, when the one from the cloud is full a command is dropped, which the
/// cloud repeats on the next connection.
pub const MESSAGES: usize = 64;

/// What the edge says besides its outbox.
#[derive(Debug, Clone, PartialEq)]
pub enum Say {
    /// A heartbeat; skipped while there is no connection.
    Status(Status),
    /// The answer to a command. If it is lost, the cloud repeats the command and gets the answer again.
    Result(CommandResult),
    /// What the edge runs. It is said again after each connection.
    Reported(Reported),
}

/// What the cloud says.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// The connection is up and what follows will arrive.
    Connected,
    /// Something to do once.
    Command(Command),
    /// A desired document, unread.
    Desired(Bytes),
}

/// The connection to the cloud, ready to run.
pub struct Uplink {
    /// What is sent.
    pub outbox: Outbox,
    /// Who this edge is; nothing is sent before there is an identity, and a new one means a new connection.
    pub identity: watch::Receiver<Option<Arc<Identity>>>,
    /// The HTTPS way.
    pub cloud: Arc<Cloud>,
    /// Times to keep.
    pub settings: UplinkSettings,
    /// What else is said.
    pub say: mpsc::Receiver<Say>,
    /// Where it is written what the cloud says.
    pub told: mpsc::Sender<Told>,
    /// Where it is written how the connection is.
    pub health: watch::Sender<LinkHealth>,
}

/// Times the connection keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UplinkSettings {
    /// Time without MQTT after which events go over HTTPS.
    pub backup_after: Duration,
    /// Time without an acknowledgement after which a connection is given up.
    pub ack_timeout: Duration,
}

impl From<&config::Cloud> for UplinkSettings {
    fn from(cloud: &config::Cloud) -> Self {
        Self { backup_after: cloud.backup_after, ack_timeout: cloud.ack_timeout }
    }
}

impl Uplink {
    /// Keeps the connection until `stop`; then says good-bye. What is not acknowledged stays in the outbox.
    pub async fn run(self, stop: CancellationToken) {
        let line = Arc::new(Line::new(self.health));
        let backup = https::Backup {
            outbox: self.outbox.clone(),
            identity: self.identity.clone(),
            cloud: self.cloud,
            backup_after: self.settings.backup_after,
            line: Arc::clone(&line),
        };
        let mqtt = mqtt::Mqtt::new(self.outbox, self.identity, self.settings.ack_timeout, self.say, self.told, line);
        tokio::join!(mqtt.run(stop.clone()), backup.run(stop));
    }
}

#[cfg(test)]
mod tests;
