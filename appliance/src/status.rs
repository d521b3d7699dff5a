//! Prints what the running appliance last said of itself.
//!
//! The running appliance replaces `run/status.json` in its data folder every few seconds; `status` and `doctor` read
//! it. The appliance itself listens on nothing.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aivms_contract::desired::TimeZoneName;
use aivms_contract::health::{CameraHealth, CameraState, Health, UploadsHealth};
use aivms_contract::id::EdgeId;
use aivms_contract::temperature::{Temperature, Temperatures};
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

use crate::identity::in_words;
use crate::retention::board::FootageStatus;
use crate::retention::words::lines;
use crate::uplink::{LinkHealth, LinkState};

/// Time between two writings of the file.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(3);
/// A file older than this was left by an appliance that no longer runs.
const STALE_AFTER: Duration = Duration::from_secs(20);

/// Bytes in which file systems give room.
const BLOCK: usize = 4096;
/// Free space below which nothing more may fit soon.
const NEARLY_FULL_BYTES: u64 = 16 * 1024 * 1024;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusFile {
    /// When it was written.
    pub at: UtcMillis,
    /// Process that wrote it.
    pub pid: u32,
    /// The edge.
    pub edge_id: EdgeId,
    /// The connection to the cloud.
    pub link: LinkHealth,
    /// Version of the desired document that runs; 0 for the local files.
    pub applied_version: u64,
    /// The time zone in which schedules are meant; absent in files of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
    /// End of the certificate's life; absent when not enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_until: Option<UtcMillis>,
    /// What is wrong with this device's clock, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_problem: Option<String>,
    /// Gaps, forecasts and problems of footage; absent in files of older versions.
    #[serde(default)]
    pub footage: FootageStatus,
    /// Cameras, disk and outbox.
    pub health: Health,
}

