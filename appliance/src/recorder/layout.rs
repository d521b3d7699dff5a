//! Where footage lies: `<folder>/<camera>/<day in UTC>/<start in milliseconds>.mp4`.

use std::path::{Path, PathBuf};

use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

use super::segment::{DiskTier, SegmentKey};
use crate::state::durable::PARTIAL;

const SUFFIX: &str = "mp4";
/// Ending added to the name of a file in which no footage could be read; it is no segment any more.
pub(super) const DAMAGED: &str = "damaged";

/// The folders of the disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Where footage is recorded to.
    pub fast: PathBuf,
    /// Where older footage is moved to, where there is a second disk.
    pub slow: Option<PathBuf>,
}

impl Folders {
    /// The folder of a disk.
    #[must_use]
    pub fn of(&self, tier: DiskTier) -> Option<&Path> {
        match tier {
            DiskTier::Fast => Some(&self.fast),
            DiskTier::Slow => self.slow.as_deref(),
        }
    }

    /// The disks there are.
    pub fn tiers(&self) -> impl Iterator<Item = (DiskTier, &Path)> {
        [DiskTier::Fast, DiskTier::Slow].into_iter().filter_map(|tier| Some((tier, self.of(tier)?)))
    }

    /// The file of a segment on a disk. Without that disk it is a path where nothing is.
    #[must_use]
    pub fn file(&self, key: &SegmentKey, tier: DiskTier) -> PathBuf {
        let day = key.start.to_string();
        let day = day.split('T').next().unwrap_or_default().to_owned();
        let name = format!("{}.{SUFFIX}", key.start.as_millis());
        self.of(tier).unwrap_or(Path::new("")).join(key.camera.as_str()).join(day).join(name)
    }
}

/// The cameras that have a folder in `dir`.
pub(super) fn cameras_in(dir: &Path) -> Vec<CameraId> {
    let names = entries(dir).into_iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    names.collect()
}

/// The beginnings of the segments that a camera has in `dir`, in order.
pub(super) fn segments_in(dir: &Path, camera: &CameraId) -> Vec<UtcMillis> {
    let days = entries(&dir.join(camera.as_str()));
    let mut starts: Vec<_> = days.iter().flat_map(|day| entries(day)).filter_map(|path| start_of(&path)).collect();
    starts.sort_unstable();
    starts
}

/// Copies in `dir` that were not completed.
pub(super) fn partial_in(dir: &Path) -> Vec<PathBuf> {
    let days = entries(dir).into_iter().flat_map(|camera| entries(&camera));
    let files = days.flat_map(|day| entries(&day));
    files.filter(|path| path.extension().is_some_and(|ending| ending == PARTIAL)).collect()
}

fn start_of(path: &Path) -> Option<UtcMillis> {
    let named = path.extension()? == SUFFIX;
    let millis = path.file_stem()?.to_str()?.parse().ok()?;
    named.then(|| UtcMillis::from_millis(millis))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_again_under_the_name_of_its_segment() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders { fast: dir.path().to_owned(), slow: None };
        let camera: CameraId = "gate".parse().unwrap();
        let starts = [1_795_352_700_250, 1_795_500_000_000].map(UtcMillis::from_millis);
        for start in starts {
            let path = folders.file(&SegmentKey { camera: camera.clone(), start }, DiskTier::Fast);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let first = dir.path().join("gate/2026-11-22/1795352700250.mp4");
        assert!(first.is_file());
        std::fs::write(first.with_added_extension(DAMAGED), b"").unwrap();
        assert_eq!(segments_in(dir.path(), &camera), starts);
        assert_eq!(cameras_in(dir.path()), [camera]);
    }
}
