//! Values of requests and answers: contract types with their form in the API's document.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use aivms_cloud_core::label::{LABEL_PATTERN, Label};
use aivms_cloud_core::notify::id::{ChannelId, DeliveryId, SubscriptionId};
use aivms_cloud_core::page::{CURSOR_PATTERN, Cursor, PLACE_CURSOR_PATTERN, PlaceCursor};
use aivms_cloud_core::people::{ApiKeyId, InvitationId, SessionId, TenantExportId, UserId};
use aivms_cloud_core::rules::{AlertId, IncidentId, RuleId};
use aivms_contract::id::{
    CameraId, ClipId, CommandId, EdgeId, EventId, OperatorId, OutboxId, SnapshotId, TenantId, TrackId, ZoneId,
};
use aivms_contract::media::{MediaId, MediaKind, Sha256Hex};
use aivms_contract::time::{TimeError, UtcMillis};
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::error::ParseRequestPayloadError;
use poem_openapi::payload::{Json, ParsePayload, Payload};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A text with a form of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text<T>(pub T);

/// How the form is described.
pub(super) trait TextForm: FromStr<Err: Display> + Display + Send + Sync {
    const NAME: &'static str;
    const PATTERN: Option<&'static str>;
    const FORMAT: Option<&'static str> = None;
    const EXAMPLE: &'static str;
}

/// A time: answers show RFC 3339 in UTC with milliseconds, parameters may also be in the bare form, which is UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub UtcMillis);

/// The version of something that is changed, as it stands in `If-Match`: `"3"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RuleVersion(pub u32);

/// Says that a text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a version in quotation marks, such as \"3\"")]
pub(super) struct VersionError;

const SEGMENT_PATTERN: Option<&str> = Some("^[a-z0-9_-]{1,64}$");

const ULID_PATTERN: Option<&str> = Some("^[0-7][0-9A-HJKMNP-TV-Z]{25}$");

macro_rules! text_forms {
    ($($type:ty: $name:literal, $pattern:expr, $example:literal;)*) => {$(
        impl TextForm for $type {
            const NAME: &'static str = $name;
            const PATTERN: Option<&'static str> = $pattern;
            const EXAMPLE: &'static str = $example;
        }
    )*};
}

text_forms! {
    TenantId: "tenant_id", SEGMENT_PATTERN, "acme-corp";
    EdgeId: "edge_id", Some("^edge_[a-z0-9_-]{1,59}$"), "edge_01kb3x0v7t5m9q2r8s4w6y1z3a";
    CameraId: "camera_id", SEGMENT_PATTERN, "front-door";
    ZoneId: "zone_id", SEGMENT_PATTERN, "entrance";
    TrackId: "track_id", SEGMENT_PATTERN, "01kb3x0v7t-17";
    ClipId: "clip_id", SEGMENT_PATTERN, "clip_01kb3x0v7t5m9q2r8s4w6y1z3a";
    SnapshotId: "snapshot_id", SEGMENT_PATTERN, "snapshot_01kb3x0v7t5m9q2r8s4w6y1z3a";
    MediaId: "media_id", SEGMENT_PATTERN, "clip_01kb3x0v7t5m9q2r8s4w6y1z3a";
    MediaKind: "kind", Some("^(clip|snapshot)$"), "clip";
    Sha256Hex: "sha256", Some("^[0-9a-f]{64}$"), "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    CommandId: "command_id", SEGMENT_PATTERN, "01kb3x0v7t5m9q2r8s4w6y1z3a";
    OutboxId: "outbox", SEGMENT_PATTERN, "01kb3x0v7t5m9q2r8s4w6y1z3a";
    OperatorId: "operator_id", SEGMENT_PATTERN, "op_01kb3x0v7t5m9q2r8s4w6y1z3a";
    AlertId: "alert_id", ULID_PATTERN, "01KB3X0V7T5M9Q2R8S4W6Y1Z3A";
    IncidentId: "incident_id", ULID_PATTERN, "01KB3X0V7T5M9Q2R8S4W6Y1Z3A";
    RuleId: "rule_id", ULID_PATTERN, "01KB3X0V7T5M9Q2R8S4W6Y1Z3A";
    RuleVersion: "version", Some("^\"[1-9][0-9]{0,8}\"$"), "\"3\"";
    EventId: "event_id", ULID_PATTERN, "01KB3X0V7T5M9Q2R8S4W6Y1Z3A";
    UserId: "user_id", SEGMENT_PATTERN, "user_01kb3x0v7t5m9q2r8s4w6y1z3a";
    InvitationId: "invitation_id", SEGMENT_PATTERN, "invitation_01kb3x0v7t5m9q2r8s4w6y1z3a";
    SessionId: "session_id", SEGMENT_PATTERN, "session_01kb3x0v7t5m9q2r8s4w6y1z3a";
    ApiKeyId: "key_id", SEGMENT_PATTERN, "key_01kb3x0v7t5m9q2r8s4w6y1z3a";
    TenantExportId: "export_id", SEGMENT_PATTERN, "export_01kb3x0v7t5m9q2r8s4w6y1z3a";
    Label: "label", Some(LABEL_PATTERN), "site:Hamburg";
    ChannelId: "channel_id", Some("^chn_[a-z0-9]{26}$"), "chn_01kb3x0v7t5m9q2r8s4w6y1z3a";
    DeliveryId: "delivery_id", Some("^[0-7][0-9A-HJKMNP-TV-Z]{25}$"), "01KB3X0V7T5M9Q2R8S4W6Y1Z3A";
    SubscriptionId: "subscription_id", Some("^psh_[a-z0-9]{26}$"), "psh_01kb3x0v7t5m9q2r8s4w6y1z3a";
    PlaceCursor: "place_cursor", Some(PLACE_CURSOR_PATTERN), "AgAAAAAAAAAR";
    Cursor: "cursor", Some(CURSOR_PATTERN), "AQGas52OOrNM4IRkxHhmwnY";
}

