//! Whether DeepStream is there.

use std::path::Path;
use std::sync::Arc;

use aivms_deepstream::Library;
use gstreamer as gst;

use super::error::DeepStreamError;
use super::{elements, settings};

/// Whether all elements and the tracker's library are there.
///
/// # Errors
/// Names what is missing.
pub(super) fn installed(dir: &Path) -> Result<(), DeepStreamError> {
    gst::init().map_err(|error| DeepStreamError::Gstreamer(error.to_string()))?;
    let missing = elements::missing();
    if !missing.is_empty() {
        return Err(DeepStreamError::Elements(missing));
    }
    let tracker = settings::tracker(dir);
    if tracker.exists() { Ok(()) } else { Err(DeepStreamError::Tracker(tracker)) }
}

/// Opens the metadata libraries of the DeepStream in `dir`, whose layout must be one this program knows.
///
/// # Errors
/// An element or a library is missing, or the layout is another.
pub fn open(dir: &Path) -> Result<Arc<Library>, DeepStreamError> {
    installed(dir)?;
    Ok(Library::open(Some(&settings::libraries(dir)))?)
}
