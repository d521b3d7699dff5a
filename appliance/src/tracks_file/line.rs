//! One record as a line of JSON.

use aivms_appliance_core::replay::{Header, Record};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

/// Says why a line is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is not JSON, or not whole.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// A field is unknown, missing or has a wrong value.
    #[error("{field}: {problem}")]
    Field {
        /// Path of the field, such as `objects[2].bbox`.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The keys by which records are told apart.
#[derive(Deserialize)]
struct Keys {
    tracks: Option<IgnoredAny>,
    pts: Option<IgnoredAny>,
    clock_zero: Option<IgnoredAny>,
    rules: Option<IgnoredAny>,
    end: Option<IgnoredAny>,
    lost: Option<IgnoredAny>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    end: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lost {
    lost: u64,
}

/// Reads a line.
///
/// # Errors
/// Names the field that is wrong.
pub fn parse(line: &[u8]) -> Result<Record, LineError> {
    let keys: Keys = serde_json::from_slice(line).map_err(|error| LineError::Damaged(without_place(&error)))?;
    Ok(match keys {
        Keys { tracks: Some(_), .. } => Record::Header(Box::new(take::<Header>(line)?)),
        Keys { pts: Some(_), .. } => Record::Frame(take(line)?),
        Keys { clock_zero: Some(_), .. } => Record::Clock(take(line)?),
        Keys { rules: Some(_), .. } => Record::Rules(Box::new(take(line)?)),
        Keys { end: Some(_), .. } => {
            let End { end: _ } = take(line)?;
            Record::End
        }
        Keys { lost: Some(_), .. } => {
            let Lost { lost } = take(line)?;
            Record::Lost(lost)
        }
        _ => {
            let problem = "a record has one of tracks, pts, clock_zero, rules, end, lost".to_owned();
            return Err(LineError::Field { field: "pts".to_owned(), problem });
        }
    })
}

/// Writes a record as a line without its end.
///
/// # Errors
/// A number of it is not finite.
pub fn print(record: &Record) -> serde_json::Result<String> {
    match record {
        Record::Header(header) => serde_json::to_string(header),
        Record::Frame(frame) => serde_json::to_string(frame),
        Record::Clock(clock) => serde_json::to_string(clock),
        Record::Rules(rules) => serde_json::to_string(rules),
        Record::End => serde_json::to_string(&End { end: true }),
        Record::Lost(lost) => serde_json::to_string(&Lost { lost: *lost }),
    }
}

fn take<T: DeserializeOwned>(line: &[u8]) -> Result<T, LineError> {
    let mut json = serde_json::Deserializer::from_slice(line);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| LineError::Field { field: error.path().to_string(), problem: without_place(error.inner()) })
}

/// The parser's words, without the line that it counts itself.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((problem, _)) => format!("{problem}, at column {}", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_appliance_core::detection::{FrameDetections, Tracked};
    use aivms_contract::geometry::{FrameSize, PixelBox};
    use aivms_contract::time::MediaTime;
    use proptest::prelude::*;

    fn refusal(line: &str) -> String {
        parse(line.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_by_its_field() {
        let object = r#"{"track":1,"class":0,"confidence":0.5,"bbox":[1,2,3,4]}"#;
        let frame = |objects: &str| format!(r#"{{"pts":5,"frame":{{"width":10,"height":10}},"objects":[{objects}]}}"#);
        assert!(parse(frame(object).as_bytes()).is_ok());
        let cases = [
            (frame(&object.replace("[1,2,3,4]", "[3,2,1,4]")), "objects[0].bbox: must be [x1, y1, x2, y2]"),
            (frame(&format!("{object},{}", object.replace("track", "trak"))), "objects[1].trak: unknown field"),
            (frame(&object.replace("\"class\":0,", "")), "objects[0]: missing field `class`"),
            (r#"{"tracks":2}"#.to_owned(), "tracks: version 2 is not known"),
            (r#"{"point":3}"#.to_owned(), "a record has one of tracks, pts"),
            (r#"{"clock_zero":"yesterday"}"#.to_owned(), "clock_zero: "),
            (frame(object)[..40].to_owned(), "it is damaged: EOF"),
            ("[]".to_owned(), "it is damaged"),
            (String::new(), "it is damaged"),
        ];
        for (line, says) in cases {
            assert!(refusal(&line).contains(says), "{line}: {}", refusal(&line));
        }
    }

    proptest! {
        #[test]
        fn any_frame_is_read_as_it_was_written(
            pts: u64, objects in proptest::collection::vec(
                (any::<u64>(), any::<u16>(), any::<f32>(), -1e6f32..1e6, -1e6f32..1e6, 0f32..1e6, 0f32..1e6), 0..5),
        ) {
            let object = |(track, class, confidence, x, y, width, height)| {
                let confidence = if f32::is_finite(confidence) { confidence } else { 0.5 };
                Tracked { track, class, confidence, bbox: PixelBox::new(x, y, x + width, y + height).unwrap() }
            };
            let objects = objects.into_iter().map(object).collect();
            let frame = FrameSize { width: 1920, height: 1080 };
            let record = Record::Frame(FrameDetections { pts: MediaTime::from_nanos(pts), frame, objects });
            prop_assert_eq!(parse(print(&record).unwrap().as_bytes()).unwrap(), record);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }
    }
}
