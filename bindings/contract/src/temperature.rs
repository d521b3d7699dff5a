//! Temperatures that an edge measured of itself.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Most temperatures of one report. A Jetson has about ten thermal zones, a server with a sensor for each core more.
pub const MAX_TEMPERATURES: usize = 32;
/// Longest name of a sensor in bytes. Linux gives a thermal zone at most 19.
pub const MAX_SENSOR_BYTES: usize = 64;
/// Lowest temperature that is believed, in degrees Celsius. Linux says -274 of a sensor that has no value, NVIDIA's
/// drivers say -256 of one that is off.
pub const MIN_CELSIUS: f64 = -100.0;
/// Highest temperature that is believed, in degrees Celsius.
pub const MAX_CELSIUS: f64 = 200.0;

/// The temperatures of one report: at most [`MAX_TEMPERATURES`], no sensor twice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Temperature>", into = "Vec<Temperature>")]
pub struct Temperatures(Vec<Temperature>);

/// What one sensor measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// The sensor.
    pub name: SensorName,
    /// What it measured.
    pub celsius: Celsius,
}

/// Name of a sensor as the system of the edge calls it, such as `CPU-therm`: 1 to [`MAX_SENSOR_BYTES`] bytes, none of
/// them a control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SensorName(String);

/// A temperature in degrees Celsius, [`MIN_CELSIUS`] to [`MAX_CELSIUS`].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Celsius(f64);

/// Says why something is no temperature.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TemperatureError {
    /// Too many in one report.
    #[error("at most {MAX_TEMPERATURES} temperatures, found {0}")]
    Count(usize),
    /// Two of one name.
    #[error("two temperatures of sensor {0}")]
    Twice(SensorName),
    /// The name is empty, too long, or can't be printed.
    #[error("a sensor's name must have 1 to {MAX_SENSOR_BYTES} bytes, none a control character")]
    Name,
    /// No number, or none that a running machine can have.
    #[error("must be {MIN_CELSIUS} to {MAX_CELSIUS} degrees Celsius, is {0}")]
    Celsius(f64),
}

impl Temperatures {
    /// The temperatures in the order of the report.
    #[must_use]
    pub fn as_slice(&self) -> &[Temperature] {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<Temperature>> for Temperatures {
    type Error = TemperatureError;
    fn try_from(all: Vec<Temperature>) -> Result<Self, TemperatureError> {
        if all.len() > MAX_TEMPERATURES {
            return Err(TemperatureError::Count(all.len()));
        }
        let mut names = BTreeSet::new();
        match all.iter().find(|one| !names.insert(&one.name)) {
            Some(twice) => Err(TemperatureError::Twice(twice.name.clone())),
            None => Ok(Self(all)),
        }
    }
}

impl From<Temperatures> for Vec<Temperature> {
    fn from(all: Temperatures) -> Self {
        all.0
    }
}

impl SensorName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SensorName {
    type Error = TemperatureError;
    fn try_from(name: String) -> Result<Self, TemperatureError> {
        let fits = (1..=MAX_SENSOR_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
        if fits { Ok(Self(name)) } else { Err(TemperatureError::Name) }
    }
}

impl From<SensorName> for String {
    fn from(name: SensorName) -> Self {
        name.0
    }
}

impl fmt::Display for SensorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Celsius {
    /// The plain number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Celsius {
    type Error = TemperatureError;
    fn try_from(celsius: f64) -> Result<Self, TemperatureError> {
        let is_believed = (MIN_CELSIUS..=MAX_CELSIUS).contains(&celsius);
        if is_believed { Ok(Self(celsius)) } else { Err(TemperatureError::Celsius(celsius)) }
    }
}

impl From<Celsius> for f64 {
    fn from(celsius: Celsius) -> Self {
        celsius.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refusal(json: Value) -> String {
        serde_json::from_value::<Temperatures>(json).unwrap_err().to_string()
    }

    #[test]
    fn temperatures_are_read_as_they_were_written() {
        let text = r#"[{"name":"CPU-therm","celsius":48.531},{"name":"ACPI thermal zone","celsius":-100.0}]"#;
        let read: Temperatures = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!((read.as_slice()[0].name.as_str(), read.as_slice()[0].celsius.get()), ("CPU-therm", 48.531));
    }

    #[test]
    fn what_no_machine_measures_is_refused_with_the_reason() {
        let one = |name: &str, celsius: f64| json!({ "name": name, "celsius": celsius });
        for celsius in [-100.1, 200.1, 1e300] {
            assert!(refusal(json!([one("cpu", celsius)])).starts_with("must be -100 to 200 degrees Celsius"));
        }
        for celsius in [f64::NAN, f64::INFINITY] {
            assert!(Celsius::try_from(celsius).is_err(), "{celsius}");
        }
        for name in ["", "c\npu", &"x".repeat(65)] {
            assert!(refusal(json!([one(name, 40.0)])).contains("1 to 64 bytes"), "{name:?}");
        }
        assert_eq!(refusal(json!([one("cpu", 40.0), one("cpu", 41.0)])), "two temperatures of sensor cpu");
        let many: Vec<Value> = (0..=MAX_TEMPERATURES).map(|number| one(&number.to_string(), 40.0)).collect();
        assert_eq!(refusal(json!(many)), "at most 32 temperatures, found 33");
    }
}
