//! Rows of the benchmark table, printed by each measuring program as one JSON line.

use std::io::Write;

use serde::{Deserialize, Serialize};

/// One measured figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Dotted name, such as `ingest.rate`.
    pub bench: String,
    /// The figure: a median unless the name says otherwise.
    pub value: f64,
    /// Its unit.
    pub unit: String,
}

impl Row {
    /// A figure with its name and unit.
    #[must_use]
    pub fn new(bench: &str, value: f64, unit: &str) -> Self {
        Self { bench: bench.to_owned(), value, unit: unit.to_owned() }
    }

    /// Prints the row as a JSON line on standard output.
    pub fn print(&self) {
        let line = serde_json::to_string(self).expect("plain values always serialise");
        // A reader that went away ends the benchmark by itself.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
