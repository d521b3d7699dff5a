//! Desired and reported documents as the API shows them.

use aivms_cloud_core::desired::{Difference, hide_in_text};
use aivms_cloud_core::page::Cursor;
use aivms_contract::desired::ReportedState;
use aivms_contract::id::EdgeId;
use aivms_contract::time::UtcMillis;
use poem_openapi::types::Any;
use poem_openapi::{Enum, Object};
use serde_json::Value;

use super::super::values::{Text, Time, time};
use crate::store::{DesiredVersion, ReportedNow};

/// What an edge should run.
#[derive(Debug, Object)]
#[oai(rename = "Desired")]
pub(super) struct DesiredAnswer {
    /// The edge.
    edge_id: Text<EdgeId>,
    /// Counts up with each change; 0 while there is no document and the edge runs its local files.
    version: u64,
    /// When this version was made.
    #[oai(nullable)]
    made_at: Option<Text<Time>>,
    /// Name of who made it; null once that person is gone.
    #[oai(nullable)]
    made_by: Option<String>,
    /// The cameras with their zones; null while there is no document.
    #[oai(nullable)]
    cameras: Option<Any<Value>>,
    /// Settings of the whole edge; null while there is no document.
    #[oai(nullable)]
    settings: Option<Any<Value>>,
}

/// Versions of a desired document.
#[derive(Debug, Object)]
pub(super) struct DesiredHistory {
    /// Newest first.
    pub(super) items: Vec<DesiredVersionAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    pub(super) next_cursor: Option<Text<Cursor>>,
}

/// A version of a desired document.
#[derive(Debug, Object)]
#[oai(rename = "DesiredVersion")]
pub(super) struct DesiredVersionAnswer {
    /// Its number.
    version: u64,
    /// When it was made.
    made_at: Text<Time>,
    /// Name of who made it; null once that person is gone.
    #[oai(nullable)]
    made_by: Option<String>,
    /// What it changed; null when the version before is not kept.
    #[oai(nullable)]
    changes: Option<Vec<FieldDifference>>,
}

/// What differs between two versions.
#[derive(Debug, Object)]
#[oai(rename = "DesiredDifference")]
pub(super) struct DifferenceAnswer {
    /// From this version; 0 for no document.
    pub(super) from: u64,
    /// To this version; 0 for no document.
    pub(super) to: u64,
    /// The fields that differ, by path.
    pub(super) items: Vec<FieldDifference>,
}

/// A field that differs.
#[derive(Debug, Object)]
pub(super) struct FieldDifference {
    /// Its path; members of lists are named by their ids: `cameras[front-door].zones[entrance].dwell_ms`.
    path: String,
    /// The value before; null where there was none.
    #[oai(nullable)]
    before: Option<Any<Value>>,
    /// The value after; null where there is none.
    #[oai(nullable)]
    after: Option<Any<Value>>,
}

/// What an edge says it runs.
#[derive(Debug, Object)]
#[oai(rename = "Reported")]
pub(super) struct ReportedAnswer {
    /// The edge.
    edge_id: Text<EdgeId>,
    /// What became of the version it answered last.
    state: ReportState,
    /// The version it answered last; 0 before the first.
    version: u64,
    /// The version it runs; 0 for its local files.
    runs: u64,
    /// The newest version there is; 0 for none.
    desired: u64,
    /// Whether it runs the newest version.
    is_current: bool,
    /// Path of the field for which it refused the version.
    #[oai(nullable)]
    field: Option<String>,
    /// What is wrong with that field.
    #[oai(nullable)]
    reason: Option<String>,
    /// When it said so, by its own clock.
    #[oai(nullable)]
    at: Option<Text<Time>>,
    /// When the cloud heard it.
    #[oai(nullable)]
    received_at: Option<Text<Time>>,
}

/// What became of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum ReportState {
    /// The edge has not said anything yet.
    Unknown,
    /// It runs, whole.
    Applied,
    /// It was refused, whole; the edge goes on with what it ran.
    Refused,
}

impl DesiredAnswer {
    /// `version` must have been hidden.
    pub(super) fn new(edge_id: &EdgeId, version: Option<DesiredVersion>) -> Self {
        let edge_id = Text(edge_id.clone());
        let Some(DesiredVersion { document, made_at, made_by }) = version else {
            return Self { edge_id, version: 0, made_at: None, made_by: None, cameras: None, settings: None };
        };
        let json = |value: Result<Value, serde_json::Error>| Some(Any(value.unwrap_or_default()));
        Self {
            edge_id,
            version: document.version,
            made_at: Some(time(made_at)),
            made_by,
            cameras: json(serde_json::to_value(&document.cameras)),
            settings: json(serde_json::to_value(&document.settings)),
        }
    }
}

impl DesiredVersionAnswer {
    pub(super) fn new(
        version: u64,
        made_at: UtcMillis,
        made_by: Option<String>,
        changes: Option<Vec<FieldDifference>>,
    ) -> Self {
        Self { version, made_at: time(made_at), made_by, changes }
    }
}

impl ReportedAnswer {
    pub(super) fn new(edge_id: &EdgeId, reported: Option<ReportedNow>, desired: u64) -> Self {
        let edge_id = Text(edge_id.clone());
        let Some(ReportedNow { reported, received_at, runs }) = reported else {
            return Self {
                edge_id,
                state: ReportState::Unknown,
                version: 0,
                runs: 0,
                desired,
                is_current: desired == 0,
                field: None,
                reason: None,
                at: None,
                received_at: None,
            };
        };
        let (state, field, reason) = match reported.state {
            ReportedState::Applied => (ReportState::Applied, None, None),
            // An edge never repeats an address; a version of another make might.
            ReportedState::Refused { field, reason } => (
                ReportState::Refused,
                Some(field),
                Some(if reason.contains("://") { hide_in_text(&reason) } else { reason }),
            ),
        };
        Self {
            edge_id,
            state,
            version: reported.version,
            runs,
            desired,
            is_current: runs == desired,
            field,
            reason,
            at: Some(time(reported.at)),
            received_at: Some(time(received_at)),
        }
    }
}

/// Differences as the API shows them.
pub(super) fn differences(found: Vec<Difference>) -> Vec<FieldDifference> {
    found
        .into_iter()
        .map(|Difference { path, before, after }| FieldDifference {
            path,
            before: before.map(Any),
            after: after.map(Any),
        })
        .collect()
}
