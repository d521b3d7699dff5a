//! Byte ranges of HTTP (RFC 9110, section 14): the part of a file that a player asks for.

use std::ops::Range;

/// What of a file to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// All of it: 200.
    Whole,
    /// These bytes, of which there is at least one: 206.
    Part(Range<u64>),
    /// Nothing of it lies where it is asked for: 416.
    Nothing,
}

/// Reads the header `Range` of a request for a file of `size` bytes with the entity tag `etag`; `if_range` is the
/// header of that name.
///
/// What is not understood is answered with the whole file, as the standard wants it; several ranges at once as well,
/// which no player needs.
#[must_use]
pub fn asked(range: Option<&str>, if_range: Option<&str>, etag: &str, size: u64) -> Asked {
    // A weak tag or a date never proves that the bytes are the same.
    let is_same = if_range.is_none_or(|known| known.trim() == etag);
    range.filter(|_| is_same).and_then(|range| read(range, size)).unwrap_or(Asked::Whole)
}

fn read(header: &str, size: u64) -> Option<Asked> {
    let (unit, ranges) = header.split_once('=')?;
    let (first, last) = ranges.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return None;
    }
    let part = match (first.trim(), last.trim()) {
        ("", length) => size.saturating_sub(number(length)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some(if part.start < part.end { Asked::Part(part) } else { Asked::Nothing })
}

/// Digits alone; more than fit count as the largest number.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAG: &str = "\"abc\"";

    #[track_caller]
    fn check(range: &str, expected: &Asked) {
        assert_eq!(&asked(Some(range), None, TAG, 1000), expected, "{range:?}");
    }

    #[test]
    fn each_form_of_a_range_means_what_the_standard_says() {
        check("bytes=0-499", &Asked::Part(0..500));
        check("bytes=500-999", &Asked::Part(500..1000));
        check("bytes=-500", &Asked::Part(500..1000));
        check("bytes=9500-", &Asked::Nothing);
        check("bytes=500-", &Asked::Part(500..1000));
        check("bytes=0-0", &Asked::Part(0..1));
        check("bytes=-1", &Asked::Part(999..1000));
        check("bytes=-5000", &Asked::Part(0..1000));
        check("bytes=990-5000", &Asked::Part(990..1000));
        check("Bytes=0-99999999999999999999", &Asked::Part(0..1000));
        check("bytes=1000-", &Asked::Nothing);
        check("bytes=-0", &Asked::Nothing);
    }

    #[test]
    fn what_is_not_understood_is_answered_with_the_whole_file() {
        for range in ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-1", "lines=0-1", "bytes=0-1,5-6", "0-1"] {
            check(range, &Asked::Whole);
        }
        assert_eq!(asked(None, None, TAG, 1000), Asked::Whole);
    }

    #[test]
    fn a_range_of_another_file_is_answered_with_the_whole_of_this_one() {
        let ask = |if_range| asked(Some("bytes=1-2"), Some(if_range), TAG, 1000);
        assert_eq!(ask(TAG), Asked::Part(1..3));
        for other in ["\"other\"", "W/\"abc\"", "Sun, 22 Nov 2026 13:05:00 GMT"] {
            assert_eq!(ask(other), Asked::Whole, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_part_always_lies_within_the_file(header in "(bytes=)?[0-9]{0,20}-?[0-9]{0,20}", size in 0u64..1 << 40) {
            if let Asked::Part(part) = asked(Some(&header), None, TAG, size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }
    }
}
