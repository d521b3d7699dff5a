//! What edges saw: lists of events, clips and snapshots.

use super::Call;
use crate::party::Party;

pub(super) async fn call(_: &Party<'_>, operation: &str) -> Option<Call> {
    Some(match operation {
        "list_detections" | "list_zone_events" | "list_clips" | "get_clip" | "list_snapshots" | "get_snapshot" => {
            Call::plain()
        }
        _ => return None,
    })
}
