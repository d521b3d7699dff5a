//! `[uploads]`: bounds and pace of clips and snapshots on their way to the cloud.

use std::num::NonZeroU64;

use aivms_contract::desired::{Schedule, ScheduleSpan, TimeOfDay, Weekday};
use serde::Deserialize;

/// Bounds and pace of uploads, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploads {
    /// Most bytes of files that wait.
    pub max_bytes: u64,
    /// Most bytes per second; `None` for as fast as the line is.
    pub bytes_per_s: Option<u64>,
    /// Other budgets by the time of day; the first whose schedule is open counts.
    pub schedule: Vec<(Schedule, Option<u64>)>,
}

/// `[uploads]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UploadsSection {
    /// Most MiB of files that wait for a cloud that does not answer; default 4096.
    max_mib: NonZeroU64,
    /// Most KiB per second they may take of the line; default 0 for as fast as the line is.
    kib_per_s: u32,
    /// Other budgets by the time of day, on the clock of the site; the first that is open counts.
    schedule: Vec<BudgetSpan>,
}

/// `[[uploads.schedule]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawBudgetSpan")]
struct BudgetSpan {
    schedule: Schedule,
    kib_per_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBudgetSpan {
    /// As in [`UploadsSection`].
    kib_per_s: u32,
    /// As in schedules of zones.
    #[serde(default)]
    days: Vec<Weekday>,
    from: TimeOfDay,
    to: TimeOfDay,
}

impl TryFrom<RawBudgetSpan> for BudgetSpan {
    type Error = String;
    fn try_from(raw: RawBudgetSpan) -> Result<Self, String> {
        let span = ScheduleSpan { days: raw.days, from: raw.from, to: raw.to };
        let schedule = Schedule::try_from(vec![span]).map_err(|error| error.to_string())?;
        Ok(Self { schedule, kib_per_s: raw.kib_per_s })
    }
}

impl Default for UploadsSection {
    fn default() -> Self {
        Self { max_mib: const { NonZeroU64::new(4096).expect("not zero") }, kib_per_s: 0, schedule: Vec::new() }
    }
}

impl From<UploadsSection> for Uploads {
    fn from(section: UploadsSection) -> Self {
        let rate = |kib: u32| (kib > 0).then(|| u64::from(kib) * 1024);
        Self {
            max_bytes: section.max_mib.get().saturating_mul(1024 * 1024),
            bytes_per_s: rate(section.kib_per_s),
            schedule: section.schedule.into_iter().map(|span| (span.schedule, rate(span.kib_per_s))).collect(),
        }
    }
}
