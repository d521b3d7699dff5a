//! MQTT topics: `aivms/v1/<tenant>/<edge>/up/<kind>` and `.../down/<kind>`.
//!
//! Parsing and printing are inverses; a text that parses is one that [`Topic`] prints.

use std::fmt;
use std::str::FromStr;

use crate::id::{EdgeId, IdError, TenantId};

/// The two first segments of every topic.
pub const PREFIX: &str = "aivms/v1";

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every kind, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The last segment of the topic.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl FromStr for $name {
            type Err = TopicError;
            fn from_str(text: &str) -> Result<Self, TopicError> {
                match text { $($text => Ok(Self::$variant),)* _ => Err(TopicError::Kind) }
            }
        }
    };
}

kinds! {
    /// What an edge says.
    UpKind {
        /// Tracks seen; durable.
        Detections = "detections",
        /// Enter, exit, dwell and cross; durable.
        ZoneEvents = "zone-events",
        /// Alerts raised on the edge itself; durable.
        Alerts = "alerts",
        /// State of cameras, disk and outbox; durable.
        Health = "health",
        /// Clips that are ready; durable.
        Clips = "clips",
        /// Snapshots that are ready; durable.
        Snapshots = "snapshots",
        /// Gaps, deletions and locks of footage; durable.
        Footage = "footage",
        /// Heartbeat; lossy.
        Status = "status",
        /// Answers to commands.
        Results = "results",
        /// The desired document the edge has applied or refused.
        Reported = "reported",
    }
}

kinds! {
    /// What an edge is told.
    DownKind {
        /// Something to do once.
        Commands = "commands",
        /// The document the edge should run.
        Desired = "desired",
        /// How far the outbox is stored.
        Acks = "acks",
    }
}

impl UpKind {
    /// Whether messages of this kind travel in envelopes, are stored and acknowledged.
    #[must_use]
    pub fn is_durable(self) -> bool {
        matches!(
            self,
            Self::Detections
                | Self::ZoneEvents
                | Self::Alerts
                | Self::Health
                | Self::Clips
                | Self::Snapshots
                | Self::Footage
        )
    }
}

/// Direction and kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leaf {
    /// From the edge.
    Up(UpKind),
    /// To the edge.
    Down(DownKind),
}

/// A full topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Owner of the edge.
    pub tenant: TenantId,
    /// The edge that speaks or is spoken to.
    pub edge: EdgeId,
    /// Direction and kind.
    pub leaf: Leaf,
}

/// Says why a text is not a topic of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Not of the form `aivms/v1/<tenant>/<edge>/<up|down>/<kind>`.
    #[error("must have the form aivms/v1/<tenant>/<edge>/<up|down>/<kind>")]
    Shape,
    /// The tenant segment is no tenant id.
    #[error("tenant segment: {0}")]
    Tenant(#[source] IdError),
    /// The edge segment is no edge id.
    #[error("edge segment: {0}")]
    Edge(#[source] IdError),
    /// The kind is not one of the direction's kinds.
    #[error("unknown kind")]
    Kind,
}

impl Topic {
    /// The topic `edge` publishes messages of `kind` on.
    #[must_use]
    pub fn up(tenant: TenantId, edge: EdgeId, kind: UpKind) -> Self {
        Self { tenant, edge, leaf: Leaf::Up(kind) }
    }

    /// The topic `edge` receives messages of `kind` on.
    #[must_use]
    pub fn down(tenant: TenantId, edge: EdgeId, kind: DownKind) -> Self {
        Self { tenant, edge, leaf: Leaf::Down(kind) }
    }

    /// The one filter an edge subscribes: everything said to it.
    #[must_use]
    pub fn down_filter(tenant: &TenantId, edge: &EdgeId) -> String {
        format!("{PREFIX}/{tenant}/{edge}/down/+")
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (direction, kind) = match self.leaf {
            Leaf::Up(kind) => ("up", kind.as_str()),
            Leaf::Down(kind) => ("down", kind.as_str()),
        };
        write!(f, "{PREFIX}/{}/{}/{direction}/{kind}", self.tenant, self.edge)
    }
}

impl FromStr for Topic {
    type Err = TopicError;
    fn from_str(text: &str) -> Result<Self, TopicError> {
        let rest = text.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('/')).ok_or(TopicError::Shape)?;
        let mut segments = rest.split('/');
        let mut next = || segments.next().ok_or(TopicError::Shape);
        let (tenant, edge, direction, kind) = (next()?, next()?, next()?, next()?);
        if segments.next().is_some() {
            return Err(TopicError::Shape);
        }
        Ok(Self {
            tenant: tenant.parse().map_err(TopicError::Tenant)?,
            edge: edge.parse().map_err(TopicError::Edge)?,
            leaf: match direction {
                "up" => Leaf::Up(kind.parse()?),
                "down" => Leaf::Down(kind.parse()?),
                _ => return Err(TopicError::Shape),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves() -> impl Strategy<Value = Leaf> {
        prop_oneof![
            proptest::sample::select(UpKind::ALL).prop_map(Leaf::Up),
            proptest::sample::select(DownKind::ALL).prop_map(Leaf::Down),
        ]
    }

    proptest! {
        #[test]
        fn a_printed_topic_reads_back(tenant in "[a-z0-9_-]{1,64}", edge in "edge_[a-z0-9_-]{1,59}", leaf in leaves()) {
            let topic = Topic { tenant: tenant.parse().unwrap(), edge: edge.parse().unwrap(), leaf };
            prop_assert_eq!(topic.to_string().parse(), Ok(topic));
        }

        #[test]
        fn a_text_that_reads_prints_as_it_was(text in "(aivms/v1/)?[a-z+#/]{0,8}/(edge_[a-z]{0,3})/(up|down|x)/(status|acks|health|[a-z]{1,4})/?") {
            if let Ok(topic) = text.parse::<Topic>() {
                prop_assert_eq!(topic.to_string(), text);
            }
        }
    }

    #[test]
    fn foreign_shapes_are_refused() {
        for text in [
            "",
            "aivms/v1",
            "aivms/v2/t/edge_a/up/status",
            "/aivms/v1/t/edge_a/up/status",
            "aivms/v1/t/edge_a/up/acks",
            "aivms/v1/t/edge_a/up/status/",
            "aivms/v1/t/a/up/status",
            "aivms/v1/+/edge_a/up/status",
            "aivms/v1/t/edge_a/up/#",
            "aivms/v1/T/edge_a/up/status",
            "é/x",
            "$SYS/x",
        ] {
            assert!(text.parse::<Topic>().is_err(), "{text:?}");
        }
    }
}
