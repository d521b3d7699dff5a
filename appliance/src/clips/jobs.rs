//! The list of clips to be cut, on the disk.

use std::io;
use std::path::{Path, PathBuf};

use aivms_appliance_core::clip::ClipJob;
use aivms_contract::clip::Clip;
use serde::{Deserialize, Serialize};

use crate::state::durable::{self, Checked};

/// Where the list lies.
#[derive(Debug, Clone)]
pub(super) struct JobsFile(PathBuf);

/// What a restart has to find again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Jobs {
    /// Clips to be cut.
    pub(super) waiting: Vec<ClipJob>,
    /// The one whose file was made and may be in the queue to the cloud already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made: Option<Clip>,
    /// The latest that were asked for and are done, should they be asked for again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) done: Vec<Clip>,
}

impl JobsFile {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("clips.json"))
    }

    /// What was left; nothing when the file is damaged, which is logged.
    pub(super) fn read(&self) -> Jobs {
        match durable::read_checked(&self.0) {
            Ok(Checked::Sound(jobs)) => jobs,
            Ok(Checked::Absent) => Jobs::default(),
            Ok(Checked::Damaged) => {
                tracing::error!("{}: is damaged; the clips that were to be cut are not", self.0.display());
                Jobs::default()
            }
            Err(error) => {
                tracing::error!(%error, "{}: can't be read; the clips that were to be cut are not", self.0.display());
                Jobs::default()
            }
        }
    }

    pub(super) fn write(&self, jobs: &Jobs) -> io::Result<()> {
        durable::write_checked(&self.0, jobs)
    }
}
