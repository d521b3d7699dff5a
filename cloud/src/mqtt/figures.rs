//! What is counted of the MQTT front.

use prometheus_client::metrics::counter::Counter;

use super::Front;
use crate::metrics::{Registry, counted, sampled};

/// Counters of one process; clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct FrontFigures {
    /// Connections whose TLS handshake was begun.
    pub(super) accepted: Counter,
    /// Connections closed at once, for want of room.
    pub(super) turned_away: Counter,
    /// TLS handshakes that failed or took too long.
    pub(super) handshakes_failed: Counter,
}

/// What is counted of answers to commands and of reports; clones count together.
#[derive(Debug, Clone, Default)]
pub struct AnswerFigures {
    /// Answers to commands that nobody gave this edge.
    pub unknown: Counter,
    /// Answers to commands that had ended before.
    pub late: Counter,
    /// Answers and reports that could not be read.
    pub unreadable: Counter,
}

impl Front {
    /// Names the figures of this process.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let FrontFigures { accepted, turned_away, handshakes_failed } = self.figures.clone();
        registry.register("aivms_mqtt_connections", "Connections that were let in to a TLS handshake", accepted);
        registry.register("aivms_mqtt_connections_turned_away", "Connections closed for want of room", turned_away);
        registry.register("aivms_mqtt_handshakes_failed", "TLS handshakes that failed", handshakes_failed);
        let help = "Live messages that operators were not shown because the router was busy";
        registry.register("aivms_mqtt_live_messages_dropped", help, self.shared.router.dropped());
        let AnswerFigures { unknown, late, unreadable } = self.shared.answers.clone();
        registry.register("aivms_mqtt_answers_unknown", "Answers to commands that nobody gave the edge", unknown);
        registry.register("aivms_mqtt_answers_late", "Answers to commands that had ended before", late);
        registry.register("aivms_mqtt_answers_unreadable", "Answers and reports that could not be read", unreadable);
        let sessions = self.shared.sessions.clone();
        let count = move || i64::try_from(sessions.count()).unwrap_or(i64::MAX);
        sampled(registry, "aivms_mqtt_sessions", "Sessions of edges and operators in this process", count);
        let sessions = self.shared.sessions.clone();
        let help = "Sessions that a newer connection of the same identity ended";
        counted(registry, "aivms_mqtt_take_overs", help, move || sessions.take_overs());
    }
}
