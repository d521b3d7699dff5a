//! What a rule remembers of each thing that it counts for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

use super::id::RuleId;
use super::level::{Excursion, Level};
use super::occurrence::{Kind, Occurrence, What};
use super::rule::{Per, Repeated, Rule};

/// Most alerts whose times are remembered for one thing: the latest. Cool-down compares with these only, so an
/// occurrence that comes later than so many newer alerts can raise an alert within a cool-down of old.
const MAX_RAISED: usize = 64;
/// Most occurrences whose times are remembered for one thing: the latest.
const MAX_MATCHED: usize = 128;

/// What cool-down, repetition and once-per-track are counted for; as a text, the key of a [`ScopeMemory`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(String);

/// What an alert is about, as a text unique in its tenant: raising it twice is impossible.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupKey(String);

/// What a rule remembers of one [`Scope`]. It depends only on the occurrences and their order, so that a back-test
/// remembers what live evaluation did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeMemory {
    /// Times of alerts in rising order, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    raised: Vec<i64>,
    /// Occurrences since the last alert that count for a repetition, by time, each with whose it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    matched: Vec<(i64, String)>,
    /// What is beyond its bound, of values that each report tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    excursion: Option<Excursion>,
}

/// Where decisions find what was before. Live evaluation keeps it in the database, a back-test in memory.
pub trait Memory {
    /// Says why it can't be read.
    type Error;
    /// What the rule remembers of `scope`; changed in place.
    ///
    /// # Errors
    /// It can't be read.
    fn of_scope(&mut self, rule: RuleId, scope: &Scope) -> Result<&mut ScopeMemory, Self::Error>;
    /// Whether there is an alert of this key.
    ///
    /// # Errors
    /// It can't be read.
    fn is_raised(&mut self, key: &DedupKey) -> Result<bool, Self::Error>;
}

/// A memory that lives as long as it is held.
#[derive(Debug, Clone, Default)]
pub struct VolatileMemory {
    scopes: BTreeMap<(RuleId, Scope), ScopeMemory>,
    raised: std::collections::BTreeSet<DedupKey>,
}

impl Scope {
    /// What `rule` counts the occurrence for.
    #[must_use]
    pub fn of(rule: &Rule, occurrence: &Occurrence) -> Self {
        Self::by(rule.per, occurrence)
    }

    /// What the occurrence itself is about, whatever a rule counts it for.
    pub(super) fn of_itself(occurrence: &Occurrence) -> Self {
        Self::by(Per::Zone, occurrence)
    }

    fn by(per: Per, occurrence: &Occurrence) -> Self {
        let mut text = String::new();
        let mut add = |part: &str| {
            if !text.is_empty() {
                text.push('/');
            }
            text.push_str(part);
        };
        if per != Per::Rule {
            add(occurrence.edge.as_str());
        }
        if let (Per::Camera | Per::Zone, Some(camera)) = (per, &occurrence.camera) {
            add(camera.as_str());
        }
        if let (Per::Zone, Some(zone)) = (per, occurrence.zone()) {
            add(zone.as_str());
        }
        // Different alarms of one camera are different things: a full disk does not silence a blinded camera.
        match &occurrence.what {
            What::EdgeAlert { alert_type, .. } => add(&format!("#{alert_type}")),
            What::Temperature { sensor, .. } => add(&format!("#{sensor}")),
            _ => {}
        }
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DedupKey {
    /// The key of the alert of rule `id` about `subject`.
    pub(super) fn of(id: RuleId, scope: &Scope, subject: &str) -> Self {
        Self(format!("{id}/{}/{subject}", scope.0))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who or what counts once: the track where the rule alerts once per track; a state, which many reports tell of, by
/// when it began, which is `since` for a value that is beyond its bound; else the event.
pub(super) fn subject(rule: &Rule, occurrence: &Occurrence, since: Option<UtcMillis>) -> String {
    let is_state = since.is_some() || matches!(occurrence.what.kind(), Kind::CameraState | Kind::RecordingGap);
    match (occurrence.seen(), occurrence.event) {
        (Some(seen), _) if rule.once_per_track => format!("track:{}/{}", occurrence.edge, seen.track),
        (_, Some(event)) if !is_state => format!("event:{event}"),
        _ => {
            let camera = occurrence.camera.as_ref().map_or("", |camera| camera.as_str());
            let (kind, at) = (occurrence.what.kind(), since.unwrap_or(occurrence.at).as_millis());
            format!("{kind}:{}/{camera}/{}@{at}", occurrence.edge, sort(&occurrence.what))
        }
    }
}

/// What tells two things apart that happen to one camera in one millisecond.
fn sort(what: &What) -> String {
    match what {
        What::Camera { state, .. } => super::judge::word(state),
        What::RecordingGap { cause, .. } => super::judge::word(cause),
        What::Temperature { sensor, .. } => sensor.clone(),
        _ => String::new(),
    }
}

impl ScopeMemory {
    /// Counts the occurrence at `at` of `subject`; returns how many lie with it in a span of the repetition's length,
    /// at most as many as it asks for. Late occurrences count like those that came in time.
    pub(super) fn count(&mut self, at: UtcMillis, subject: String, repeated: Repeated) -> u32 {
        let (at, within) = (at.as_millis(), i64::from(repeated.within_s) * 1000);
        let is_known = self.matched.iter().any(|(time, who)| *who == subject && (time - at).abs() <= within);
        if !is_known {
            let place = self.matched.partition_point(|(time, _)| *time <= at);
            self.matched.insert(place, (at, subject));
            let surplus = self.matched.len().saturating_sub(MAX_MATCHED);
            self.matched.drain(..surplus);
        }
        let times: Vec<i64> = self.matched.iter().map(|(time, _)| *time).collect();
        let most = times.iter().map(|first| {
            let holds_at = *first <= at && at <= first + within;
            let inside = times.iter().filter(|time| (*first..=first + within).contains(*time)).count();
            if holds_at { inside } else { 0 }
        });
        u32::try_from(most.max().unwrap_or(0)).unwrap_or(u32::MAX).min(repeated.times)
    }

    /// Since when a value has been beyond its bound, with this report of `at`; `None` when it is not.
    pub(super) fn follow(&mut self, level: Level, at: UtcMillis) -> Option<UtcMillis> {
        level.follow(&mut self.excursion, at)
    }

    /// Time between `at` and the nearest alert.
    pub(super) fn nearest(&self, at: UtcMillis) -> Option<Duration> {
        let nearest = self.raised.iter().map(|raised| raised.abs_diff(at.as_millis())).min();
        nearest.map(Duration::from_millis)
    }

    /// Notes an alert; what led to it does not count for the next one.
    pub(super) fn raise(&mut self, at: UtcMillis) {
        let place = self.raised.partition_point(|raised| *raised <= at.as_millis());
        self.raised.insert(place, at.as_millis());
        let surplus = self.raised.len().saturating_sub(MAX_RAISED);
        self.raised.drain(..surplus);
        self.matched.clear();
    }
}

impl VolatileMemory {
    /// Notes that there is an alert of this key.
    pub fn remember(&mut self, key: DedupKey) {
        self.raised.insert(key);
    }
}

impl Memory for VolatileMemory {
    type Error = Infallible;

    fn of_scope(&mut self, rule: RuleId, scope: &Scope) -> Result<&mut ScopeMemory, Infallible> {
        Ok(self.scopes.entry((rule, scope.clone())).or_default())
    }

    fn is_raised(&mut self, key: &DedupKey) -> Result<bool, Infallible> {
        Ok(self.raised.contains(key))
    }
}
