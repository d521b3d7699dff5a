//! Tenants, people and operators.

use serde_json::json;

use super::Call;
use crate::cloud::PASSWORD;
use crate::party::Party;

pub(super) async fn call(party: &Party<'_>, operation: &str) -> Option<Call> {
    let email = format!("owner@{}.example", party.marker);
    Some(match operation {
        "register" => {
            let name = format!("apart{}", fastrand::u64(..));
            let email = format!("owner@{name}.example");
            let body = json!({ "tenant_name": name, "email": email, "password": PASSWORD, "name": "Owner" });
            Call::json(body).apart()
        }
        "login" => Call::json(json!({ "email": email, "password": PASSWORD })),
        "me" | "list_operators" => Call::plain(),
        "create_operator" => Call::json(json!({ "name": party.slug("Operator") })),
        "revoke_operator" => {
            let made = party.cloud.post_as(&party.owner, "/api/tenant/operators", json!({ "name": "x" })).await;
            Call::plain().path("operator_id", made.text("operator_id"))
        }
        _ => return None,
    })
}
