//! A command as the API shows it.

use aivms_cloud_core::command::CommandState;
use aivms_contract::id::{CameraId, CommandId, EdgeId};
use poem_openapi::types::Any;
use poem_openapi::{Enum, Object};
use serde_json::{Map, Value};

use super::super::values::{Text, Time, time};
use crate::store::StoredCommand;

/// A command.
#[derive(Debug, Object)]
#[oai(rename = "Command")]
pub(super) struct CommandAnswer {
    /// Its identifier.
    command_id: Text<CommandId>,
    /// The edge that shall do it.
    edge_id: Text<EdgeId>,
    /// Its name.
    command: String,
    /// Its arguments.
    payload: Any<Map<String, Value>>,
    /// The camera it is about; null when it concerns the whole edge.
    #[oai(nullable)]
    camera_id: Option<Text<CameraId>>,
    /// Where it is in its life.
    state: State,
    /// When it was asked for.
    created_at: Text<Time>,
    /// Name of who asked; null once that person is gone.
    #[oai(nullable)]
    created_by: Option<String>,
    /// The edge does not begin after this.
    expires_at: Text<Time>,
    /// When the edge was told first; null before.
    #[oai(nullable)]
    sent_at: Option<Text<Time>>,
    /// When it ended; null before.
    #[oai(nullable)]
    ended_at: Option<Text<Time>>,
    /// Why it ended so, for every end but `succeeded` and `cancelled`.
    #[oai(nullable)]
    reason: Option<String>,
    /// What it returned; null without an answer.
    #[oai(nullable)]
    data: Option<Any<Map<String, Value>>>,
}

/// Where a command is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "CommandState", rename_all = "snake_case")]
pub(super) enum State {
    /// Stored; the edge has not been told.
    Queued,
    /// The edge has been told.
    Sent,
    /// Done.
    Succeeded,
    /// Tried and not done.
    Failed,
    /// Not tried: the edge does not know it or its arguments are wrong.
    Rejected,
    /// Not tried: it reached the edge after its expiry.
    TimedOut,
    /// Never answered.
    Expired,
    /// Taken back before the edge was told.
    Cancelled,
}

impl CommandAnswer {
    /// Its identifier.
    pub(super) fn id(&self) -> &CommandId {
        &self.command_id.0
    }

    pub(super) fn of(edge_id: &EdgeId, stored: StoredCommand) -> Self {
        let StoredCommand { command, camera, state, created_by, sent_at, ended_at, reason, data, row: _ } = stored;
        Self {
            command_id: Text(command.id),
            edge_id: Text(edge_id.clone()),
            command: command.command,
            payload: Any(command.payload),
            camera_id: camera.map(Text),
            state: state.into(),
            created_at: time(command.issued_at),
            created_by,
            expires_at: time(command.expires_at),
            sent_at: sent_at.map(time),
            ended_at: ended_at.map(time),
            reason,
            data: data.map(Any),
        }
    }
}

impl From<CommandState> for State {
    fn from(state: CommandState) -> Self {
        match state {
            CommandState::Queued => Self::Queued,
            CommandState::Sent => Self::Sent,
            CommandState::Succeeded => Self::Succeeded,
            CommandState::Failed => Self::Failed,
            CommandState::Rejected => Self::Rejected,
            CommandState::TimedOut => Self::TimedOut,
            CommandState::Expired => Self::Expired,
            CommandState::Cancelled => Self::Cancelled,
        }
    }
}

impl From<State> for CommandState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Sent => Self::Sent,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Rejected => Self::Rejected,
            State::TimedOut => Self::TimedOut,
            State::Expired => Self::Expired,
            State::Cancelled => Self::Cancelled,
        }
    }
}
