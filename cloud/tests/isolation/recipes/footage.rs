//! Live view and playback; [`crate::footage_edge`] answers.

use serde_json::json;

use super::Call;
use crate::party::Party;

pub(super) async fn call(party: &Party<'_>, operation: &str) -> Option<Call> {
    let hour = "2026-11-22T13:00:00Z";
    let span = || Call::plain().query("from", hour).query("to", "2026-11-22T14:00:00Z");
    Some(match operation {
        "buy_live_ticket" => {
            Call::json(json!({ "edge_id": party.device.edge_id, "camera_id": party.thing("camera_id") }))
        }
        "list_cameras" => Call::plain(),
        "show_timeline" | "show_boxes" => span(),
        "show_sprite" => Call::plain().query("hour", hour),
        _ => return None,
    })
}
