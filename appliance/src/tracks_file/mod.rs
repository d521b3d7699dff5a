//! Files of what cameras saw: a line of JSON for each record. `docs/ref/replay.md` describes them.
//!
//! The appliance writes them while it runs when `detection.record_tracks` is set ([`TracksRecorder`]), and
//! `aivms-appliance replay` reads them ([`replay`]).

mod files;
mod line;
mod read;
mod write;

pub use line::{LineError, parse, print};
pub use read::{ReadError, Rules, replay};
pub use write::{CameraTap, RecorderSettings, RunInfo, TracksRecorder, write_tracks};

#[cfg(test)]
mod tests;
