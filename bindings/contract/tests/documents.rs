//! Documents and zone events that are printed are read as they were, whatever is in them.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test ends by panicking")]

use aivms_contract::desired::Desired;
use aivms_contract::why::Decision;
use aivms_contract::zone_event::ZoneEvent;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A key with a value, or neither.
fn maybe(key: &'static str, value: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<(String, Value)>> {
    proptest::option::of(value.prop_map(move |value| (key.to_owned(), value)))
}

/// An object with some of the optional keys, beside those always there.
fn with(base: Value, optional: Vec<Option<(String, Value)>>) -> Value {
    let Value::Object(mut object) = base else { panic!("not an object") };
    object.extend(optional.into_iter().flatten().collect::<Map<_, _>>());
    Value::Object(object)
}

/// Six decimals, finer than any drawing tool: longer ones are read to within one unit in their last place only.
fn decimal(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

fn number(range: std::ops::Range<f64>) -> impl Strategy<Value = Value> + Clone {
    range.prop_map(|number| decimal(number).into())
}

fn integer(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Value> + Clone {
    range.prop_map(Value::from)
}

fn name() -> impl Strategy<Value = Value> {
    "\\PC{0,12}".prop_map(Value::from)
}

fn classes() -> impl Strategy<Value = Value> {
    proptest::collection::vec(prop_oneof!["[a-z]{1,8}", "\\PC{1,4}"], 1..4).prop_map(Value::from)
}

/// A triangle, quadrilateral or more around a middle: always a fair polygon, and without a bay.
fn ring(corners: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Value> {
    (corners, 0.3..0.7f64, 0.3..0.7f64, 0.05..0.3f64, 0.0..6.0f64).prop_map(|(count, x, y, radius, turn)| {
        let corner = |i: usize| {
            let angle = turn + std::f64::consts::TAU * i as f64 / count as f64;
            json!([decimal(x + radius * angle.cos()), decimal(y + radius * angle.sin())])
        };
        (0..count).map(corner).collect()
    })
}

fn dwell() -> impl Strategy<Value = Value> {
    let list = proptest::collection::btree_set(100..=86_400_000u64, 2..=8);
    prop_oneof![integer(100..=86_400_000), list.prop_map(|times| times.into_iter().collect())]
}

fn filters() -> impl Strategy<Value = Value> {
    let area = || maybe("min_area", number(0.001..0.5));
    let bounds = (maybe("max_area", number(0.5..1.0)), maybe("max_aspect", number(1.0..100.0)));
    let filter = (maybe("classes", classes()), maybe("min_confidence", number(0.001..1.0)), area(), bounds);
    let filter = (filter, maybe("min_aspect", number(0.01..1.0)));
    let filter = filter.prop_map(|((classes, confidence, area, (max_area, max_aspect)), min_aspect)| {
        with(json!({}), vec![classes, confidence, area, max_area, max_aspect, min_aspect])
    });
    proptest::collection::vec(filter, 1..4).prop_map(Value::from)
}

fn schedule() -> impl Strategy<Value = Value> {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let days = proptest::sample::subsequence(DAYS.as_slice(), 1..=7).prop_map(Value::from);
    let time = |minutes: u32| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    let span = (maybe("days", days), 0..1440u32, 1..=1440u32)
        .prop_map(move |(days, from, to)| with(json!({"from": time(from), "to": time(to)}), vec![days]));
    proptest::collection::vec(span, 1..5).prop_map(Value::from)
}

fn occupancy() -> impl Strategy<Value = Value> {
    (1..=1000u32, 0..=60_000u32).prop_map(|(at_least, for_ms)| json!({"at_least": at_least, "for_ms": for_ms}))
}

fn ground() -> impl Strategy<Value = Value> {
    let least = maybe("min_speed_kmh", number(0.1..500.0));
    (ring(4..=4), 0.1..1000.0f64, 0.1..1000.0f64, least).prop_map(|(corners, width, length, least)| {
        with(json!({"corners": corners, "width_m": decimal(width), "length_m": decimal(length)}), vec![least])
    })
}

fn anchor() -> impl Strategy<Value = Vec<Option<(String, Value)>>> {
    let key = |anchor: &str| Some(("anchor".to_owned(), anchor.into()));
    prop_oneof![
        Just(vec![]),
        Just(vec![key("center")]),
        maybe("min_overlap", number(0.01..1.0)).prop_map(move |least| vec![key("overlap"), least]),
    ]
}

fn zone(index: usize) -> impl Strategy<Value = Value> {
    let first = (maybe("name", name()), maybe("classes", classes()), maybe("dwell_ms", dwell()));
    let second = (maybe("debounce_ms", integer(0..=60_000)), maybe("filters", filters()));
    let third = (maybe("occupancy", occupancy()), maybe("schedule", schedule()), maybe("ground", ground()));
    (ring(3..=12), anchor(), first, second, third).prop_map(
        move |(polygon, mut keys, (name, classes, dwell), (debounce, filters), (occupancy, schedule, ground))| {
            keys.extend([name, classes, dwell, debounce, filters, occupancy, schedule, ground]);
            with(json!({"id": format!("zone-{index}"), "polygon": polygon}), keys)
        },
    )
}

fn line(index: usize) -> impl Strategy<Value = Value> {
    let direction = proptest::sample::select(&["both", "left_to_right", "right_to_left"][..]).prop_map(Value::from);
    let first = (maybe("direction", direction), maybe("classes", classes()));
    let second = (maybe("debounce_ms", integer(0..=60_000)), maybe("filters", filters()));
    let ends = (0.0..0.4f64, 0.0..1.0f64, 0.5..1.0f64, 0.0..1.0f64);
    (ends, first, second, maybe("schedule", schedule())).prop_map(
        move |((x1, y1, x2, y2), (direction, classes), (debounce, filters), schedule)| {
            let base = json!({"id": format!("line_{index}"), "from": [decimal(x1), decimal(y1)], "to": [decimal(x2), decimal(y2)]});
            with(base, vec![direction, classes, debounce, filters, schedule])
        },
    )
}

fn camera(index: usize) -> impl Strategy<Value = Value> {
    let list = |count: usize, one: fn(usize) -> BoxedStrategy<Value>| {
        (0..=count).prop_flat_map(move |count| (0..count).map(one).collect::<Vec<_>>()).prop_map(Value::from)
    };
    let mask = (maybe("name", name()), maybe("classes", classes()), ring(3..=6))
        .prop_map(|(name, classes, polygon)| with(json!({"polygon": polygon}), vec![name, classes]));
    let rules = (
        maybe("zones", list(3, |index| zone(index).boxed())),
        maybe("lines", list(3, |index| line(index).boxed())),
        maybe("masks", proptest::collection::vec(mask, 0..3).prop_map(Value::from)),
        maybe("filters", filters()),
    );
    let user = (maybe("username", name()), maybe("password", name()));
    let rest = (maybe("classes", classes()), maybe("detection_fps", number(0.1..60.0)), any::<bool>());
    (maybe("name", name()), user, rest, rules).prop_map(
        move |(name, (user, password), (classes, fps, enabled), (zones, lines, masks, filters))| {
            let base = json!({"id": format!("camera-{index}"), "url": "rtsp://192.0.2.1/", "enabled": enabled});
            with(base, vec![name, user, password, classes, fps, zones, lines, masks, filters])
        },
    )
}

fn document() -> impl Strategy<Value = Value> {
    let zone = proptest::sample::select(&["Europe/Berlin", "Etc/GMT+5", "UTC"][..]).prop_map(Value::from);
    let settings = (
        maybe("detection_confidence", number(0.01..1.0)),
        maybe("detection_fps", number(0.1..60.0)),
        maybe("recording_retention_days", integer(0..=4_000)),
        maybe("time_zone", zone),
    );
    let cameras = (0..4usize).prop_flat_map(|count| (0..count).map(camera).collect::<Vec<_>>());
    (any::<u64>(), cameras, settings).prop_map(|(version, cameras, (confidence, fps, days, zone))| {
        json!({"version": version, "cameras": cameras, "settings": with(json!({}), vec![confidence, fps, days, zone])})
    })
}

fn why() -> impl Strategy<Value = Value> {
    const GATES: [&str; 15] = [
        "class",
        "confidence",
        "min_area",
        "max_area",
        "min_aspect",
        "max_aspect",
        "mask",
        "overlap",
        "schedule",
        "debounce",
        "direction",
        "dwell",
        "speed",
        "occupancy",
        "stationary",
    ];
    let gate = proptest::sample::select(GATES.as_slice());
    let check = (gate, any::<bool>(), maybe("value", number(-1e9..1e9)), maybe("limit", number(0.0..1e9)));
    let check = check
        .prop_map(|(gate, passed, value, limit)| with(json!({"gate": gate, "passed": passed}), vec![value, limit]));
    proptest::collection::vec(check, 0..6).prop_map(Value::from)
}

fn event_type() -> impl Strategy<Value = Value> {
    let types = ["enter", "exit", "dwell", "cross", "occupied", "cleared"];
    proptest::sample::select(types.to_vec()).prop_map(Value::from)
}

/// Reads, prints and reads again.
fn there_and_back<T>(json: &Value) -> Result<(), TestCaseError>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let read =
        |text: &str| serde_json::from_str::<T>(text).map_err(|error| TestCaseError::fail(format!("{error}: {text}")));
    let value = read(&json.to_string())?;
    let printed = serde_json::to_string(&value).unwrap();
    prop_assert_eq!(&read(&printed)?, &value);
    Ok(())
}

/// Whether everything that was said is in what is printed. A list without items may be left out.
fn holds(printed: &Value, said: &Value) -> Result<(), TestCaseError> {
    match (printed, said) {
        (Value::Object(printed), Value::Object(said)) => {
            for (key, said) in said {
                let printed = printed.get(key).unwrap_or(&Value::Null);
                let left_out = printed.is_null() && said.as_array().is_some_and(Vec::is_empty);
                if !left_out {
                    holds(printed, said)?;
                }
            }
        }
        (Value::Array(printed), Value::Array(said)) => {
            prop_assert_eq!(printed.len(), said.len());
            printed.iter().zip(said).try_for_each(|(printed, said)| holds(printed, said))?;
        }
        (Value::Number(printed), Value::Number(said)) => prop_assert_eq!(printed.as_f64(), said.as_f64()),
        _ => prop_assert_eq!(printed, said),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_document_that_is_printed_is_read_as_it_was(json in document()) {
        there_and_back::<Desired>(&json)?;
        let printed = serde_json::to_value(serde_json::from_value::<Desired>(json.clone()).unwrap()).unwrap();
        holds(&printed, &json)?;
    }

    #[test]
    fn a_zone_event_that_is_printed_is_read_as_it_was(
        event_type in event_type(), why in why(), count in maybe("count", integer(0..=u64::from(u32::MAX))),
        speed in maybe("speed_kmh", number(0.0..500.0)), dwell in maybe("dwell_ms", integer(0..=1 << 50)),
    ) {
        let base = json!({
            "camera_id": "gate", "zone_id": "yard", "timestamp": "2026-11-22T13:05:00.250Z", "event_type": event_type,
            "object_class": "person", "confidence": 0.75, "track_id": "t-1", "bbox": [0.0, 0.0, 1.0, 1.0],
            "frame": {"width": 10, "height": 10}, "why": why,
        });
        there_and_back::<ZoneEvent>(&with(base, vec![count, speed, dwell]))?;
    }

    #[test]
    fn a_decision_that_is_printed_is_read_as_it_was(
        event_type in event_type(), why in why(), made in any::<bool>(), zone in maybe("zone_id", Just(json!("yard"))),
    ) {
        let base = json!({
            "at": "2026-11-22T13:05:00.250Z", "camera_id": "gate", "track_id": "t-1", "object_class": "person",
            "event_type": event_type, "made": made, "why": why,
        });
        there_and_back::<Decision>(&with(base, vec![zone]))?;
    }
}
