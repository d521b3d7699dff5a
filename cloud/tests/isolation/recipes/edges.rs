//! Edges, as people see them.

use serde_json::json;

use super::Call;
use crate::party::Party;

pub(super) async fn call(party: &Party<'_>, operation: &str) -> Option<Call> {
    let new_edge = async || party.cloud.register_edge(&party.owner).await.0;
    Some(match operation {
        "list_edges" | "show_edge" => Call::plain(),
        "register_edge" => Call::json(json!({ "name": party.slug("Edge") })),
        "rotate_edge_secret" | "revoke_edge" => Call::plain().path("edge_id", new_edge().await),
        _ => return None,
    })
}