impl StatusFile {
    /// Replaces the file in `data_dir`. It is not forced to the disk: after a power cut it would be stale anyway.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let path = path(data_dir);
        std::fs::create_dir_all(path.parent().expect("the path has a folder"))?;
        let fresh = path.with_extension("json.new");
        let mut text = serde_json::to_vec_pretty(self)?;
        // Whole blocks, so that a later text fits the room of an earlier one.
        text.resize(text.len().next_multiple_of(BLOCK), b' ');
        match std::fs::write(&fresh, &text).and_then(|()| std::fs::rename(&fresh, &path)) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                // What was written of it is no use; it may even be the room that is missing.
                let _ = std::fs::remove_file(&fresh);
                overwrite(&path, &text)
            }
            other => other,
        }
    }

    /// Reads the file in `data_dir`; `None` when no appliance runs there.
    ///
    /// # Errors
    /// It can't be read or is damaged.
    pub fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(path(data_dir)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the file, as the appliance ends in order.
    pub fn remove(data_dir: &Path) {
        // A file that stays is recognised by its age.
        let _ = std::fs::remove_file(path(data_dir));
    }

    /// Whether the appliance that wrote it is running at `now`.
    #[must_use]
    pub fn is_fresh(&self, now: UtcMillis) -> bool {
        // A clock that was set back in between makes the file look as if from the future.
        now.since(self.at) <= STALE_AFTER && self.at.since(now) <= STALE_AFTER
    }

    /// The text for a person, as of `now`.
    #[must_use]
    pub fn render(&self, now: UtcMillis) -> String {
        let mut text = String::new();
        let health = &self.health;
        if !self.is_fresh(now) {
            line(&mut text, "", format_args!("NOT RUNNING: the appliance last wrote this at {}", self.at));
        }
        line(&mut text, "edge", format_args!("{} (version {})", self.edge_id, health.version));
        let uptime = in_words(Duration::from_secs(health.uptime_s));
        line(&mut text, "running", format_args!("{uptime}, process {}", self.pid));
        line(&mut text, "cloud", format_args!("{}", self.link_words(now)));
        if let Some(until) = self.certificate_until {
            line(&mut text, "certificate", format_args!("until {until} (in {})", in_words(until.since(now))));
        }
        if let Some(problem) = &self.clock_problem {
            line(&mut text, "clock", format_args!("{problem}"));
        }
        let outbox = &health.outbox;
        let shed =
            if outbox.shed > 0 { format!(", {} dropped because it was full", outbox.shed) } else { String::new() };
        line(&mut text, "outbox", format_args!("{} waiting, {}{shed}", outbox.entries, in_bytes(outbox.bytes)));
        if let Some(uploads) = &health.uploads {
            line(&mut text, "uploads", format_args!("{}", uploads_words(uploads)));
        }
        let (free, total) = (in_bytes(health.disk_free_bytes), in_bytes(health.disk_total_bytes));
        let full = if health.disk_free_bytes < NEARLY_FULL_BYTES { ": FULL, free some room" } else { "" };
        line(&mut text, "disk", format_args!("{free} free of {total}{full}"));
        let source = match self.applied_version {
            0 => "local files".to_owned(),
            version => format!("version {version} from the cloud"),
        };
        line(&mut text, "configuration", format_args!("{source}"));
        if !health.temperatures.is_empty() {
            line(&mut text, "temperatures", format_args!("{}", temperature_words(&health.temperatures)));
        }
        if let Some(zone) = &self.time_zone {
            line(&mut text, "schedules", format_args!("on the clock of {}", zone.as_str()));
        }
        for camera in &health.cameras {
            line(&mut text, "camera", format_args!("{}", camera_words(camera, now)));
        }
        for (label, words) in lines(&health.cameras, &health.footage_disks, &self.footage, now) {
            line(&mut text, label, format_args!("{words}"));
        }
        text
    }

    fn link_words(&self, now: UtcMillis) -> String {
        let state = match self.link.state {
            LinkState::Alone => "none configured; events are kept",
            LinkState::NotEnrolled => "not enrolled (EDGE_ID, EDGE_SECRET); events are kept",
            LinkState::Connecting => "connecting",
            LinkState::Connected => "connected",
            LinkState::Retrying => "not connected; events are kept",
            LinkState::Backup => "MQTT not connected; events go over HTTPS",
        };
        let cause = self.link.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{state} for {}{cause}", in_words(now.since(self.link.since)))
    }
}

/// Writes into the room that the file has already: on a full disk, when people look at it, there is no other.
fn overwrite(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::io::Write as _;

    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(text)?;
    file.set_len(text.len() as u64)
}

/// Where the file is.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("run").join("status.json")
}

/// Prints a number of bytes in its largest fitting binary unit.
#[must_use]
pub fn in_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (bytes.max(1).ilog2() / 10).min(4);
    let whole = bytes >> (10 * unit);
    let tenths = ((bytes - (whole << (10 * unit))) * 10) >> (10 * unit);
    let name = UNITS[unit as usize];
    if unit == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenths} {name}") }
}

fn line(text: &mut String, label: &str, value: std::fmt::Arguments<'_>) {
    let result = if label.is_empty() { writeln!(text, "{value}") } else { writeln!(text, "{label:<14} {value}") };
    result.expect("writing to a String can't fail");
}

fn camera_words(camera: &CameraHealth, now: UtcMillis) -> String {
    let since = in_words(now.since(camera.since));
    let state = match camera.state {
        CameraState::Connecting => "connecting".to_owned(),
        CameraState::Streaming => format!("streaming, {:.1} frames analysed per second", camera.detect_fps),
        CameraState::Retrying => "NOT STREAMING, trying again".to_owned(),
        CameraState::Disabled => "switched off".to_owned(),
    };
    let cause = camera.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{} {state} (for {since}){cause}", camera.camera_id)
}

fn temperature_words(temperatures: &Temperatures) -> String {
    let words = |one: &Temperature| format!("{} {:.1} °C", one.name, one.celsius.get());
    temperatures.as_slice().iter().map(words).collect::<Vec<_>>().join(", ")
}

