//! What differs between two desired documents, field by field.

use aivms_contract::desired::Desired;
use serde_json::{Map, Value};

use super::secrets::{MASK, hide_in_text};

/// One field that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its path; members of lists are named by their ids: `cameras[gate].zones[lawn].dwell_ms`.
    pub path: String,
    /// The value before, as it may be shown; `None` where there was none.
    pub before: Option<Value>,
    /// The value after, as it may be shown; `None` where there is none.
    pub after: Option<Value>,
}

/// Every field in which `after` differs from `before`, in the order of paths. Versions are not compared, nor is the
/// order of cameras, zones and lines. What opens cameras is hidden, but that it differs is shown.
#[must_use]
pub fn difference(before: Option<&Desired>, after: Option<&Desired>) -> Vec<Difference> {
    let json = |document: Option<&Desired>| match document.map(serde_json::to_value) {
        Some(Ok(Value::Object(mut members))) => {
            members.remove("version");
            members
        }
        _ => Map::new(),
    };
    let mut found = Vec::new();
    compare_objects("", &json(before), &json(after), &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => compare_objects(path, before, after, found),
        (Some(Value::Array(before)), Some(Value::Array(after))) => match (by_id(before), by_id(after)) {
            (Some(before), Some(after)) => compare_lists(path, &before, &after, found),
            _ => found.push(shown(path, Some(&Value::from(before.clone())), Some(&Value::from(after.clone())))),
        },
        (before, after) => found.push(shown(path, before, after)),
    }
}

fn compare_objects(path: &str, before: &Map<String, Value>, after: &Map<String, Value>, found: &mut Vec<Difference>) {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    for key in gone.chain(after.keys()) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        compare(&path, before.get(key), after.get(key), found);
    }
}

type Members<'a> = Vec<(&'a str, &'a Value)>;

fn compare_lists(path: &str, before: &Members<'_>, after: &Members<'_>, found: &mut Vec<Difference>) {
    let find = |members: &Members<'_>, id: &str| {
        members.iter().find(|(known, _)| *known == id).map(|(_, value)| *value).cloned()
    };
    let gone = before.iter().filter(|(id, _)| !after.iter().any(|(known, _)| known == id));
    for (id, _) in gone.chain(after) {
        compare(&format!("{path}[{id}]"), find(before, id).as_ref(), find(after, id).as_ref(), found);
    }
}

/// The members of a list by their ids; `None` when they have none.
fn by_id(list: &[Value]) -> Option<Members<'_>> {
    list.iter().map(|member| Some((member.get("id")?.as_str()?, member))).collect()
}

fn shown(path: &str, before: Option<&Value>, after: Option<&Value>) -> Difference {
    let field = path.rsplit('.').next().unwrap_or(path);
    let show = |value: &Value| hidden(field, value.clone());
    Difference { path: path.to_owned(), before: before.map(show), after: after.map(show) }
}

/// `value` of `field` as it may be shown.
fn hidden(field: &str, value: Value) -> Value {
    match (field, value) {
        ("username" | "password", Value::String(_)) => MASK.into(),
        ("url" | "sub_url", Value::String(address)) => hide_in_text(&address).into(),
        (_, Value::Object(members)) => {
            members.into_iter().map(|(name, value)| (name.clone(), hidden(&name, value))).collect()
        }
        (field, Value::Array(members)) => members.into_iter().map(|member| hidden(field, member)).collect(),
        (_, value) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn document(version: u64, cameras: Value, settings: Value) -> Desired {
        let members = [("version", version.into()), ("cameras", cameras), ("settings", settings)];
        serde_json::from_value(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()).unwrap()
    }

    fn paths(before: &Desired, after: &Desired) -> Vec<String> {
        difference(Some(before), Some(after)).into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn fields_are_named_by_the_ids_of_what_they_belong_to() {
        let zone = |dwell: u64| json!([{"id": "lawn", "polygon": [[0, 0], [1, 0], [0, 1]], "dwell_ms": dwell}]);
        let before = document(1, json!([{"id": "a", "url": "rtsp://h/1", "zones": zone(1000)}]), json!({}));
        let after = document(
            2,
            json!([{"id": "b", "url": "rtsp://h/2"}, {"id": "a", "url": "rtsp://h/1", "zones": zone(2000)}]),
            json!({"detection_fps": 3}),
        );
        assert_eq!(paths(&before, &after), ["cameras[a].zones[lawn].dwell_ms", "cameras[b]", "settings.detection_fps"]);
        assert_eq!(difference(None, Some(&before)).len(), 2, "cameras and settings");
    }

    #[test]
    fn that_a_password_differs_is_shown_and_the_password_is_not() {
        let camera = |url: &str, password: &str| json!([{"id": "a", "url": url, "password": password}]);
        let before = document(1, camera("rtsp://u:first@h/1", "alpha"), json!({}));
        let after = document(2, camera("rtsp://u:second@h/1", "omega"), json!({}));
        assert_eq!(paths(&before, &after), ["cameras[a].password", "cameras[a].url"]);
        for (from, to) in [(Some(&before), Some(&after)), (None, Some(&after)), (Some(&before), None)] {
            let text = format!("{:?}", difference(from, to));
            assert!(!["first", "second", "alpha", "omega"].iter().any(|secret| text.contains(secret)), "{text}");
        }
    }

    fn documents() -> impl Strategy<Value = Desired> {
        let camera = (0u8..4, 0u8..3, proptest::option::of(0u8..3), any::<bool>());
        let cameras = proptest::collection::btree_map(0u8..4, camera, 0..4);
        (cameras, proptest::option::of(1u8..5), 0u64..9).prop_map(|(cameras, fps, version)| {
            let cameras: Vec<_> = cameras
                .into_iter()
                .map(|(id, (_, url, zone, enabled))| {
                    let zones: Vec<_> =
                        zone.map(|z| json!({"id": format!("z{z}"), "polygon": [[0, 0], [1, 0], [0, 1]]})).into_iter().collect();
                    json!({"id": format!("c{id}"), "url": format!("rtsp://h/{url}"), "enabled": enabled, "zones": zones})
                })
                .collect();
            document(version, cameras.into(), json!({"detection_fps": fps}))
        })
    }

    proptest! {
        #[test]
        fn there_is_no_difference_exactly_between_documents_that_say_the_same(a in documents(), b in documents()) {
            let same = a.cameras == b.cameras && a.settings == b.settings;
            prop_assert_eq!(difference(Some(&a), Some(&b)).is_empty(), same);
            prop_assert!(difference(Some(&a), Some(&a)).is_empty());
        }

        #[test]
        fn the_way_back_is_the_way_there_turned_round(a in documents(), b in documents()) {
            let there = difference(Some(&a), Some(&b));
            let turned = |d: Difference| Difference { path: d.path, before: d.after, after: d.before };
            let back: Vec<_> = difference(Some(&b), Some(&a)).into_iter().map(turned).collect();
            prop_assert_eq!(there, back);
        }
    }
}
