//! The table of trackers on public sequences, from the rows that `tests/bench/mot_peers.py` prints.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Result, Write};

use crate::report::Row;

/// What the names of these rows begin with.
pub const PREFIX: &str = "mot.";

/// Trackers in the order of the table: the name in the rows and what to call it.
const TRACKERS: [(&str, &str); 6] = [
    ("ours", "AIVMS"),
    ("norfair", "norfair, Frigate's distance"),
    ("norfair-iou", "norfair, IoU"),
    ("bytetrack", "ByteTrack"),
    ("sort", "SORT"),
    ("oc-sort", "OC-SORT"),
];

/// Prints each sequence at each rate, and both together; nothing when they were not measured.
///
/// # Errors
/// Fails if `out` does.
pub fn print(rows: &BTreeMap<String, Row>, out: &mut impl Write) -> Result<()> {
    let places: BTreeSet<(&str, &str)> = rows.keys().filter_map(|name| place(name)).collect();
    if places.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n| sequence | every n-th frame | tracker | MOTA | IDF1 | number switches | µs per frame |")?;
    writeln!(out, "| --- | ---: | --- | ---: | ---: | ---: | ---: |")?;
    for (sequence, step) in places {
        for (name, title) in TRACKERS {
            let figure = |figure: &str| rows.get(&format!("{PREFIX}{sequence}.{step}.{name}.{figure}"));
            if let [Some(mota), Some(idf1), Some(switches), Some(time)] =
                ["mota", "idf1", "switches", "time"].map(figure)
            {
                let (mota, idf1, switches, time) = (mota.value, idf1.value, switches.value, time.value);
                writeln!(out, "| {sequence} | {step} | {title} | {mota:.3} | {idf1:.3} | {switches} | {time:.1} |")?;
            }
        }
    }
    Ok(())
}

/// The sequence and the step in the name of a row, `mot.SEQUENCE.STEP.TRACKER.FIGURE`.
fn place(name: &str) -> Option<(&str, &str)> {
    match name.strip_prefix(PREFIX)?.split('.').collect::<Vec<_>>()[..] {
        [sequence, step, _, _] => Some((sequence, step)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(rows: &[(&str, f64)]) -> String {
        let rows = rows.iter().map(|&(name, value)| (name.to_owned(), Row::new(name, value, ""))).collect();
        let mut out = Vec::new();
        print(&rows, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_tracker_stands_in_the_table_with_its_figures_and_one_that_did_not_run_is_left_out() {
        let rows = [("mota", 0.5578), ("idf1", 0.6337), ("switches", 8.0), ("time", 1.5)];
        let names = rows.map(|(figure, value)| (format!("mot.overall.1.ours.{figure}"), value));
        let mut rows: Vec<(&str, f64)> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        rows.extend([("mot.lead.mota", 0.1), ("mot.overall.1.sort.mota", 0.5), ("zone.update", 1.0)]);
        let lines: Vec<String> = printed(&rows).lines().skip(3).map(str::to_owned).collect();
        assert_eq!(lines, ["| overall | 1 | AIVMS | 0.558 | 0.634 | 8 | 1.5 |"]);
        assert_eq!(printed(&[("zone.update", 1.0)]), "");
    }
}
