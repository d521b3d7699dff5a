//! The path from a camera to zone events, with real video, real RTSP and the real model.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod file;
mod video;

use std::path::{Path, PathBuf};

/// A file that `make setup` has fetched into the repository's cache.
fn cache(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache").join(name);
    let path = std::path::absolute(path).unwrap();
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}
