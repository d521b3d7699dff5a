//! Which implementation of NVIDIA's metadata functions the muxer makes batches with.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aivms_deepstream::{Abi, Library};

use crate::elements::lock;

/// Names the implementation when [`use_metadata`] was not called: `own71`, `own90`, or a folder; absent for `own90`.
pub const CHOICE: &str = "AIVMS_STANDIN_META";

/// Where batch metadata comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    /// This project's own functions, with one version's layout.
    Own(Abi),
    /// NVIDIA's libraries in a folder, `libnvds_meta.so` and `libnvdsgst_meta.so`.
    Folder(PathBuf),
}

static CHOSEN: Mutex<Option<Arc<Library>>> = Mutex::new(None);

/// Chooses for all muxers of this process from their next batch on.
///
/// # Errors
/// The folder has no such libraries, or libraries of a version that is not known; as text.
pub fn use_metadata(choice: &Metadata) -> Result<(), String> {
    let library = open(choice)?;
    *lock(&CHOSEN) = Some(library);
    Ok(())
}

pub(crate) fn library() -> Result<Arc<Library>, String> {
    let mut chosen = lock(&CHOSEN);
    if let Some(library) = &*chosen {
        return Ok(Arc::clone(library));
    }
    let opened = open(&from_environment()?)?;
    Ok(Arc::clone(chosen.insert(opened)))
}

fn open(choice: &Metadata) -> Result<Arc<Library>, String> {
    match choice {
        Metadata::Own(abi) => Ok(Library::own(*abi)),
        Metadata::Folder(folder) => Library::open(Some(folder)).map_err(|error| error.to_string()),
    }
}

fn from_environment() -> Result<Metadata, String> {
    let Some(choice) = std::env::var_os(CHOICE) else { return Ok(Metadata::Own(Abi::V90)) };
    match choice.to_str() {
        Some("own71") => Ok(Metadata::Own(Abi::V71)),
        Some("own90") => Ok(Metadata::Own(Abi::V90)),
        _ if PathBuf::from(&choice).is_dir() => Ok(Metadata::Folder(choice.into())),
        _ => Err(format!("{CHOICE}: must be own71, own90 or a folder, is {choice:?}")),
    }
}
