//! Engines of TensorRT, each with a record of what it was built from and for.
//!
//! An engine is a program, and one for another version, device or precision fails or errs. So an engine counts only
//! with the record that `model build` wrote beside it, of the same key and of the same bytes.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::DeepStreamError;
use super::machine::Machine;
use super::settings::Precision;
use super::weights::write;

/// Digits of a key's digest in names of files: 64 bits.
const NAME_DIGITS: usize = 16;

/// What an engine is built from and for; one that differs in anything is another engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EngineKey {
    /// SHA-256 of the ONNX file.
    pub(super) model: String,
    /// Pixels per line and lines of the input.
    pub(super) input: (u32, u32),
    /// Most frames at once.
    pub(super) batch: u32,
    pub(super) precision: Precision,
    /// SHA-256 of the calibration table, for int8.
    pub(super) calibration: Option<String>,
    /// Version of TensorRT.
    pub(super) tensorrt: String,
    /// Name of the device.
    pub(super) device: String,
}

/// What is known of a built engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    key: EngineKey,
    /// SHA-256 of the engine file.
    engine: String,
    /// Seconds that the build took.
    build_s: u64,
}

/// A folder of engines.
#[derive(Debug, Clone)]
pub(super) struct EngineCache(PathBuf);

/// One engine of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEngine {
    /// The file.
    pub path: PathBuf,
    /// What it was built for, in words.
    pub what: String,
    /// Its size; absent when the file is gone.
    pub bytes: Option<u64>,
}

impl EngineKey {
    pub(super) fn new(model: String, input: (u32, u32), batch: u32, precision: Precision, machine: Machine) -> Self {
        let Machine { tensorrt, device } = machine;
        Self { model, input, batch, precision, calibration: None, tensorrt, device }
    }

    /// In words, without the model.
    pub(super) fn what(&self) -> String {
        let Self { batch, precision, tensorrt, device, .. } = self;
        format!("{}, batch {batch}, TensorRT {tensorrt}, {device}", precision.name())
    }

    pub(super) fn digest(&self) -> String {
        // Strings and numbers always become JSON.
        let text = serde_json::to_string(self).unwrap_or_default();
        hex::encode(Sha256::digest(text))[..NAME_DIGITS].to_owned()
    }
}

impl EngineCache {
    pub(super) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    /// Where the engine of a key is or would be.
    pub(super) fn path(&self, key: &EngineKey) -> PathBuf {
        self.0.join(format!("{}.engine", key.digest()))
    }

    /// The engine of a key, checked; `None` when it has not been built.
    pub(super) fn find(&self, key: &EngineKey) -> Result<Option<PathBuf>, DeepStreamError> {
        let path = self.path(key);
        let bad = |problem| DeepStreamError::BadEngine { path: path.clone(), problem };
        let Ok(about) = std::fs::symlink_metadata(&path) else { return Ok(None) };
        let record = read_record(&path).ok_or_else(|| bad("has no record of being built here"))?;
        if record.key != *key {
            return Err(bad("was built for something else"));
        }
        // Only the owner may have written it: an engine is a program that is run.
        if !about.is_file() || about.mode() & 0o022 != 0 {
            return Err(bad("is a link or may be changed by others"));
        }
        let content = digest_of(&path)?;
        if content == record.engine { Ok(Some(path)) } else { Err(bad("was changed after it was built")) }
    }

    /// Takes a finished engine in. A power cut in between leaves an engine without a record, which does not count.
    pub(super) fn accept(&self, key: &EngineKey, built: &Path, build_s: u64) -> Result<PathBuf, DeepStreamError> {
        let path = self.path(key);
        let record = Record { key: key.clone(), engine: digest_of(built)?, build_s };
        let text = serde_json::to_vec_pretty(&record).unwrap_or_default();
        let moved = std::fs::File::open(built).and_then(|file| file.sync_all());
        let moved = moved.and_then(|()| only_ours(built)).and_then(|()| std::fs::rename(built, &path));
        moved.map_err(|source| DeepStreamError::io(built, source))?;
        write(&record_path(&path), &text)?;
        Ok(path)
    }

