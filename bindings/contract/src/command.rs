//! Commands to an edge and their one final answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{CameraId, CommandId, LockId};
use crate::time::UtcMillis;

/// Something to do once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Repeating an id repeats the answer, not the work.
    pub id: CommandId,
    /// When the cloud took it.
    pub issued_at: UtcMillis,
    /// After this the edge answers `timed_out` and does nothing.
    pub expires_at: UtcMillis,
    /// Name such as `restart_detection`; an unknown one is answered `rejected`.
    pub command: String,
    /// Arguments; their form depends on `command`.
    #[serde(default)]
    pub payload: Map<String, Value>,
}

/// The commands this version knows, with their arguments read.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Rebuild the pipelines of all cameras or of one.
    RestartDetection {
        /// The camera, or all of them.
        camera_id: Option<CameraId>,
    },
    /// Fetch and apply the desired document now.
    UpdateZones,
    /// Answer with a full health report.
    GetStatus,
    /// Cut a clip.
    RequestClip {
        /// The camera.
        camera_id: CameraId,
        /// First moment wanted.
        start: UtcMillis,
        /// Length wanted.
        duration_ms: u64,
    },
    /// Take a snapshot.
    RequestSnapshot {
        /// The camera.
        camera_id: CameraId,
        /// The moment wanted, from recorded footage; absent for now.
        at: Option<UtcMillis>,
        /// Whether boxes are to be drawn into it.
        boxes: bool,
    },
    /// Keep a span of footage whatever retention says.
    LockFootage {
        /// The name of the lock; locking twice under one name changes nothing.
        lock_id: LockId,
        /// The camera.
        camera_id: CameraId,
        /// Beginning of the span.
        start: UtcMillis,
        /// End of the span.
        end: UtcMillis,
        /// Why, in the words of whoever locks it.
        reason: String,
    },
    /// Take a lock away.
    UnlockFootage {
        /// The lock.
        lock_id: LockId,
    },
    /// Open the relay's WebSocket: somebody wants to look.
    OpenRelay,
}

/// Says why a command can't be carried out by this version; becomes the reason of a `rejected` answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// A name this version does not know.
    #[error("command: {0:?} is not known")]
    Unknown(String),
    /// An argument is missing, unknown or wrong.
    #[error("payload: {0}")]
    Payload(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoArguments {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RestartDetection {
    camera_id: Option<CameraId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestClip {
    camera_id: CameraId,
    start: UtcMillis,
    duration_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestSnapshot {
    camera_id: CameraId,
    at: Option<UtcMillis>,
    #[serde(default)]
    boxes: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFootage {
    lock_id: LockId,
    camera_id: CameraId,
    start: UtcMillis,
    end: UtcMillis,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnlockFootage {
    lock_id: LockId,
}

impl Command {
    /// Reads name and arguments.
    ///
    /// # Errors
    /// The name is not known or an argument is wrong.
    pub fn action(&self) -> Result<Action, ActionError> {
        match self.command.as_str() {
            "restart_detection" => {
                let RestartDetection { camera_id } = self.arguments()?;
                Ok(Action::RestartDetection { camera_id })
            }
            "update_zones" => self.arguments().map(|NoArguments {}| Action::UpdateZones),
            "get_status" => self.arguments().map(|NoArguments {}| Action::GetStatus),
            "request_clip" => {
                let RequestClip { camera_id, start, duration_ms } = self.arguments()?;
                Ok(Action::RequestClip { camera_id, start, duration_ms })
            }
            "request_snapshot" => {
                let RequestSnapshot { camera_id, at, boxes } = self.arguments()?;
                Ok(Action::RequestSnapshot { camera_id, at, boxes })
            }
            "lock_footage" => {
                let LockFootage { lock_id, camera_id, start, end, reason } = self.arguments()?;
                if end <= start {
                    return Err(ActionError::Payload("end: must be after start".to_owned()));
                }
                Ok(Action::LockFootage { lock_id, camera_id, start, end, reason })
            }
            "unlock_footage" => {
                let UnlockFootage { lock_id } = self.arguments()?;
                Ok(Action::UnlockFootage { lock_id })
            }
            "open_relay" => self.arguments().map(|NoArguments {}| Action::OpenRelay),
            other => Err(ActionError::Unknown(other.to_owned())),
        }
    }

    fn arguments<T: serde::de::DeserializeOwned>(&self) -> Result<T, ActionError> {
        serde_path_to_error::deserialize(Value::Object(self.payload.clone())).map_err(|error| {
            let problem = error.inner().to_string();
            ActionError::Payload(match error.path().to_string() {
                path if path == "." => problem,
                path => format!("{path}: {problem}"),
            })
        })
    }
}

/// The final answer to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandResult {
    /// The command answered.
    pub id: CommandId,
    /// When the answer was made.
    pub at: UtcMillis,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, for every outcome but `succeeded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the command returned.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done.
    Succeeded,
    /// Tried and not done.
    Failed,
    /// Not tried: unknown or with wrong arguments.
    Rejected,
    /// Not tried: it arrived after its expiry.
    TimedOut,
}
