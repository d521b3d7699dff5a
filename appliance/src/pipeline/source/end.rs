//! Why a source ended.

use std::fs::Metadata;
use std::path::Path;

use aivms_appliance_core::supervise::Failure;
use gstreamer as gst;

/// How a source ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEnd {
    /// It said that there is no more to come.
    EndOfStream,
    /// It can't go on.
    Failed(Failure),
}

impl From<Failure> for SourceEnd {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Understands an error message of a GStreamer element.
pub(super) fn understand(message: &gst::message::Error) -> Failure {
    let error = message.error();
    if let Some(gst::StreamError::WrongType | gst::StreamError::TypeNotFound | gst::StreamError::CodecNotFound) =
        error.kind()
    {
        return Failure::NotVideo;
    }
    Failure::from_gstreamer(error.message(), &message.debug().unwrap_or_default())
}

/// A failure of this program's own parts, which no camera can have caused.
pub(super) fn broken(what: &str) -> Failure {
    Failure::Other(format!("the source's pipeline can't be {what}"))
}

/// A format that nothing here reads.
pub(super) fn unsupported(format: &str) -> Failure {
    Failure::Other(format!("its video format {format} is not supported; set it to H.264 or H.265"))
}

/// A part of GStreamer that is not installed.
pub(super) fn missing_element(factory: &str) -> Failure {
    let install = "install gstreamer1.0-plugins-base, -good and -bad";
    Failure::Other(format!("GStreamer's element {factory} is missing: {install}"))
}

/// Whether the file is there, may be read, and is one: a pipe would hang whoever opens it until someone writes.
pub(super) fn check_file(path: &Path) -> Result<(), Failure> {
    if look(path)?.is_file() { Ok(()) } else { Err(Failure::NotVideo) }
}

/// Whether the device is there and may be read.
pub(super) fn check_device(path: &Path) -> Result<(), Failure> {
    look(path).map(drop)
}

fn look(path: &Path) -> Result<Metadata, Failure> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Failure::Missing),
        Err(error) => Err(Failure::Other(format!("{}: {error}", path.display()))),
    }
}
