//! Every failure of the API, as a problem document (RFC 9457).
//!
//! [`Failure`] lists every status there is, so that no answer is undocumented. Errors of the framework (a parameter
//! that does not parse, an unknown path, a missing token) become one as well, in [`Failure::from_error`].

use std::time::Duration;

use poem::Response;
use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::StatusCode;
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError, ParseRequestPayloadError};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object};

use super::documented::Documented;
use crate::store::{RightsError, StoreError};

/// Media type of problem documents.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// Most characters of [`Problem::detail`].
const MAX_DETAIL: usize = 500;

/// What went wrong, as RFC 9457 describes it.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct Problem {
    /// `about:blank`: the status says what kind of problem it is.
    #[oai(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status again.
    #[oai(validator(minimum(value = "400"), maximum(value = "599")))]
    pub status: u16,
    /// What is wrong and what to do, for a person.
    pub detail: String,
    /// The parameter or member of the body that is wrong.
    pub field: Option<String>,
    /// The request's name in the log of the cloud, as in the header `X-Request-Id`; name it when you report a problem.
    pub request_id: Option<String>,
}

/// A request that was not carried out.
#[derive(Debug, Clone, ApiResponse)]
pub(super) enum Failure {
    /// The request can't be read: a parameter, a header or the JSON of the body has a wrong form.
    #[oai(status = 400, content_type = "application/problem+json")]
    BadRequest(Json<Box<Problem>>),
    /// No token, or one that is wrong, has ended or was withdrawn.
    #[oai(status = 401, content_type = "application/problem+json")]
    Unauthorized(Json<Box<Problem>>, #[oai(header = "WWW-Authenticate")] String),
    /// The token is good, the role does not allow this.
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Box<Problem>>),
    /// There is no such thing, or it is not yours.
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Box<Problem>>),
    /// The path has no such method; `Allow` names those it has.
    #[oai(status = 405, content_type = "application/problem+json")]
    MethodNotAllowed(Json<Box<Problem>>, #[oai(header = "Allow")] String),
    /// What is asked for collides with what is there.
    #[oai(status = 409, content_type = "application/problem+json")]
    Conflict(Json<Box<Problem>>),
    /// The body is too large.
    #[oai(status = 413, content_type = "application/problem+json")]
    PayloadTooLarge(Json<Box<Problem>>),
    /// The body is of another type than the operation takes, mostly `application/json`.
    #[oai(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Json<Box<Problem>>),
    /// The request can be read, a value in it is not acceptable.
    #[oai(status = 422, content_type = "application/problem+json")]
    Unprocessable(Json<Box<Problem>>),
    /// Too many calls or tries; `Retry-After` says for how many seconds to wait.
    #[oai(status = 429, content_type = "application/problem+json")]
    TooManyRequests(Json<Box<Problem>>, #[oai(header = "Retry-After")] String),
    /// A defect of the cloud; it is in its log.
    #[oai(status = 500, content_type = "application/problem+json")]
    Internal(Json<Box<Problem>>),
    /// The cloud can't do this now; try again after `Retry-After` seconds.
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Box<Problem>>, #[oai(header = "Retry-After")] String),
    /// The edge did not answer in time.
    #[oai(status = 504, content_type = "application/problem+json")]
    GatewayTimeout(Json<Box<Problem>>),
    /// There is no room for a file: the tenant's quota or the cloud's disk is full.
    #[oai(status = 507, content_type = "application/problem+json")]
    NoRoom(Json<Box<Problem>>),
}

impl Failure {
    pub(super) fn bad_request(field: Option<&str>, detail: impl Into<String>) -> Self {
        Self::BadRequest(problem(StatusCode::BAD_REQUEST, field, detail))
    }

    /// `challenge` is the value of `WWW-Authenticate`, RFC 6750 section 3.
    pub(super) fn unauthorized(detail: impl Into<String>, challenge: &str) -> Self {
        Self::Unauthorized(problem(StatusCode::UNAUTHORIZED, None, detail), challenge.to_owned())
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::Forbidden(problem(StatusCode::FORBIDDEN, None, detail))
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::NotFound(problem(StatusCode::NOT_FOUND, None, detail))
    }

    pub(super) fn method_not_allowed(allow: String) -> Self {
        let detail = format!("this path has the methods {allow}");
        Self::MethodNotAllowed(problem(StatusCode::METHOD_NOT_ALLOWED, None, detail), allow)
    }

    pub(super) fn conflict(field: Option<&str>, detail: impl Into<String>) -> Self {
        Self::Conflict(problem(StatusCode::CONFLICT, field, detail))
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("the body may have at most {limit} bytes");
        Self::PayloadTooLarge(problem(StatusCode::PAYLOAD_TOO_LARGE, None, detail))
    }

    /// A value that is not acceptable; `reason` follows the field's name.
    pub(super) fn unacceptable(field: &str, reason: impl std::fmt::Display) -> Self {
        let detail = format!("{field}: {reason}");
        Self::Unprocessable(problem(StatusCode::UNPROCESSABLE_ENTITY, Some(field), detail))
    }

    pub(super) fn too_many(detail: impl Into<String>, wait: Duration) -> Self {
        Self::TooManyRequests(problem(StatusCode::TOO_MANY_REQUESTS, None, detail), whole_seconds(wait))
    }

    pub(super) fn internal() -> Self {
        let detail = "the cloud failed to do this; its log says why";
        Self::Internal(problem(StatusCode::INTERNAL_SERVER_ERROR, None, detail))
    }

    pub(super) fn unavailable(detail: impl Into<String>, wait: Duration) -> Self {
        Self::Unavailable(problem(StatusCode::SERVICE_UNAVAILABLE, None, detail), whole_seconds(wait))
    }

    pub(super) fn edge_away() -> Self {
        let detail = "the edge does not answer: check that it has power and a network";
        Self::GatewayTimeout(problem(StatusCode::GATEWAY_TIMEOUT, None, detail))
    }

    pub(super) fn no_room(detail: impl Into<String>) -> Self {
        Self::NoRoom(problem(StatusCode::INSUFFICIENT_STORAGE, None, detail))
    }

    /// A file larger than any that is taken.
    pub(super) fn file_too_large(limit: u64) -> Self {
        let detail = format!("size_bytes: a file may have at most {limit} bytes");
        Self::PayloadTooLarge(problem(StatusCode::PAYLOAD_TOO_LARGE, Some("size_bytes"), detail))
    }

    /// Turns an error of the framework into a failure; `path` is what was asked for.
    pub(super) fn from_error(error: &poem::Error, documented: &Documented, path: &str) -> Self {
        if let Some(error) = error.downcast_ref::<ParseParamError>() {
            return parameter(error.name, &error.reason);
        }
        if let Some(error) = error.downcast_ref::<ParsePathError>() {
            return parameter(documented.path_parameter(path, error.name), &error.reason);
        }
        if let Some(ParseRequestPayloadError { reason }) = error.downcast_ref() {
            return Self::bad_request(None, reason);
        }
        if error.is::<ContentTypeError>() {
            let detail = "the body must be sent with content-type: application/json";
            return Self::UnsupportedMediaType(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, detail));
        }
        if error.is::<MethodNotAllowedError>() {
            return Self::method_not_allowed(documented.methods(path));
        }
        if error.is::<NotFoundError>() {
            return Self::not_found("there is nothing at this path");
        }
        match error.status() {
            StatusCode::UNAUTHORIZED => Self::unauthorized("a bearer token is needed; sign in first", "Bearer"),
            status if status.is_client_error() => Self::bad_request(None, error.to_string()),
            _ => {
                // An answer made by our own hand has been explained where it was made.
                if !error.is_from_response() {
                    tracing::error!(%error, "a request failed");
                }
                Self::internal()
            }
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Taken(field) => Self::conflict(Some(field), format!("{field}: is already taken")),
            StoreError::NotFound => Self::not_found("there is no such thing, or it is not yours"),
            StoreError::NoSuchChannel { field, channel_id } => {
                Self::unacceptable(&field, format!("there is no channel {channel_id}"))
            }
            StoreError::SecretSpent => Self::conflict(Some("edge_secret"), "edge_secret: has been used or replaced"),
            StoreError::Rights(error @ RightsError::LastOwner) => Self::conflict(Some("role"), error.to_string()),
            StoreError::Rights(error @ RightsError::UnlimitedRole) => Self::unacceptable("cameras", error),
            StoreError::Rights(error) => Self::forbidden(error.to_string()),
            StoreError::Overtaken => Self::conflict(None, "a repeat of this request is at work; ask for what it made"),
            StoreError::QuotaFull => Self::no_room("the tenant's clips and snapshots have all the room they may take"),
            StoreError::TooMany(_) => Self::conflict(None, error.to_string()),
            StoreError::AtWork(wait) => Self::too_many(error.to_string(), wait),
            StoreError::TooSlow => Self::unavailable(error.to_string(), Duration::from_secs(1)),
            StoreError::Unwritable(reason) => {
                let reason = StoreError::Unwritable(reason);
                tracing::error!("{reason}");
                Self::unavailable("the cloud can't write its database at the moment", Duration::from_secs(10))
            }
            StoreError::Database(reason) => {
                tracing::error!(%reason, "the database failed");
                Self::internal()
            }
        }
    }
}

