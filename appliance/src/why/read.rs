//! Reads decisions back, also while the appliance writes.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use aivms_contract::id::{CameraId, TrackId, ZoneId};
use aivms_contract::time::UtcMillis;
use aivms_contract::why::Decision;

use super::store::{folder, list};

/// Which decisions are asked for; what is absent is not asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Of this camera.
    pub camera: Option<CameraId>,
    /// Of this zone or line. A decision before any zone (a mask, a filter of the whole camera) is about each of them.
    pub zone: Option<ZoneId>,
    /// Of this track.
    pub track: Option<TrackId>,
    /// Not before this time.
    pub from: UtcMillis,
    /// Not after this time.
    pub to: UtcMillis,
}

/// What is on the disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The decisions asked for, by time.
    pub decisions: Vec<Decision>,
    /// Beginning of the hour of the oldest file; absent when there is none.
    pub kept_since: Option<UtcMillis>,
    /// Lines that are no decisions: torn by a crash, or of another version.
    pub unreadable: u64,
}

impl Question {
    fn asks_for(&self, decision: &Decision) -> bool {
        (self.from..=self.to).contains(&decision.at)
            && self.camera.as_ref().is_none_or(|camera| *camera == decision.camera_id)
            && self.track.as_ref().is_none_or(|track| *track == decision.track_id)
            && match (&self.zone, &decision.zone_id) {
                (Some(asked), Some(zone)) => asked == zone,
                _ => true,
            }
    }
}

/// Reads what the appliance with this data folder has kept.
///
/// # Errors
/// What the system said.
pub fn read(data_dir: &Path, question: &Question) -> io::Result<Found> {
    let dir = folder(data_dir);
    let files = list(&dir)?;
    let kept_since = files.first().map(|(name, _)| name.hour());
    let mut found = Found { decisions: vec![], kept_since, unreadable: 0 };
    for (name, _) in files {
        match File::open(dir.join(name.to_string())) {
            // Deleted meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => take_lines(file?, question, &mut found)?,
        }
    }
    found.decisions.sort_by_key(|decision| decision.at);
    Ok(found)
}

fn take_lines(file: File, question: &Question, found: &mut Found) -> io::Result<()> {
    let mut lines = BufReader::new(file);
    let mut line = vec![];
    while lines.read_until(b'\n', &mut line)? > 0 {
        // A line without an end is being written, or was torn.
        let is_whole = line.ends_with(b"\n");
        match serde_json::from_slice::<Decision>(&line) {
            Ok(decision) if is_whole => {
                if question.asks_for(&decision) {
                    found.decisions.push(decision);
                }
            }
            _ => found.unreadable += 1,
        }
        line.clear();
    }
    Ok(())
}
