//! Exports of the tenant, its deletion, and locks of single files.

use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::json;

use super::Call;
use crate::cloud::PASSWORD;
use crate::party::Party;

const EXPORTS: &str = "/api/tenant/exports";
static WITH_FILES: AtomicBool = AtomicBool::new(false);

pub(super) async fn call(party: &Party<'_>, operation: &str) -> Option<Call> {
    Some(match operation {
        "list_tenant_exports" | "show_tenant_export" | "show_tenant_deletion" => Call::plain(),
        "create_tenant_export" => {
            make_room(party).await;
            // Each request differs from the one before it.
            Call::json(json!({ "include_media": WITH_FILES.fetch_xor(true, Ordering::Relaxed) }))
        }
        "delete_tenant_export" => {
            make_room(party).await;
            let made = party.cloud.post_as(&party.owner, EXPORTS, json!({})).await;
            Call::plain().path("export_id", made.text("export_id"))
        }
        "request_tenant_deletion" => Call::json(deletion(party)),
        "cancel_tenant_deletion" => {
            party.cloud.post_as(&party.owner, "/api/tenant/deletion", deletion(party)).await.assert_ok();
            Call::plain()
        }
        "lock_clip" | "lock_snapshot" => Call::json(json!({ "reason": party.slug("Case") })),
        "unlock_clip" | "unlock_snapshot" => Call::plain(),
        _ => return None,
    })
}

fn deletion(party: &Party<'_>) -> serde_json::Value {
    json!({ "current_password": PASSWORD, "tenant_name": party.marker })
}

/// There may be a few exports at once: all but the first one go.
async fn make_room(party: &Party<'_>) {
    let listed = party.cloud.get_as(&party.owner, EXPORTS).await;
    let mut there: Vec<_> = listed.body["items"].as_array().unwrap().iter().collect();
    there.retain(|export| export["state"] != "expired");
    there.pop();
    for export in there {
        let path = format!("{EXPORTS}/{}", export["export_id"].as_str().unwrap());
        party.cloud.send_as(&party.owner, Method::DELETE, &path, json!({})).await.assert_ok();
    }
}
