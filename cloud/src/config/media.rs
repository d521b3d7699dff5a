//! `[media]`: where files of clips and snapshots stay, and how many.

use serde::{Deserialize, Serialize};
use url::Url;

use super::ConfigError;
use super::part::Part;

/// Where files of clips and snapshots stay, and how many.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MediaConfig {
    /// A bucket instead of the folder `clip_upload_dir`: `s3://`, `gs://` or `az://` with a bucket and a path. How to
    /// reach it stands in the variables that begin with `AWS_`, `GOOGLE_` or `AZURE_`. Default none.
    pub url: Option<Url>,
    /// Most MiB of one file. Default 4096.
    pub max_file_mib: u64,
    /// Most GiB of a tenant's files; 0 for no limit. Default 0.
    pub tenant_gib: u64,
    /// MiB of the disk of `data_dir`, where files arrive, that uploads leave to everything else. Default 512.
    pub min_free_mib: u64,
    /// Hours after which a file is given up that is not whole and is offered no more. Default 72.
    pub unfinished_hours: u32,
    /// Seconds for which a link to a file is good. Default 600.
    pub link_seconds: u32,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            url: None,
            max_file_mib: 4096,
            tenant_gib: 0,
            min_free_mib: 512,
            unfinished_hours: 72,
            link_seconds: 600,
        }
    }
}

impl Part for MediaConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if let Some(url) = &self.url
            && !matches!(url.scheme(), "s3" | "gs" | "az")
        {
            let problem = "must begin with s3://, gs:// or az://; for a folder set clip_upload_dir";
            return ConfigError::wrong("media.url", problem);
        }
        if self.unfinished_hours == 0 || self.link_seconds == 0 {
            return ConfigError::wrong("media", "unfinished_hours and link_seconds must be at least 1");
        }
        Ok(())
    }
}
