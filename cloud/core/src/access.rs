//! What an MQTT identity may publish and subscribe: default deny, by shape.
//!
//! | identity | publish | subscribe |
//! | --- | --- | --- |
//! | edge | its own `up/<kind>` topics | its own `down/+` and `down/<kind>` |
//! | operator | nothing | filters of its tenant, see [`Access::subscribe`] |
//!
//! A filter is taken apart and kept as a [`Filter`]; what has no place in that type can't be subscribed. No prefix
//! is ever compared, so `aivms/v1/acme` never opens `aivms/v1/acme-corp`.

use aivms_contract::id::EdgeId;
use aivms_contract::identity::{Identity, Role};
use aivms_contract::topic::{DownKind, Leaf, PREFIX, Topic, UpKind};

/// Most filters one connection may hold; a person needs one or two.
pub const MAX_FILTERS: usize = 10;

/// What one identity may do; made once per connection.
#[derive(Debug, Clone)]
pub struct Access {
    identity: Identity,
    /// `aivms/v1/<tenant>/<edge>/up/`, so that a publish is checked without taking its topic apart.
    own_up: Option<String>,
}

/// An accepted subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    edge: Segment<EdgeId>,
    leaf: LeafFilter,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment<T> {
    Any,
    One(T),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LeafFilter {
    /// Both directions.
    All,
    Up(Segment<UpKind>),
    Down(Segment<DownKind>),
}

impl Access {
    /// The rights of `identity`.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let own_up = match &identity.role {
            Role::Edge(edge) => Some(format!("{PREFIX}/{}/{edge}/up/", identity.tenant)),
            Role::Operator(_) => None,
        };
        Self { identity, own_up }
    }

    /// The kind of message a publish to `topic` carries; `None` when it is not allowed.
    #[must_use]
    pub fn publish(&self, topic: &str) -> Option<UpKind> {
        topic.strip_prefix(self.own_up.as_deref()?)?.parse().ok()
    }

    /// The subscription `filter` asks for; `None` when it is not allowed.
    ///
    /// An operator of tenant `t` may ask for `aivms/v1/t/#` and for `aivms/v1/t/<edge>/<rest>`, where `<edge>` is an
    /// edge's id or `+`, and `<rest>` is `#` or `<up|down>/<leaf>` with `#`, `+` or a kind of that direction as leaf.
    #[must_use]
    pub fn subscribe(&self, filter: &str) -> Option<Filter> {
        let rest = filter.strip_prefix(PREFIX)?.strip_prefix('/')?;
        let segments: Vec<&str> = rest.splitn(5, '/').collect();
        let (tenant, segments) = segments.split_first()?;
        if *tenant != self.identity.tenant.as_str() {
            return None;
        }
        match &self.identity.role {
            Role::Edge(own) => edge_filter(own, segments),
            Role::Operator(_) => operator_filter(segments),
        }
    }
}

impl Filter {
    /// Whether a message on `topic`, which is of the subscriber's tenant, belongs to this subscription.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let edge = match &self.edge {
            Segment::Any => true,
            Segment::One(edge) => *edge == topic.edge,
        };
        edge && match (&self.leaf, topic.leaf) {
            (LeafFilter::All, _)
            | (LeafFilter::Up(Segment::Any), Leaf::Up(_))
            | (LeafFilter::Down(Segment::Any), Leaf::Down(_)) => true,
            (LeafFilter::Up(Segment::One(wanted)), Leaf::Up(kind)) => *wanted == kind,
            (LeafFilter::Down(Segment::One(wanted)), Leaf::Down(kind)) => *wanted == kind,
            (LeafFilter::Up(_), Leaf::Down(_)) | (LeafFilter::Down(_), Leaf::Up(_)) => false,
        }
    }
}

fn edge_filter(own: &EdgeId, segments: &[&str]) -> Option<Filter> {
    let [edge, "down", kind] = segments else { return None };
    if *edge != own.as_str() {
        return None;
    }
    let kind = match *kind {
        "+" => Segment::Any,
        kind => Segment::One(kind.parse().ok()?),
    };
    Some(Filter { edge: Segment::One(own.clone()), leaf: LeafFilter::Down(kind) })
}

