//! Decisions in plain words.

use aivms_contract::why::{Check, Decision, Gate};
use aivms_contract::zone_event::ZoneEventType;

/// What was decided and why, without the time: `gate/yard: person gate-k3-7 did not enter: debounce held 200 of 400 ms`.
#[must_use]
pub fn sentence(decision: &Decision) -> String {
    let Decision { camera_id, zone_id, track_id, object_class, event_type, made, why, .. } = decision;
    let place = match zone_id {
        Some(zone) => format!("{camera_id}/{zone}"),
        None => camera_id.to_string(),
    };
    let deed = deed(*event_type, *made);
    let reasons = if *made {
        why.iter().filter_map(|check| measured(check, object_class)).collect::<Vec<_>>().join(", ")
    } else {
        why.last().map(|check| reason(check, object_class)).unwrap_or_default()
    };
    let colon = if reasons.is_empty() { "" } else { ": " };
    format!("{place}: {object_class} {track_id} {deed}{colon}{reasons}")
}

fn deed(event_type: ZoneEventType, made: bool) -> &'static str {
    match (event_type, made) {
        (ZoneEventType::Enter, true) => "entered",
        (ZoneEventType::Enter, false) => "did not enter",
        (ZoneEventType::Exit, true) => "left",
        (ZoneEventType::Exit, false) => "did not leave",
        (ZoneEventType::Dwell, true) => "dwelt",
        (ZoneEventType::Dwell, false) => "did not dwell",
        (ZoneEventType::Cross, true) => "crossed",
        (ZoneEventType::Cross, false) => "did not cross",
        (ZoneEventType::Occupied, true) => "made it occupied",
        (ZoneEventType::Occupied, false) => "did not make it occupied",
        (ZoneEventType::Cleared, true) => "cleared it",
        (ZoneEventType::Cleared, false) => "did not clear it",
    }
}

/// What let an event through, where there is a number to tell; and whatever spoke against it.
fn measured(check: &Check, class: &str) -> Option<String> {
    (check.value.is_some() || !check.passed).then(|| reason(check, class))
}

fn reason(check: &Check, class: &str) -> String {
    let passed = check.passed;
    match check.gate {
        Gate::Class if passed => format!("{class} is asked for"),
        Gate::Class => format!("{class} is not asked for"),
        Gate::Confidence => against(check, "confidence ", 1.0, ""),
        Gate::MinArea | Gate::MaxArea => against(check, "covers ", 100.0, " % of the frame"),
        Gate::MinAspect | Gate::MaxAspect => against(check, "width is ", 1.0, " times the height"),
        Gate::Mask if passed => "in no mask".to_owned(),
        Gate::Mask => "stands in a mask".to_owned(),
        Gate::Overlap => against(check, "overlaps by ", 100.0, " % of its box"),
        Gate::Schedule if passed => "in the schedule".to_owned(),
        Gate::Schedule => "outside the schedule".to_owned(),
        Gate::Debounce => held(check, "debounce held "),
        Gate::Direction if passed => "went a way that is asked for".to_owned(),
        Gate::Direction => "went the way that is not asked for".to_owned(),
        Gate::Dwell => held(check, "was inside for "),
        Gate::Speed => against(check, "speed ", 1.0, " km/h"),
        Gate::Occupancy => against(check, "", 1.0, " inside"),
        Gate::Stationary if passed => "moves, or was not told of yet".to_owned(),
        Gate::Stationary => "is at rest and was told of before".to_owned(),
    }
}

/// A value and the bound it was held to, both times `scale`.
fn against(check: &Check, before: &str, scale: f64, unit: &str) -> String {
    let bound = match check.gate {
        Gate::MaxArea | Gate::MaxAspect => "at most",
        _ => "at least",
    };
    let scaled = |number: Option<f64>| number.map(|number| number * scale);
    let (value, limit) = told_apart(scaled(check.value), scaled(check.limit));
    let value = value.unwrap_or("not measured".to_owned());
    let limit = limit.map(|limit| format!(", {bound} {limit} asked for"));
    format!("{before}{value}{unit}{}", limit.unwrap_or_default())
}

/// Milliseconds that had to pass; in seconds when there are many.
fn held(check: &Check, before: &str) -> String {
    let (scale, unit) = if check.limit.is_some_and(|limit| limit >= 5_000.0) { (1e-3, "s") } else { (1.0, "ms") };
    let value = short(check.value.unwrap_or_default() * scale);
    match check.limit {
        Some(limit) => format!("{before}{value} of {} {unit}", short(limit * scale)),
        None => format!("{before}{value} {unit}"),
    }
}

/// Two numbers with as few decimals as show which is larger: 0.6957 is not told as 0.7 beside a limit of 0.7.
fn told_apart(value: Option<f64>, limit: Option<f64>) -> (Option<String>, Option<String>) {
    let both = |decimals| {
        let print = |number: f64| short_to(number, decimals);
        (value.map(print), limit.map(print))
    };
    let is_clear = |decimals: &usize| value == limit || both(*decimals).0 != both(*decimals).1;
    both((2..6).find(is_clear).unwrap_or(6))
}

/// At most two decimals, and none that say nothing.
fn short(number: f64) -> String {
    short_to(number, 2)
}

fn short_to(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
