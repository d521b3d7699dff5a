//! The files of a recorder: a new one each hour, the oldest deleted for new ones.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aivms_appliance_core::replay::{NewClock, Record};
use aivms_appliance_core::tracks::Session;
use aivms_contract::desired::MAX_CAMERAS;
use aivms_contract::id::CameraId;
use aivms_contract::time::{MediaClock, UtcMillis};

use super::line::print;
use super::write::{Note, RecorderSettings, RunInfo, What};

/// The extension of the files.
const EXTENSION: &str = "jsonl";
const HOUR_MS: i64 = 3_600_000;
/// The share of all bytes that one file may hold, so that the files being written stay far below the whole.
const FILE_SHARE: u64 = 4 * MAX_CAMERAS as u64;
/// Time after which a camera's recording is tried again when the disk refused it, and between two complaints.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// All files of a recorder.
pub(super) struct Files {
    settings: RecorderSettings,
    cameras: BTreeMap<CameraId, CameraFile>,
    /// Bytes of all files.
    total: u64,
    complained: Option<Instant>,
}

/// The recording of one camera.
struct CameraFile {
    session: Session,
    next_part: u32,
    /// Frames not recorded since the last that was.
    lost: u64,
    open: Option<Open>,
    retry: Option<Instant>,
}

struct Open {
    path: PathBuf,
    file: BufWriter<File>,
    hour: i64,
    bytes: u64,
    clock: MediaClock,
}

impl Files {
    /// Counts what is there from earlier runs.
    pub(super) fn open(settings: RecorderSettings) -> Self {
        let total = recordings(&settings.dir).iter().map(|(_, bytes)| bytes).sum();
        Self { settings, cameras: BTreeMap::new(), total, complained: None }
    }

    /// Writes notes, and what they make of it into the system's hands.
    pub(super) fn write(&mut self, notes: Vec<Note>) {
        for note in notes {
            let camera = note.info.camera.id.clone();
            if let Err(error) = self.take(note) {
                self.give_up(&camera, &error);
            }
        }
        let failed: Vec<_> =
            self.cameras.iter_mut().filter_map(|(id, camera)| Some((id.clone(), camera.flush().err()?))).collect();
        failed.into_iter().for_each(|(camera, error)| self.give_up(&camera, &error));
        self.shed();
    }

    fn take(&mut self, Note { info, lost, what }: Note) -> io::Result<()> {
        let fresh = || CameraFile { session: info.session.clone(), next_part: 0, lost: 0, open: None, retry: None };
        let camera = self.cameras.entry(info.camera.id.clone()).or_insert_with(fresh);
        if camera.session != info.session {
            *camera = fresh();
        }
        camera.lost += lost;
        let written = match what {
            What::Frame(frame, clock) => {
                if camera.retry.is_some_and(|retry| Instant::now() < retry) {
                    camera.lost += 1;
                    return Ok(());
                }
                let most = self.settings.max_bytes / FILE_SHARE;
                let before = camera.turn(&self.settings.dir, &info, clock, clock.utc(frame.pts), most)?;
                before + camera.line(&Record::Frame(frame))?
            }
            What::Rules(rules) => camera.line(&Record::Rules(rules))?,
            What::End => camera.line(&Record::End)?,
        };
        self.total += written;
        Ok(())
    }

    /// Leaves a camera's file as it is after a failed write.
    fn give_up(&mut self, camera: &CameraId, error: &io::Error) {
        if let Some(camera) = self.cameras.get_mut(camera) {
            camera.lost += 1;
            // What is lost until the next file may be an end or new rules, so that file must not be taken to go on here.
            camera.next_part = camera.next_part.saturating_add(1);
            (camera.open, camera.retry) = (None, Some(Instant::now() + RETRY_AFTER));
        }
        if self.complained.is_none_or(|last| last.elapsed() > RETRY_AFTER) {
            self.complained = Some(Instant::now());
            tracing::error!(camera.id = %camera, %error, "what the camera sees can't be recorded; it is tried again");
        }
    }

    /// Deletes the oldest files that are not being written until the rest is within the bound.
    fn shed(&mut self) {
        if self.total <= self.settings.max_bytes {
            return;
        }
        let files = recordings(&self.settings.dir);
        self.total = files.iter().map(|(_, bytes)| bytes).sum();
        let open: Vec<_> = self.cameras.values().filter_map(|camera| Some(&camera.open.as_ref()?.path)).collect();
        for (path, bytes) in files.iter().filter(|(path, _)| !open.contains(&path)) {
            if self.total <= self.settings.max_bytes {
                return;
            }
            match fs::remove_file(path) {
                Ok(()) => self.total -= bytes,
                Err(error) => tracing::warn!(file = %path.display(), %error, "an old recording can't be deleted"),
            }
        }
    }
}

impl CameraFile {
    /// Sees to it that the file of the hour is open and knows the clock; gives the bytes written for that.
    fn turn(&mut self, dir: &Path, info: &RunInfo, clock: MediaClock, at: UtcMillis, most: u64) -> io::Result<u64> {
        let hour = at.as_millis().div_euclid(HOUR_MS);
        let mut bytes = 0;
        if self.open.as_ref().is_none_or(|open| open.hour != hour || open.bytes > most) {
            self.flush()?;
            let path = dir.join(info.camera.id.as_str()).join(self.name(at));
            fs::create_dir_all(path.parent().unwrap_or(dir))?;
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            self.open = Some(Open { path, file: BufWriter::new(file), hour, bytes: 0, clock });
            bytes += self.line(&Record::Header(Box::new(info.header(self.next_part, clock))))?;
            (self.next_part, self.retry) = (self.next_part + 1, None);
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.clock != clock) {
            open.clock = clock;
            bytes += self.line(&Record::Clock(NewClock { clock_zero: clock.zero_at }))?;
        }
        if self.lost > 0 {
            bytes += self.line(&Record::Lost(self.lost))?;
            self.lost = 0;
        }
        Ok(bytes)
    }

    /// Writes a record, when a file is open; gives its bytes.
    fn line(&mut self, record: &Record) -> io::Result<u64> {
        let Some(open) = &mut self.open else { return Ok(0) };
        let mut text = print(record)?;
        text.push('\n');
        open.file.write_all(text.as_bytes())?;
        open.bytes += text.len() as u64;
        Ok(text.len() as u64)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |open| open.file.flush())
    }

    /// Names in order of time, such as `20261122T140311Z-k3v9ab12-000.jsonl`.
    fn name(&self, at: UtcMillis) -> String {
        let at = at.to_string();
        let digits: String = at.chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
        format!("{digits}Z-{}-{:03}.{EXTENSION}", self.session, self.next_part)
    }
}

/// All recordings with their sizes, oldest first by their names.
fn recordings(dir: &Path) -> Vec<(PathBuf, u64)> {
    let list = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    let files = list(dir).flat_map(|camera| list(&camera.path()));
    let files = files.filter(|file| file.path().extension().is_some_and(|extension| extension == EXTENSION));
    let mut files: Vec<_> = files.filter_map(|file| Some((file.path(), file.metadata().ok()?.len()))).collect();
    files.sort_by(|(a, _), (b, _)| a.file_name().cmp(&b.file_name()).then(a.cmp(b)));
    files
}