/// Whether a response already is a problem document.
pub(super) fn is_problem(response: &Response) -> bool {
    response.content_type() == Some(PROBLEM_JSON)
}

fn parameter(name: &str, reason: &str) -> Failure {
    Failure::bad_request(Some(name), format!("{name}: {}", without_type_names(reason)))
}

/// Takes the framework's talk of its own types off a reason.
fn without_type_names(reason: &str) -> &str {
    let reason = reason.split(" (occurred while parsing").next().unwrap_or(reason);
    match reason.strip_prefix("failed to parse \"").and_then(|rest| rest.split_once("\": ")) {
        Some((_, reason)) => reason,
        None => reason,
    }
}

fn problem(status: StatusCode, field: Option<&str>, detail: impl Into<String>) -> Json<Box<Problem>> {
    // Boxed, so that results with a failure stay small.
    Json(Box::new(Problem {
        kind: "about:blank".into(),
        title: status.canonical_reason().unwrap_or("Failure").into(),
        status: status.as_u16(),
        detail: short(detail.into()),
        field: field.map(Into::into),
        // Filled in by the guard, which alone knows it.
        request_id: None,
    }))
}

/// At most [`MAX_DETAIL`] characters: what was wrong may be repeated in it, and a body has room for a megabyte of that.
fn short(detail: String) -> String {
    match detail.char_indices().nth(MAX_DETAIL) {
        Some((end, _)) => format!("{}…", &detail[..end]),
        None => detail,
    }
}

/// Rounded up, so that a caller who waits that long is not turned away again.
fn whole_seconds(wait: Duration) -> String {
    wait.as_nanos().div_ceil(1_000_000_000).max(1).to_string()
}