impl TextForm for Time {
    const NAME: &'static str = "time";
    const PATTERN: Option<&'static str> = None;
    const FORMAT: Option<&'static str> = Some("date-time");
    const EXAMPLE: &'static str = "2026-11-22T13:05:00.250Z";
}

impl FromStr for Time {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        UtcMillis::parse_lenient(text).map(Self)
    }
}

impl Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, T: TextForm> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

impl FromStr for RuleVersion {
    type Err = VersionError;
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or(VersionError)?;
        let is_plain = (1..=9).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        if is_plain { digits.parse().map(Self).map_err(|_| VersionError) } else { Err(VersionError) }
    }
}

impl Display for RuleVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl<T: TextForm> Type for Text<T> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            format: T::FORMAT,
            pattern: T::PATTERN.map(Into::into),
            example: Some(T::EXAMPLE.into()),
            ..MetaSchema::new("string")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl<T: TextForm> ParseFromParameter for Text<T> {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        value.parse().map(Self).map_err(ParseError::custom)
    }
}

impl<T: TextForm> ParseFromJSON for Text<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value {
            Some(Value::String(text)) => text.parse().map(Self).map_err(ParseError::custom),
            other => Err(ParseError::expected_type(other.unwrap_or_default())),
        }
    }
}

impl<T: TextForm> ToJSON for Text<T> {
    fn to_json(&self) -> Option<Value> {
        Some(Value::String(self.0.to_string()))
    }
}

/// The example of an end: five minutes after that of every other time.
pub(super) fn example_end() -> Text<Time> {
    Text(Time(UtcMillis::from_millis(1_795_352_700_250 + 5 * 60 * 1_000)))
}

/// A time of an answer.
pub(super) fn time(at: UtcMillis) -> Text<Time> {
    Text(Time(at))
}

/// A number of 32 bits as the shortest decimal that means it, so that 0.9 is not shown as 0.8999999761581421.
pub(super) fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// A body in JSON, read by its own rules; a wrong member is named with its path.
#[derive(Debug)]
pub(super) struct Body<T>(pub T);

impl<T: Type> Payload for Body<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        Json::<T>::check_content_type(content_type)
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type + DeserializeOwned> ParsePayload for Body<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = Vec::<u8>::from_request(request, body).await?;
        // Read as a list, a body would be its members in their order, which no document says.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(ParseRequestPayloadError { reason: "body: must be an object".into() }.into());
        }
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let problem = error.inner().to_string();
            match error.path().to_string() {
                path if path == "." => format!("body: {problem}"),
                path => format!("{path}: {problem}"),
            }
        });
        let value = value.and_then(|value| json.end().map(|()| value).map_err(|error| format!("body: {error}")));
        value.map(Self).map_err(|reason| ParseRequestPayloadError { reason }.into())
    }
}

poem_openapi::impl_apirequest_for_payload!(Body<T>, T: Type + DeserializeOwned);
