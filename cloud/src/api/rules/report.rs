//! What a back-test found, as the API shows it.

use aivms_cloud_core::rules::{Report, Shown, Side};
use aivms_contract::id::{CameraId, EdgeId, EventId};
use aivms_contract::time::UtcMillis;
use poem_openapi::{Enum, Object};

use super::super::alerts::FindingAnswer;
use super::super::values::{Text, Time, time};
use super::{AlertGate, in_words};

/// What a rule would have raised.
#[derive(Debug, Object)]
#[oai(rename = "BackTestReport")]
pub(super) struct ReportAnswer {
    /// Beginning of the span that was looked at.
    start: Text<Time>,
    /// Its end.
    end: Text<Time>,
    /// Things that any of the two rules is about, by kind, place and sort.
    looked_at: u64,
    /// Alerts that both rules raise.
    both: u64,
    /// Alerts that only the tried rule raises.
    only_new: u64,
    /// Alerts that only today's rule raises.
    only_old: u64,
    /// What stopped the tried rule where it is about something, and how often.
    stopped_by: Vec<StoppedBy>,
    /// By day in the tried rule's time zone; days without an alert are left out.
    days: Vec<DayAnswer>,
    /// The first hundred alerts of each of the three sorts, in the order of storing.
    alerts: Vec<TriedAlert>,
}

/// How often something stopped alerts.
#[derive(Debug, Object)]
struct StoppedBy {
    /// What stopped them first.
    gate: AlertGate,
    /// How many.
    times: u64,
}

/// Alerts of one day.
#[derive(Debug, Object)]
#[oai(rename = "BackTestDay")]
struct DayAnswer {
    /// The date, as `2026-11-22`.
    date: String,
    /// Alerts that both rules raise.
    both: u64,
    /// Alerts that only the tried rule raises.
    only_new: u64,
    /// Alerts that only today's rule raises.
    only_old: u64,
}

/// One alert that would have been raised.
#[derive(Debug, Object)]
struct TriedAlert {
    /// By which of the rules.
    raised_by: RaisedBy,
    /// When that happened which it tells of.
    timestamp: Text<Time>,
    /// What happened, in one line.
    title: String,
    /// The edge it is about.
    edge_id: Text<EdgeId>,
    /// The camera it is about.
    #[oai(nullable)]
    camera_id: Option<Text<CameraId>>,
    /// The event that raises it; null where the cloud found out by itself.
    #[oai(nullable)]
    event_id: Option<Text<EventId>>,
    /// Why; of the tried rule where both raise it.
    why: Vec<FindingAnswer>,
}

/// By which of two rules.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum RaisedBy {
    /// By both.
    Both,
    /// By the tried one only.
    New,
    /// By today's one only.
    Old,
}

impl ReportAnswer {
    pub(super) fn new(report: Report, start: UtcMillis, end: UtcMillis) -> Self {
        let stopped_by = report.stopped_by.iter();
        let stopped_by =
            stopped_by.filter_map(|(gate, times)| Some(StoppedBy { gate: in_words(gate)?, times: *times }));
        let days = report.days.into_iter().map(|day| DayAnswer {
            date: day.date,
            both: day.both,
            only_new: day.only_new,
            only_old: day.only_old,
        });
        Self {
            start: time(start),
            end: time(end),
            looked_at: report.looked_at,
            both: report.both,
            only_new: report.only_new,
            only_old: report.only_old,
            stopped_by: stopped_by.collect(),
            days: days.collect(),
            alerts: report.shown.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Shown> for TriedAlert {
    fn from(Shown { side, occurrence, title, why }: Shown) -> Self {
        Self {
            raised_by: match side {
                Side::Both => RaisedBy::Both,
                Side::New => RaisedBy::New,
                Side::Old => RaisedBy::Old,
            },
            timestamp: time(occurrence.at),
            title,
            edge_id: Text(occurrence.edge),
            camera_id: occurrence.camera.map(Text),
            event_id: occurrence.event.map(Text),
            why: why.into_iter().filter_map(FindingAnswer::of).collect(),
        }
    }
}
