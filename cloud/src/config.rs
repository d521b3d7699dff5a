//! Settings: TOML file and environment; unknown keys are errors.
//!
//! The environment wins over the file, the file over the defaults. Each default stands on its field;
//! `cloud.example.toml` shows all of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::media::MediaSettings;

/// Fewest bytes of a signing secret: the strength of the signature, RFC 7518 section 3.2.
const MIN_SECRET_BYTES: usize = 32;

/// Everything the cloud can be told at start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The SQLite file, made on first start. Default `./cloud.db`; `DATABASE_PATH`.
    pub database_path: PathBuf,
    /// Folder for the certificate authority's key and generated secrets, made on first start with mode 0700. Default
    /// the database's path with `.d` behind it.
    pub data_dir: Option<PathBuf>,
    /// Folder for uploaded clips. Default `./clips`; `CLIP_UPLOAD_DIR`.
    pub clip_upload_dir: PathBuf,
    /// Seconds without a sign of life after which an edge counts as offline. Default 120; `EDGE_TIMEOUT_SECONDS`.
    pub edge_timeout_seconds: u32,
    /// Mail server for notifications. Default none; `SMTP_HOST`.
    pub smtp_host: Option<String>,
    /// Where notifications are posted. Default none; `WEBHOOK_URL`.
    pub webhook_url: Option<String>,
    /// Secret that signs user tokens, at least 32 bytes. Default one drawn on first start and kept in `data_dir`;
    /// `JWT_SECRET`.
    pub jwt_secret: Option<Secret>,
    /// The API.
    pub http: HttpConfig,
    /// The MQTT front.
    pub mqtt: MqttConfig,
    /// Files of clips and snapshots.
    pub media: MediaConfig,
}

/// Where people and enrolling edges connect.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes a free one. Default `0.0.0.0:8080`.
    pub bind: SocketAddr,
    /// Certificate chain in PEM; with `tls_key` the API speaks HTTPS. Default none: put a proxy with TLS before it.
    pub tls_certificate: Option<PathBuf>,
    /// Key of `tls_certificate` in PEM.
    pub tls_key: Option<PathBuf>,
    /// Addresses of proxies whose `X-Forwarded-For` is believed. Default none.
    pub trusted_proxies: Vec<IpAddr>,
}

/// Where edges and MQTT tools connect.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttConfig {
    /// Where to listen; port 0 takes a free one. Default `0.0.0.0:8883`.
    pub bind: SocketAddr,
    /// Host name or address that edges are told to connect to. Default `localhost`.
    pub public_host: String,
    /// Port that edges are told to connect to. Default the one listened on.
    pub public_port: Option<u16>,
    /// Further names and addresses in the server's certificate. Default `localhost`, `127.0.0.1` and `::1`.
    pub server_names: Vec<String>,
}

/// Where files of clips and snapshots stay, and how many.
#[derive(Debug, Clone, Deserialize)]
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

/// A text that never appears in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Says which setting is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The settings file can't be read.
    #[error("{}: can't be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The settings file is not TOML, or a key of it is unknown or has a wrong value.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        problem: String,
    },
    /// A setting has a value the program can't work with.
    #[error("{name}: {problem}")]
    Value {
        /// The variable or key.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database_path: "./cloud.db".into(),
            data_dir: None,
            clip_upload_dir: "./clips".into(),
            edge_timeout_seconds: 120,
            smtp_host: None,
            webhook_url: None,
            jwt_secret: None,
            http: HttpConfig::default(),
            mqtt: MqttConfig::default(),
            media: MediaConfig::default(),
        }
    }
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

impl Default for HttpConfig {
    fn default() -> Self {
        let bind = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 8080);
        Self { bind, tls_certificate: None, tls_key: None, trusted_proxies: Vec::new() }
    }
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 8883),
            public_host: "localhost".into(),
            public_port: None,
            server_names: ["localhost", "127.0.0.1", "::1"].map(String::from).into(),
        }
    }
}

