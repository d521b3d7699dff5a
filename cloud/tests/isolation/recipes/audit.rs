//! The audit log.

use super::Call;
use crate::party::Party;

#[expect(clippy::unused_async, reason = "entries of other nouns wait for what they make")]
pub(super) async fn call(_: &Party<'_>, operation: &str) -> Option<Call> {
    Some(match operation {
        "list_audit" | "verify_audit" | "export_audit" => Call::plain(),
        _ => return None,
    })
}
