//! The stand-ins by themselves: what they take, what they refuse, what they give.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod bench;
mod chain;
mod elements;
mod mux;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for something that comes at once on an idle machine.
const SOON: Duration = Duration::from_secs(30);

fn init() {
    gstreamer::init().unwrap();
    aivms_standin::plugin_register_static().unwrap();
}

/// A file that `make setup` has fetched into the repository's cache.
fn cache(name: &str) -> PathBuf {
    let path = std::path::absolute(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache").join(name)).unwrap();
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}
