//! What is told about an alert: the same facts in a webhook, a mail and a push.

use aivms_contract::alert::Severity;
use aivms_contract::id::{CameraId, EdgeId, EventId, ZoneId};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::rules::{AlertId, IncidentId, RuleId};

/// Why something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// A rule has raised an alert.
    #[serde(rename = "alert.raised")]
    Raised,
    /// Nobody has acknowledged an alert for so long.
    #[serde(rename = "alert.escalated")]
    Escalated,
    /// Somebody acknowledged an alert.
    #[serde(rename = "alert.acknowledged")]
    Acknowledged,
    /// Somebody resolved an alert.
    #[serde(rename = "alert.resolved")]
    Resolved,
    /// Somebody opened an alert again.
    #[serde(rename = "alert.reopened")]
    Reopened,
    /// Somebody asked for a test message.
    #[serde(rename = "notification.test")]
    Test,
}

/// What is told. It is written down when it is owed, so that every attempt says the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Why.
    pub reason: Reason,
    /// The tenant's slug.
    pub tenant_id: String,
    /// The tenant's readable name.
    pub tenant_name: String,
    /// One line for a person.
    pub title: String,
    /// How urgent.
    pub severity: Severity,
    /// When it happened; of a test message, when it was asked for.
    pub at: UtcMillis,
    /// The alert; absent in a test message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertFacts>,
}

/// The facts about an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertFacts {
    /// The alert.
    pub alert_id: AlertId,
    /// What folds alerts of one cause together.
    pub incident_id: IncidentId,
    /// 0 when raised; then the steps of escalation.
    pub step: u32,
    /// The rule that raised it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<RuleId>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_name: Option<String>,
    /// The edge it is about.
    pub edge_id: EdgeId,
    /// Its readable name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edge_name: Option<String>,
    /// The camera it is about, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera_id: Option<CameraId>,
    /// The zone or line, when it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<ZoneId>,
    /// The event that caused it, when one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
}

impl Reason {
    /// Its name in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "alert.raised",
            Self::Escalated => "alert.escalated",
            Self::Acknowledged => "alert.acknowledged",
            Self::Resolved => "alert.resolved",
            Self::Reopened => "alert.reopened",
            Self::Test => "notification.test",
        }
    }
}

impl Message {
    /// The body of a webhook, in the form that Standard Webhooks proposes: `type`, `timestamp` and `data`.
    ///
    /// # Errors
    /// Never for a message that was read from JSON.
    pub fn webhook_body(&self) -> serde_json::Result<Vec<u8>> {
        let mut data = match &self.alert {
            Some(facts) => serde_json::to_value(facts)?,
            None => json!({}),
        };
        if let Some(members) = data.as_object_mut() {
            members.insert("tenant_id".into(), self.tenant_id.as_str().into());
            members.insert("severity".into(), serde_json::to_value(self.severity)?);
            members.insert("title".into(), self.title.as_str().into());
        }
        serde_json::to_vec(&json!({ "type": self.reason.as_str(), "timestamp": self.at.to_string(), "data": data }))
    }

    /// The subject of a mail and the heading of a push: how urgent it is, then what happened.
    #[must_use]
    pub fn headline(&self) -> String {
        let prefix = match (self.reason, self.severity) {
            (Reason::Test, _) => "Test",
            (Reason::Escalated, _) => "Not acknowledged",
            (Reason::Acknowledged, _) => "Acknowledged",
            (Reason::Resolved, _) => "Resolved",
            (Reason::Reopened, _) => "Opened again",
            (Reason::Raised, Severity::Info) => "Info",
            (Reason::Raised, Severity::Warning) => "Warning",
            (Reason::Raised, Severity::Critical) => "Critical",
        };
        format!("{prefix}: {}", self.title)
    }

    /// Where it happened, for a person: site, camera, zone.
    #[must_use]
    pub fn place(&self) -> String {
        let Some(facts) = &self.alert else { return String::new() };
        let edge = facts.edge_name.as_deref().unwrap_or(facts.edge_id.as_str());
        let parts =
            [Some(edge), facts.camera_id.as_ref().map(CameraId::as_str), facts.zone_id.as_ref().map(ZoneId::as_str)];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" / ")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn message() -> Message {
        let at = UtcMillis::from_millis(1_795_352_700_250);
        Message {
            reason: Reason::Raised,
            tenant_id: "acme-corp".into(),
            tenant_name: "Acme Corp".into(),
            title: "Person in loading-bay".into(),
            severity: Severity::Warning,
            at,
            alert: Some(AlertFacts {
                alert_id: AlertId::from_parts(at, 1),
                incident_id: IncidentId::from_parts(at, 2),
                step: 0,
                rule_id: None,
                rule_name: Some("Night watch".into()),
                edge_id: "edge_1".parse().unwrap(),
                edge_name: Some("Gate".into()),
                camera_id: "dock".parse().ok(),
                zone_id: "loading-bay".parse().ok(),
                event_id: None,
            }),
        }
    }

    #[test]
    fn a_webhook_says_what_kind_of_news_it_is_when_it_happened_and_where() {
        let body: serde_json::Value = serde_json::from_slice(&message().webhook_body().unwrap()).unwrap();
        assert_eq!((&body["type"], &body["timestamp"]), (&"alert.raised".into(), &"2026-11-22T13:05:00.250Z".into()));
        let data = &body["data"];
        assert_eq!((&data["camera_id"], &data["severity"]), (&"dock".into(), &"warning".into()));
        assert_eq!(data["alert_id"], AlertId::from_parts(message().at, 1).to_string());
        assert!(data.get("rule_id").is_none());
    }

    #[test]
    fn a_person_reads_how_urgent_it_is_and_where() {
        assert_eq!(message().headline(), "Warning: Person in loading-bay");
        assert_eq!(message().place(), "Gate / dock / loading-bay");
        let test = Message { reason: Reason::Test, alert: None, ..message() };
        assert_eq!((test.headline().as_str(), test.place().as_str()), ("Test: Person in loading-bay", ""));
    }

    #[test]
    fn a_message_kept_reads_back() {
        for message in [message(), Message { reason: Reason::Test, alert: None, ..message() }] {
            let text = serde_json::to_string(&message).unwrap();
            assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message);
        }
    }
}
