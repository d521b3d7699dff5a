//! Cursors of lists: where the next page begins.

use std::fmt;
use std::str::FromStr;

use aivms_contract::id::EventId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Rows of a page when the caller names no number.
pub const DEFAULT_LIMIT: u32 = 50;
/// Most rows of a page.
pub const MAX_LIMIT: u32 = 1_000;
/// The form of a cursor, for the API's documentation: 136 bits in base64url, of which the first eight are the version.
pub const CURSOR_PATTERN: &str = "^A[Q-Za-f][A-Za-z0-9_-]{20}[AEIMQUYcgkosw048]$";

/// Version of the text form; another one is refused, so that the form can change.
const VERSION: u8 = 1;

/// The form of a place cursor: 72 bits in base64url, of which the first eight are the version.
pub const PLACE_CURSOR_PATTERN: &str = "^A[g-v][A-Za-z0-9_-]{10}$";
const PLACE_VERSION: u8 = 2;

/// The place after the last row of a page of a list that counts its rows from 1 for each tenant; opaque to callers.
/// Rows that are counted over all tenants have no place in it: the number would tell of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceCursor(pub u64);

impl fmt::Display for PlaceCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [PLACE_VERSION; 9];
        bytes[1..].copy_from_slice(&self.0.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for PlaceCursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        match bytes.split_first() {
            Some((&PLACE_VERSION, place)) => {
                place.try_into().map(u64::from_be_bytes).map(Self).map_err(|_| CursorError)
            }
            _ => Err(CursorError),
        }
    }
}

/// The place after the last event of a page; opaque to callers.
///
/// It holds no filter: a caller that changes filters between pages gets the rest of another list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub EventId);

/// Says that a text is no cursor of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be the next_cursor of an earlier answer")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [VERSION; 17];
        bytes[1..].copy_from_slice(&self.0.to_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        match bytes.split_first() {
            Some((&VERSION, id)) => id.try_into().map(EventId::from_bytes).map(Self).map_err(|_| CursorError),
            _ => Err(CursorError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::time::UtcMillis;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_printed_cursor_reads_back(at in 0i64..1 << 47, entropy: u128) {
            let cursor = Cursor(EventId::from_parts(UtcMillis::from_millis(at), entropy));
            let text = cursor.to_string();
            prop_assert_eq!(text.len(), 23);
            prop_assert_eq!(text.parse(), Ok(cursor));
        }

        #[test]
        fn a_printed_place_reads_back_and_is_no_cursor_of_events(place: u64) {
            let text = PlaceCursor(place).to_string();
            prop_assert_eq!(text.parse(), Ok(PlaceCursor(place)));
            prop_assert_eq!(text.parse::<Cursor>(), Err(CursorError));
        }

        #[test]
        fn other_texts_are_refused(text in "[A-Za-z0-9_-]{0,22}|[A-Za-z0-9_-]{24,30}|.{23}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn a_cursor_of_another_version_is_refused() {
        let mut bytes = [0; 17];
        bytes[0] = 2;
        assert_eq!(URL_SAFE_NO_PAD.encode(bytes).parse::<Cursor>(), Err(CursorError));
    }
}
