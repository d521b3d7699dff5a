//! Numbers of the document that are checked when they are read.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most dwell times of one zone.
pub const MAX_DWELL_TIMES: usize = 8;

/// Says why a value of the document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

impl ValueError {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }
}

macro_rules! checked_numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ty, $inner_name:literal) { $ok:expr, $rule:literal, default $default:expr })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = $inner_name, into = $inner_name)]
        pub struct $name($inner);

        impl $name {
            /// The plain number.
            #[must_use]
            pub fn get(self) -> $inner {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }

        impl TryFrom<$inner> for $name {
            type Error = ValueError;
            fn try_from(value: $inner) -> Result<Self, ValueError> {
                let ok: fn($inner) -> bool = $ok;
                if ok(value) { Ok(Self(value)) } else { Err(ValueError(format!("{}, is {value}", $rule))) }
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    )*};
}

checked_numbers! {
    /// Frames per second, above 0 and at most 60.
    Fps(f64, "f64") { |v| v > 0.0 && v <= 60.0, "must be above 0 and at most 60", default 5.0 }
    /// A confidence, above 0 and at most 1.
    Confidence(f64, "f64") { |v| v > 0.0 && v <= 1.0, "must be above 0 and at most 1", default 0.5 }
    /// A dwell time in milliseconds, 100 to 86,400,000 (one day).
    DwellMs(u64, "u64") { |v| (100..=86_400_000).contains(&v), "must be 100 to 86400000 milliseconds", default 10_000 }
    /// A part of a whole, above 0 and at most 1.
    Fraction(f64, "f64") { |v| v > 0.0 && v <= 1.0, "must be above 0 and at most 1", default 0.5 }
    /// Width divided by height, 0.01 to 100.
    Aspect(f64, "f64") { |v| (0.01..=100.0).contains(&v), "must be 0.01 to 100", default 1.0 }
    /// A length on the ground in metres, above 0 and at most 1,000.
    Metres(f64, "f64") { |v| v > 0.0 && v <= 1000.0, "must be above 0 and at most 1000 metres", default 10.0 }
    /// A speed in kilometres per hour, above 0 and at most 500.
    Kmh(f64, "f64") { |v| v > 0.0 && v <= 500.0, "must be above 0 and at most 500 km/h", default 30.0 }
    /// A number of days, 0 to 3,650.
    Days(f64, "f64") { |v| (0.0..=3650.0).contains(&v), "must be 0 to 3650 days", default 7.0 }
    /// A number of GiB, above 0 and at most 1,000,000.
    Gib(f64, "f64") { |v| v > 0.0 && v <= 1_000_000.0, "must be above 0 and at most 1000000 GiB", default 100.0 }
    /// A number of objects, 1 to 1,000.
    Objects(u32, "u32") { |v| (1..=1000).contains(&v), "must be 1 to 1000", default 1 }
    /// A debounce time in milliseconds, at most 60,000.
    DebounceMs(u64, "u64") { |v| v <= 60_000, "must be at most 60000 milliseconds", default 400 }
}

/// The times inside a zone that are told, rising; written as one number or as a list of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DwellTimes(Vec<DwellMs>);

impl DwellTimes {
    /// The times, shortest first.
    #[must_use]
    pub fn as_slice(&self) -> &[DwellMs] {
        &self.0
    }

    /// Whether no dwell is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<DwellMs> for DwellTimes {
    fn from(time: DwellMs) -> Self {
        Self(vec![time])
    }
}

impl TryFrom<Vec<DwellMs>> for DwellTimes {
    type Error = ValueError;
    fn try_from(times: Vec<DwellMs>) -> Result<Self, ValueError> {
        if times.len() > MAX_DWELL_TIMES {
            return Err(ValueError(format!("at most {MAX_DWELL_TIMES} dwell times, found {}", times.len())));
        }
        if !times.is_sorted_by(|a, b| a < b) {
            return Err(ValueError("dwell times must rise without repeats".to_owned()));
        }
        Ok(Self(times))
    }
}

impl Serialize for DwellTimes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for DwellTimes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimesVisitor)
    }
}

struct TimesVisitor;

impl<'de> Visitor<'de> for TimesVisitor {
    type Value = DwellTimes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in milliseconds or a list of them")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<DwellTimes, E> {
        Ok(DwellTimes::default())
    }

    fn visit_u64<E: serde::de::Error>(self, time: u64) -> Result<DwellTimes, E> {
        DwellMs::try_from(time).map(DwellTimes::from).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<DwellTimes, A::Error> {
        let mut times = Vec::new();
        while let Some(time) = list.next_element()? {
            times.push(time);
        }
        DwellTimes::try_from(times).map_err(serde::de::Error::custom)
    }
}
