//! Texts of others in files that people open with a spreadsheet.

use std::borrow::Cow;

/// Makes a cell harmless: a spreadsheet reads one that begins with `=`, `+`, `-`, `@`, a tab or a carriage return as a
/// formula, and a formula can fetch and send (OWASP, CSV injection). An apostrophe before it makes it a text.
#[must_use]
pub fn defused(cell: &str) -> Cow<'_, str> {
    match cell.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') => Cow::Owned(format!("'{cell}")),
        _ => Cow::Borrowed(cell),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_formula_becomes_a_text() {
        for cell in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(defused(cell), format!("'{cell}"));
        }
    }

    proptest! {
        #[test]
        fn no_cell_begins_as_a_formula_and_others_stay_as_they_are(cell in "[=+@\t\r a-z-]{0,4}|.{0,8}") {
            let made = defused(&cell);
            prop_assert!(!made.starts_with(['=', '+', '-', '@', '\t', '\r']));
            prop_assert_eq!(made.strip_prefix('\'').unwrap_or(&made), cell.strip_prefix('\'').unwrap_or(&cell));
        }
    }
}