impl Config {
    /// Reads the file, if one is named, then the environment, then checks what belongs together.
    ///
    /// # Errors
    /// Names the file and key, or the variable.
    pub fn load(file: Option<&Path>, environment: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut config = file.map(Self::from_file).transpose()?.unwrap_or_default();
        config.take_environment(environment)?;
        config.check()?;
        Ok(config)
    }

    /// Folder for the certificate authority's key and generated secrets.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| {
            let mut name = self.database_path.clone().into_os_string();
            name.push(".d");
            name.into()
        })
    }

    /// Time without a sign of life after which an edge counts as offline.
    #[must_use]
    pub fn edge_timeout(&self) -> Duration {
        Duration::from_secs(self.edge_timeout_seconds.into())
    }

    /// Where files of clips and snapshots stay.
    #[must_use]
    pub fn media_settings(&self) -> MediaSettings {
        let bytes = |number: u64, shift: u32| number.saturating_mul(1 << shift);
        MediaSettings {
            folder: self.clip_upload_dir.clone(),
            bucket: self.media.url.clone(),
            staging: self.data_dir().join("uploads"),
            max_file_bytes: bytes(self.media.max_file_mib, 20),
            quota_bytes: if self.media.tenant_gib == 0 { u64::MAX } else { bytes(self.media.tenant_gib, 30) },
            min_free_bytes: bytes(self.media.min_free_mib, 20),
            unfinished_for: Duration::from_secs(u64::from(self.media.unfinished_hours) * 3600),
        }
    }

    fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::from_toml(&text).map_err(|problem| ConfigError::File { path: path.to_owned(), problem })
    }

    fn from_toml(text: &str) -> Result<Self, String> {
        let document = toml::Deserializer::parse(text).map_err(|error| by_line(text, &error))?;
        serde_path_to_error::deserialize(document).map_err(|error| {
            let problem = error.inner().message().to_owned();
            match error.path().to_string() {
                key if key == "." => problem,
                key => format!("{key}: {problem}"),
            }
        })
    }

    fn take_environment(&mut self, environment: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        // An empty variable is how compose files and shells leave one unset.
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        if let Some(path) = variable("DATABASE_PATH") {
            self.database_path = path.into();
        }
        if let Some(path) = variable("CLIP_UPLOAD_DIR") {
            self.clip_upload_dir = path.into();
        }
        if let Some(seconds) = variable("EDGE_TIMEOUT_SECONDS") {
            let problem = || format!("must be a whole number of seconds, is {seconds:?}");
            self.edge_timeout_seconds =
                seconds.parse().map_err(|_| ConfigError::Value { name: "EDGE_TIMEOUT_SECONDS", problem: problem() })?;
        }
        self.smtp_host = variable("SMTP_HOST").or(self.smtp_host.take());
        self.webhook_url = variable("WEBHOOK_URL").or(self.webhook_url.take());
        self.jwt_secret = variable("JWT_SECRET").map(Secret).or(self.jwt_secret.take());
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |name, problem: &str| Err(ConfigError::Value { name, problem: problem.to_owned() });
        if self.edge_timeout_seconds == 0 {
            return wrong("edge_timeout_seconds", "must be at least 1");
        }
        if self.jwt_secret.as_ref().is_some_and(|secret| secret.reveal().len() < MIN_SECRET_BYTES) {
            return wrong("JWT_SECRET", "must have at least 32 bytes; make one with: openssl rand -base64 48");
        }
        if let Some(url) = &self.media.url
            && !matches!(url.scheme(), "s3" | "gs" | "az")
        {
            return wrong("media.url", "must begin with s3://, gs:// or az://; for a folder set clip_upload_dir");
        }
        if self.media.unfinished_hours == 0 || self.media.link_seconds == 0 {
            return wrong("media", "unfinished_hours and link_seconds must be at least 1");
        }
        match (&self.http.tls_certificate, &self.http.tls_key) {
            (Some(_), None) => wrong("http.tls_key", "is missing beside tls_certificate"),
            (None, Some(_)) => wrong("http.tls_certificate", "is missing beside tls_key"),
            _ => Ok(()),
        }
    }
}

