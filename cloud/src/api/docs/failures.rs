//! Which failures an operation can answer. The framework writes all of them down for each; here those are taken away
//! that can't be, by what the document says of the operation and by lists, each with its reason.

use serde_json::Value;

/// Operations without a token that ask for a secret in the body: 401 says that it is wrong.
const ASK_FOR_A_SECRET: [&str; 4] = ["enroll_edge", "login", "login_second_factor", "refresh_token"];

/// Operations that name something of the tenant in the body, in the query or not at all: 404 says that it is not there.
const NAME_SOMETHING: [&str; 7] = [
    "back_test_rule",
    "buy_live_ticket",
    "cancel_tenant_deletion",
    "create_api_key",
    "exchange_sign_in_code",
    "invite_person",
    "show_provider",
];

/// Operations that may collide with what is there, beside those with `Idempotency-Key` or `If-Match`.
const MAY_COLLIDE: [&str; 23] = [
    // A revoked edge can't be asked.
    "buy_live_ticket",
    "list_cameras",
    "show_boxes",
    "show_sprite",
    "show_timeline",
    // A revoked edge has no secret; one that is spent enrols nobody.
    "enroll_edge",
    "rotate_edge_secret",
    // The state of a command, an alert or a second factor allows no such step.
    "acknowledge_alert",
    "assign_alert",
    "begin_second_factor",
    "cancel_command",
    "confirm_second_factor",
    "disable_second_factor",
    "reopen_alert",
    "resolve_alert",
    // The tenant's last owner.
    "change_person",
    "remove_person",
    // The file is not there, or is another one.
    "lock_clip",
    "lock_snapshot",
    "offer_media",
    // What the edge shall run has changed meanwhile.
    "change_zones",
    // Only webhooks have a secret.
    "rotate_channel_secret",
    // The cloud does not know its own address.
    "start_provider_sign_in",
];

/// Operations without a body whose parameters may be at odds with each other or with what is there.
const HAVE_ODD_PARAMETERS: [&str; 6] =
    ["count_detections", "count_zone_events", "show_boxes", "show_command", "show_timeline", "verify_audit"];

/// Operations whose tries are counted, against guessing and against floods of mails.
const COUNT_TRIES: [&str; 17] = [
    "accept_invitation",
    "begin_second_factor",
    "change_password",
    "confirm_second_factor",
    "disable_second_factor",
    "exchange_sign_in_code",
    "finish_provider_sign_in",
    "invite_person",
    "login",
    "login_second_factor",
    "refresh_token",
    "register",
    "replace_recovery_codes",
    "request_password_reset",
    "request_tenant_deletion",
    "reset_password",
    "start_provider_sign_in",
];

/// Operations that an edge answers: 504 when it does not, 429 when it has been asked too much.
const WAIT_FOR_AN_EDGE: [&str; 4] = ["list_cameras", "show_boxes", "show_sprite", "show_timeline"];

/// Operations of which a tenant has one at work at a time: 429 while it is.
const ONE_AT_A_TIME: [&str; 1] = ["back_test_rule"];

/// Operations that take room for files.
const NEED_ROOM: [&str; 2] = ["offer_media", "send_media"];

/// Whether `operation` can answer `status`, which is one of the statuses of failures.
pub(super) fn can_answer(operation: &Value, status: &str) -> bool {
    let is_of = |ids: &[&str]| operation["operationId"].as_str().is_some_and(|id| ids.contains(&id));
    let parameters = || operation["parameters"].as_array().into_iter().flatten();
    let takes = |name: &str| parameters().any(|parameter| parameter["name"] == name);
    let is_for = |scheme: &str| schemes(operation).any(|known| known == scheme);
    let has_body = operation["requestBody"].is_object();
    match status {
        "401" => schemes(operation).next().is_some() || is_of(&ASK_FOR_A_SECRET),
        // Whoever has a token may ask who it is; an edge's token is good for all of an edge's operations.
        "403" => is_for("UserToken") && !is_of(&["me"]) || is_of(&["enroll_edge"]),
        "404" => parameters().any(|parameter| parameter["in"] == "path") || is_of(&NAME_SOMETHING),
        // Of a path, for the methods that it has not.
        "405" => false,
        "409" => takes("Idempotency-Key") || takes("If-Match") || is_of(&MAY_COLLIDE),
        "413" | "415" => has_body,
        "422" => has_body || takes("Idempotency-Key") || is_of(&HAVE_ODD_PARAMETERS),
        "429" => is_of(&COUNT_TRIES) || is_of(&WAIT_FOR_AN_EDGE) || is_of(&ONE_AT_A_TIME),
        "504" => is_of(&WAIT_FOR_AN_EDGE),
        "507" => is_of(&NEED_ROOM),
        _ => true,
    }
}

fn schemes(operation: &Value) -> impl Iterator<Item = &str> {
    let wanted = operation["security"].as_array().into_iter().flatten();
    wanted.filter_map(Value::as_object).flat_map(|schemes| schemes.keys().map(String::as_str))
}