fn uploads_words(uploads: &UploadsHealth) -> String {
    let eta = uploads.eta_s.map(|eta| format!(", done in {}", in_words(Duration::from_secs(eta)))).unwrap_or_default();
    let cause = uploads.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{} waiting, {}{eta}{cause}", uploads.files, in_bytes(uploads.bytes))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use aivms_contract::health::OutboxHealth;

    fn temperatures() -> Temperatures {
        let one = |name: &str, celsius: f64| Temperature {
            name: name.to_owned().try_into().unwrap(),
            celsius: celsius.try_into().unwrap(),
        };
        vec![one("CPU-therm", 48.531), one("GPU-therm", 45.0)].try_into().unwrap()
    }

    pub(crate) fn example(at: UtcMillis) -> StatusFile {
        let camera = |id: &str, state, cause: Option<&str>| CameraHealth {
            camera_id: id.parse().unwrap(),
            state,
            cause: cause.map(str::to_owned),
            since: at - Duration::from_secs(300),
            detect_fps: 4.96,
            recording: None,
        };
        StatusFile {
            at,
            pid: 7,
            edge_id: "edge_1".parse().unwrap(),
            link: LinkHealth {
                state: LinkState::Backup,
                since: at - Duration::from_secs(90),
                cause: Some("connection refused".to_owned()),
            },
            applied_version: 3,
            time_zone: Some("Europe/Berlin".to_owned().try_into().unwrap()),
            certificate_until: Some(at + Duration::from_secs(30 * 86_400)),
            clock_problem: None,
            footage: FootageStatus::default(),
            health: Health {
                timestamp: at,
                version: "0.1.0".to_owned(),
                uptime_s: 3600,
                disk_total_bytes: 64 << 30,
                disk_free_bytes: 3 << 29,
                cameras: vec![
                    camera("entrance", CameraState::Streaming, None),
                    camera("yard", CameraState::Retrying, Some("401 Unauthorized: check username and password")),
                ],
                footage_disks: Vec::new(),
                chains: Vec::new(),
                outbox: OutboxHealth { entries: 12, bytes: 8_388_608, shed: 0 },
                uploads: Some(UploadsHealth { files: 3, bytes: 5 << 20, eta_s: Some(42), cause: None }),
                temperatures: temperatures(),
                notices: Vec::new(),
            },
        }
    }

    #[test]
    fn the_printed_status_says_what_works_what_does_not_and_why() {
        let at = UtcMillis::from_millis(1_795_352_700_250);
        let text = example(at).render(at + Duration::from_secs(2));
        let expected = "\
edge           edge_1 (version 0.1.0)
running        60 min, process 7
cloud          MQTT not connected; events go over HTTPS for 92 s: connection refused
certificate    until 2026-12-22T13:05:00.250Z (in 29 days)
outbox         12 waiting, 8.0 MiB
uploads        3 waiting, 5.0 MiB, done in 42 s
disk           1.5 GiB free of 64.0 GiB
configuration  version 3 from the cloud
temperatures   CPU-therm 48.5 °C, GPU-therm 45.0 °C
schedules      on the clock of Europe/Berlin
camera         entrance streaming, 5.0 frames analysed per second (for 5 min)
camera         yard NOT STREAMING, trying again (for 5 min): 401 Unauthorized: check username and password
";
        assert_eq!(text, expected);
        let late = example(at).render(at + Duration::from_secs(60));
        assert!(late.starts_with("NOT RUNNING"), "{late}");
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(StatusFile::read(dir.path()).unwrap(), None);
        let status = example(UtcMillis::from_millis(1_795_352_700_250));
        status.write(dir.path()).unwrap();
        status.write(dir.path()).unwrap();
        assert_eq!(StatusFile::read(dir.path()).unwrap(), Some(status));
    }

    #[test]
    fn bytes_are_printed_in_binary_units() {
        let printed: Vec<_> = [0, 1023, 1024, 1536, 1 << 20, u64::MAX].map(in_bytes).to_vec();
        assert_eq!(printed, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "16777215.9 TiB"]);
    }
}