/// A mistake of the file's form, by its line. The line itself is not shown: it may hold a secret.
fn by_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
    format!("{}{}", line.unwrap_or_default(), error.message())
}

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for what it was made for.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// The error does not repeat the value, as the one of a plain text would.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer);
        text.map(Self).map_err(|_| D::Error::custom("must be a text in quotation marks"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cloud.toml");
        std::fs::write(&path, text).unwrap();
        let variable = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        Config::load(Some(&path), variable).map_err(|error| error.to_string())
    }

    #[test]
    fn the_shipped_example_reads_and_says_what_the_defaults_are() {
        let example = Config::from_toml(include_str!("../cloud.example.toml")).unwrap();
        let mut shown = format!("{example:?}");
        shown = shown.replace("data_dir: Some(\"./cloud.db.d\")", "data_dir: None");
        assert_eq!(shown, format!("{:?}", Config::default()));
    }

    #[test]
    fn an_unknown_key_is_refused_with_file_and_key() {
        for (text, key) in [
            ("databse_path = 'x'", "databse_path"),
            ("[http]\nbnd = '0.0.0.0:1'", "http.bnd"),
            ("[mqtt]\nbind = 'here'", "mqtt.bind"),
            ("edge_timeout_seconds = 'soon'", "edge_timeout_seconds"),
        ] {
            let error = load(text, &[]).unwrap_err();
            assert!(error.contains("cloud.toml") && error.contains(key), "{error}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_and_an_empty_variable_is_none() {
        let config =
            load("database_path = 'a.db'\nsmtp_host = 'mail'", &[("DATABASE_PATH", "b.db"), ("SMTP_HOST", "")]);
        let config = config.unwrap();
        assert_eq!((config.database_path.to_str(), config.smtp_host.as_deref()), (Some("b.db"), Some("mail")));
        assert_eq!(config.data_dir().to_str(), Some("b.db.d"));
        let error = load("", &[("EDGE_TIMEOUT_SECONDS", "soon")]).unwrap_err();
        assert!(error.contains("EDGE_TIMEOUT_SECONDS"), "{error}");
    }

    #[test]
    fn a_short_signing_secret_is_refused_and_no_secret_is_ever_printed() {
        let error = load("", &[("JWT_SECRET", "short-but-secret")]).unwrap_err();
        assert!(error.contains("JWT_SECRET") && !error.contains("short-but-secret"), "{error}");
        let config = load("", &[("JWT_SECRET", "0123456789012345678901234567890123456789")]).unwrap();
        assert!(!format!("{config:?}").contains("0123456789"));
    }

    #[test]
    fn a_mistake_beside_a_secret_is_told_without_the_secret() {
        for text in ["\njwt_secret = 'hush-hush", "\njwt_secret = hush-hush", "\njwt_secret = ['hush-hush']"] {
            let error = load(text, &[]).unwrap_err();
            assert!(!error.contains("hush"), "{error}");
            assert!(error.contains("line 2") || error.contains("jwt_secret"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_place_of_clips_that_is_no_bucket_is_refused_by_its_key() {
        let error = load("[media]\nurl = 'file:///clips'", &[]).unwrap_err();
        assert!(error.contains("media.url") && error.contains("clip_upload_dir"), "{error}");
        let bucket = load("[media]\nurl = 's3://clips/site'\ntenant_gib = 2", &[]).unwrap().media_settings();
        assert_eq!((bucket.bucket.unwrap().as_str(), bucket.quota_bytes), ("s3://clips/site", 2 << 30));
    }

    #[test]
    fn half_a_tls_setting_is_refused() {
        let error = load("[http]\ntls_certificate = 'a.pem'", &[]).unwrap_err();
        assert!(error.contains("http.tls_key"), "{error}");
    }
}