/// The name of a failure among the answers that operations share.
pub(super) fn name(status: &str) -> Option<&'static str> {
    Some(match status {
        "400" => "BadRequest",
        "401" => "Unauthorized",
        "403" => "Forbidden",
        "404" => "NotFound",
        "405" => "MethodNotAllowed",
        "409" => "Conflict",
        "413" => "PayloadTooLarge",
        "415" => "UnsupportedMediaType",
        "422" => "Unprocessable",
        "429" => "TooManyRequests",
        "500" => "Internal",
        "503" => "Unavailable",
        "504" => "GatewayTimeout",
        "507" => "NoRoom",
        _ => return None,
    })
}

/// What a failure typically says, and of which field.
pub(super) fn typical(status: &str) -> (&'static str, &'static str, Option<&'static str>) {
    match status {
        "400" => ("Bad Request", "limit: must be a number of 1 to 1000", Some("limit")),
        "401" => ("Unauthorized", "the token is not valid or has ended; sign in again", None),
        "403" => ("Forbidden", "your role is viewer, this needs operator or above", None),
        "404" => ("Not Found", "there is no such thing, or it is not yours", None),
        "405" => ("Method Not Allowed", "this path has the methods GET, HEAD", None),
        "409" => ("Conflict", "email: is already taken", Some("email")),
        "413" => ("Payload Too Large", "the body may have at most 1048576 bytes", None),
        "415" => ("Unsupported Media Type", "the body must be sent with content-type: application/json", None),
        "422" => ("Unprocessable Entity", "name: must have 1 to 100 characters", Some("name")),
        "429" => ("Too Many Requests", "too many tries from this address", None),
        "503" => ("Service Unavailable", "the cloud can't write its database at the moment", None),
        "504" => ("Gateway Timeout", "the edge does not answer: check that it has power and a network", None),
        "507" => ("Insufficient Storage", "the tenant's clips and snapshots have all the room they may take", None),
        _ => ("Internal Server Error", "the cloud failed to do this; its log says why", None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STATUSES: [&str; 14] =
        ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429", "500", "503", "504", "507"];

    #[track_caller]
    fn assert_answers(operation: &Value, expected: &[&str]) {
        let found: Vec<_> = STATUSES.into_iter().filter(|status| can_answer(operation, status)).collect();
        assert_eq!(found, expected, "{operation}");
    }

    #[test]
    fn an_operation_has_the_failures_that_its_token_body_and_parameters_can_have() {
        let user = json!([{ "UserToken": [] }]);
        assert_answers(&json!({ "operationId": "me", "security": user }), &["400", "401", "500", "503"]);
        let list =
            json!({ "operationId": "list_x", "security": user, "parameters": [{ "in": "query", "name": "limit" }] });
        assert_answers(&list, &["400", "401", "403", "500", "503"]);
        let make = json!({
            "operationId": "make_x", "security": user, "requestBody": {},
            "parameters": [{ "in": "path", "name": "id" }, { "in": "header", "name": "Idempotency-Key" }],
        });
        assert_answers(&make, &["400", "401", "403", "404", "409", "413", "415", "422", "500", "503"]);
        let delete = json!({ "operationId": "x", "parameters": [{ "in": "header", "name": "If-Match" }] });
        assert_answers(&delete, &["400", "409", "500", "503"]);
        let edge = json!({ "operationId": "x", "security": [{ "EdgeToken": [] }], "requestBody": {} });
        assert_answers(&edge, &["400", "401", "413", "415", "422", "500", "503"]);
    }

    #[test]
    fn what_the_document_does_not_show_is_listed() {
        assert_answers(&json!({ "operationId": "list_cameras" }), &["400", "409", "429", "500", "503", "504"]);
        assert_answers(&json!({ "operationId": "offer_media" }), &["400", "409", "500", "503", "507"]);
        assert_answers(&json!({ "operationId": "enroll_edge" }), &["400", "401", "403", "409", "500", "503"]);
        assert_answers(&json!({ "operationId": "verify_audit" }), &["400", "422", "500", "503"]);
        assert_answers(&json!({ "operationId": "back_test_rule" }), &["400", "404", "429", "500", "503"]);
        assert_answers(&json!({ "operationId": "invite_person" }), &["400", "404", "429", "500", "503"]);
    }

    #[test]
    fn the_lists_name_operations_that_there_are() {
        let document = include_str!("../../../../docs/ref/openapi.json");
        let lists = [&ASK_FOR_A_SECRET[..], &NAME_SOMETHING, &MAY_COLLIDE, &HAVE_ODD_PARAMETERS, &COUNT_TRIES];
        for id in lists.into_iter().chain([&WAIT_FOR_AN_EDGE[..], &ONE_AT_A_TIME, &NEED_ROOM]).flatten() {
            assert!(document.contains(&format!("\"operationId\": \"{id}\"")), "{id}");
        }
    }

    #[test]
    fn every_failure_has_a_name_and_a_typical_text() {
        for status in STATUSES {
            assert!(name(status).is_some(), "{status}");
            assert_eq!(typical(status).0 == "Internal Server Error", status == "500", "{status}");
        }
    }
}