fn operator_filter(segments: &[&str]) -> Option<Filter> {
    let (edge, rest) = match segments {
        ["#"] => (Segment::Any, &["#"][..]),
        ["+", rest @ ..] => (Segment::Any, rest),
        [edge, rest @ ..] => (Segment::One(edge.parse().ok()?), rest),
        [] => return None,
    };
    let leaf = match rest {
        ["#"] => LeafFilter::All,
        ["up", "#" | "+"] => LeafFilter::Up(Segment::Any),
        ["up", kind] => LeafFilter::Up(Segment::One(kind.parse().ok()?)),
        ["down", "#" | "+"] => LeafFilter::Down(Segment::Any),
        ["down", kind] => LeafFilter::Down(Segment::One(kind.parse().ok()?)),
        _ => return None,
    };
    Some(Filter { edge, leaf })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edge(tenant: &str, edge: &str) -> Access {
        Access::new(Identity { tenant: tenant.parse().unwrap(), role: Role::Edge(edge.parse().unwrap()) })
    }

    fn operator(tenant: &str) -> Access {
        Access::new(Identity { tenant: tenant.parse().unwrap(), role: Role::Operator("op".parse().unwrap()) })
    }

    /// MQTT 3.1.1 §4.7 as it stands: the reference the types are held against.
    fn mqtt_matches(filter: &str, topic: &str) -> bool {
        if topic.starts_with('$') && (filter.starts_with('#') || filter.starts_with('+')) {
            return false;
        }
        let (mut filters, mut topics) = (filter.split('/'), topic.split('/'));
        loop {
            match (filters.next(), topics.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(wanted), Some(found)) if wanted == found => {}
                _ => return false,
            }
        }
    }

    /// Segments that matter, some of them far outside the rules.
    const KNOWN: &[&str] = &[
        "#",
        "+",
        "a",
        "b",
        "ab",
        "edge_a",
        "edge_b",
        "edge_ab",
        "up",
        "down",
        "acks",
        "commands",
        "desired",
        "status",
        "zone-events",
        "detections",
        "",
        "$share",
        "$SYS",
        "aivms",
        "v1",
        "a+",
        "é",
        "..",
    ];

    fn segment() -> impl Strategy<Value = String> {
        proptest::sample::select(KNOWN).prop_map(str::to_owned)
    }

    fn path(prefixed: bool) -> impl Strategy<Value = String> {
        proptest::collection::vec(segment(), 0..5).prop_map(move |segments| {
            let rest = segments.join("/");
            if prefixed { format!("{PREFIX}/{rest}") } else { rest }
        })
    }

    fn any_path() -> impl Strategy<Value = String> {
        prop_oneof![
            path(true),
            path(false),
            "(\\$share/g/)?aivms/v1/(a|b|[+])/(edge_a|edge_b|[+])/(up|down|[+])/([+]|#|acks|status)"
        ]
    }

    /// Rests of filters that are mostly accepted.
    fn own_rest() -> impl Strategy<Value = String> {
        prop_oneof![path(false), "#|(edge_a|edge_b|[+])/(#|(up|down)/([+]|#|acks|commands|status|zone-events))"]
    }

    fn topic() -> impl Strategy<Value = Topic> {
        let leaf = prop_oneof![
            proptest::sample::select(UpKind::ALL).prop_map(Leaf::Up),
            proptest::sample::select(DownKind::ALL).prop_map(Leaf::Down),
        ];
        ("(a|b|ab)", "edge_(a|b|ab)", leaf).prop_map(|(tenant, edge, leaf)| Topic {
            tenant: tenant.parse().unwrap(),
            edge: edge.parse().unwrap(),
            leaf,
        })
    }

    #[test]
    fn an_edge_publishes_its_own_up_topics_and_nothing_else() {
        let access = edge("acme", "edge_a");
        for kind in UpKind::ALL {
            assert_eq!(access.publish(&format!("aivms/v1/acme/edge_a/up/{}", kind.as_str())), Some(*kind));
        }
        for topic in [
            "aivms/v1/acme/edge_b/up/status",
            "aivms/v1/beta/edge_a/up/status",
            "aivms/v1/acme/edge_a/down/commands",
            "aivms/v1/acme/edge_a/up/commands",
            "aivms/v1/acme/edge_a/up/status/",
            "aivms/v1/acme/edge_a/up/+",
            "aivms/v1/acme/edge_a/up/#",
            "aivms/v1/acme/edge_a/up/",
            "/aivms/v1/acme/edge_a/up/status",
            "$SYS/broker",
            "é/x",
            "",
        ] {
            assert_eq!(access.publish(topic), None, "{topic}");
        }
    }

    #[test]
    fn an_operator_publishes_nothing() {
        for topic in ["aivms/v1/acme/edge_a/up/status", "aivms/v1/acme/edge_a/down/commands", "x"] {
            assert_eq!(operator("acme").publish(topic), None);
        }
    }

    #[test]
    fn the_filters_of_the_guide_are_accepted() {
        for rest in [
            "#",
            "+/#",
            "+/up/#",
            "+/up/+",
            "+/up/zone-events",
            "+/down/#",
            "+/down/acks",
            "edge_a/#",
            "edge_a/up/#",
            "edge_a/up/status",
            "edge_a/down/+",
            "edge_a/down/commands",
        ] {
            assert!(operator("acme").subscribe(&format!("aivms/v1/acme/{rest}")).is_some(), "{rest}");
        }
        for kind in ["+", "commands", "desired", "acks"] {
            assert!(edge("acme", "edge_a").subscribe(&format!("aivms/v1/acme/edge_a/down/{kind}")).is_some(), "{kind}");
        }
    }

    #[test]
    fn hostile_filters_are_refused() {
        for filter in [
            "#",
            "+/#",
            "+/+/+/+/+/+",
            "aivms/#",
            "aivms/v1/#",
            "aivms/v1/+/#",
            "aivms/v1/beta/#",
            "aivms/v1/acmex/#",
            "aivms/v1/acm/#",
            "aivms/v1/acme",
            "aivms/v1/acme/",
            "aivms/v1/acme#",
            "aivms/v1/acme/#/up",
            "aivms/v1/acme/edge_a/+/status",
            "aivms/v1/acme/edge_a/up/acks",
            "aivms/v1/acme/edge_a/up/status/#",
            "$share/g/aivms/v1/acme/#",
            "$SYS/#",
            "/aivms/v1/acme/#",
            "",
        ] {
            assert_eq!(operator("acme").subscribe(filter), None, "{filter}");
        }
        for filter in [
            "aivms/v1/acme/#",
            "aivms/v1/acme/edge_a/#",
            "aivms/v1/acme/edge_a/up/#",
            "aivms/v1/acme/edge_a/down/#",
            "aivms/v1/acme/+/down/+",
            "aivms/v1/acme/edge_b/down/+",
            "aivms/v1/beta/edge_a/down/+",
        ] {
            assert_eq!(edge("acme", "edge_a").subscribe(filter), None, "{filter}");
        }
    }

    proptest! {
        #[test]
        fn no_accepted_filter_can_match_outside_its_tenant(filter in any_path(), topic in any_path(), other in topic()) {
            if operator("a").subscribe(&filter).is_some() {
                for topic in [topic, other.to_string()] {
                    prop_assert!(!mqtt_matches(&filter, &topic) || topic == "aivms/v1/a" || topic.starts_with("aivms/v1/a/"));
                }
            }
            if edge("a", "edge_a").subscribe(&filter).is_some() && mqtt_matches(&filter, &other.to_string()) {
                prop_assert_eq!(other.tenant.as_str(), "a");
                prop_assert_eq!(other.edge.as_str(), "edge_a");
                prop_assert!(matches!(other.leaf, Leaf::Down(_)));
            }
        }

        #[test]
        fn an_accepted_filter_matches_exactly_what_mqtt_says(rest in own_rest(), topic in topic()) {
            let filter = format!("{PREFIX}/a/{rest}");
            let of_tenant = Topic { tenant: "a".parse().unwrap(), ..topic };
            for access in [operator("a"), edge("a", "edge_a")] {
                if let Some(accepted) = access.subscribe(&filter) {
                    prop_assert_eq!(accepted.matches(&of_tenant), mqtt_matches(&filter, &of_tenant.to_string()));
                }
            }
        }

        #[test]
        fn no_publish_outside_the_own_topics_is_accepted(topic in any_path()) {
            if let Some(kind) = edge("a", "edge_a").publish(&topic) {
                prop_assert_eq!(topic, format!("aivms/v1/a/edge_a/up/{}", kind.as_str()));
            }
        }
    }
}