    /// Every engine with a record, ordered by name.
    pub(super) fn list(&self) -> Vec<KnownEngine> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let records = entries.filter_map(|entry| {
            let path = entry.path().with_extension("engine");
            if entry.path() != record_path(&path) {
                return None;
            }
            let what = read_record(&path)?.key.what();
            Some(KnownEngine { bytes: std::fs::metadata(&path).map(|about| about.len()).ok(), path, what })
        });
        let mut list: Vec<_> = records.collect();
        list.sort_by(|a, b| a.path.cmp(&b.path));
        list
    }
}

fn record_path(engine: &Path) -> PathBuf {
    engine.with_extension("json")
}

fn read_record(engine: &Path) -> Option<Record> {
    serde_json::from_slice(&std::fs::read(record_path(engine)).ok()?).ok()
}

fn only_ours(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

/// SHA-256 of a file, in hexadecimal digits.
pub(super) fn digest_of(path: &Path) -> Result<String, DeepStreamError> {
    let content = std::fs::read(path).map_err(|source| DeepStreamError::io(path, source))?;
    Ok(hex::encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> EngineKey {
        let machine = Machine { tensorrt: "10.3.0".to_owned(), device: "NVIDIA Jetson Orin Nano".to_owned() };
        EngineKey::new("ab".repeat(32), (416, 416), 8, Precision::Fp16, machine)
    }

    fn built(cache: &EngineCache, key: &EngineKey) -> PathBuf {
        let work = cache.0.join("work");
        std::fs::write(&work, "engine").unwrap();
        cache.accept(key, &work, 61).unwrap()
    }

    #[test]
    fn an_engine_is_found_by_everything_it_was_built_for() {
        let dir = tempfile::tempdir().unwrap();
        let cache = EngineCache::new(dir.path());
        assert_eq!(cache.find(&key()).unwrap(), None);
        let path = built(&cache, &key());
        assert_eq!(cache.find(&key()).unwrap(), Some(path.clone()));
        let others: [fn(&mut EngineKey); 7] = [
            |key| key.model = "cd".repeat(32),
            |key| key.input = (640, 416),
            |key| key.batch = 4,
            |key| key.precision = Precision::Fp32,
            |key| key.calibration = Some("ef".repeat(32)),
            |key| key.tensorrt = "10.16.2".to_owned(),
            |key| key.device = "NVIDIA Jetson AGX Orin".to_owned(),
        ];
        for change in others {
            let mut other = key();
            change(&mut other);
            assert_eq!(cache.find(&other).unwrap(), None, "{other:?}");
        }
        let [known] = &cache.list()[..] else { panic!("one engine") };
        assert_eq!((&known.path, known.bytes), (&path, Some(6)));
        assert_eq!(known.what, "fp16, batch 8, TensorRT 10.3.0, NVIDIA Jetson Orin Nano");
    }

    #[test]
    fn only_an_engine_that_was_built_here_and_not_changed_is_taken() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let cache = EngineCache::new(dir.path());
        let refused = |says: &str| {
            let text = cache.find(&key()).unwrap_err().to_string();
            assert!(text.contains(says) && text.contains("aivms-appliance model build"), "{text}");
        };
        let path = built(&cache, &key());
        std::fs::write(&path, "a virus").unwrap();
        refused("was changed");
        let path = built(&cache, &key());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        refused("may be changed by others");
        let path = built(&cache, &key());
        std::fs::remove_file(record_path(&path)).unwrap();
        refused("no record");
        let mut other = key();
        other.batch = 2;
        std::fs::rename(record_path(&built(&cache, &other)), record_path(&path)).unwrap();
        refused("something else");
        let path = built(&cache, &key());
        std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        refused("is a link");
    }
}
