//! Settings: TOML file and environment; unknown keys are errors.
//!
//! The environment wins over the file, the file over the defaults. Each default stands on its field;
//! `cloud.example.toml` shows all of them. Each table of the file is a [`Part`] in a file of its own here.

mod calls;
#[cfg(test)]
mod containers;
mod error;
mod http;
mod media;
mod metrics;
mod mqtt;
mod notifications;
mod part;
mod presence;
#[cfg(test)]
mod reference;
mod secret;
mod servers;
mod smtp;
mod tenants;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use calls::CallsConfig;
pub use error::ConfigError;
pub use http::HttpConfig;
pub use media::MediaConfig;
pub use metrics::MetricsConfig;
pub use mqtt::MqttConfig;
pub use notifications::NotificationsConfig;
pub use presence::PresenceConfig;
pub use secret::Secret;
pub use servers::ServersConfig;
pub use smtp::SmtpConfig;
pub use tenants::TenantsConfig;

use crate::media::MediaSettings;
use crate::notify::mail::SmtpSettings;
use crate::store::PostgresSettings;
use part::{Part, Variables};

/// Fewest bytes of a signing secret: the strength of the signature, RFC 7518 section 3.2.
const MIN_SECRET_BYTES: usize = 32;

/// The SQLite file when nothing is said.
const DATABASE_PATH: &str = "./cloud.db";

/// Everything the cloud can be told at start.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The SQLite file, made on first start. Default `./cloud.db`; `DATABASE_PATH`.
    pub database_path: PathBuf,
    /// A PostgreSQL database instead: `postgres://user:password@host/name?sslmode=verify-full`. Default none;
    /// `DATABASE_URL`.
    pub database_url: Option<Secret>,
    /// Folder for the certificate authority's key and generated secrets, made on first start with mode 0700. Default
    /// the database's path with `.d` behind it.
    pub data_dir: Option<PathBuf>,
    /// Folder for uploaded clips. Default `./clips`; `CLIP_UPLOAD_DIR`.
    pub clip_upload_dir: PathBuf,
    /// Seconds without a sign of life after which an edge counts as offline. Default 120; `EDGE_TIMEOUT_SECONDS`.
    pub edge_timeout_seconds: u32,
    /// Mail server for notifications. Default none; `SMTP_HOST`.
    pub smtp_host: Option<String>,
    /// Where notifications are posted; its path may be a secret. Default none; `WEBHOOK_URL`.
    pub webhook_url: Option<Secret>,
    /// Secret that signs user tokens, at least 32 bytes. Default one drawn on first start and kept in `data_dir`;
    /// `JWT_SECRET`.
    pub jwt_secret: Option<Secret>,
    /// The secret before `jwt_secret`, while what it signed and sealed still counts: set it when you replace the secret,
    /// and take it out a day later. Default none; `JWT_SECRET_PREVIOUS`.
    pub jwt_secret_previous: Option<Secret>,
    /// The API.
    pub http: HttpConfig,
    /// How many calls of the API people, API keys and tenants may make.
    pub calls: CallsConfig,
    /// The MQTT front.
    pub mqtt: MqttConfig,
    /// Files of clips and snapshots.
    pub media: MediaConfig,
    /// How the mail server is spoken to.
    pub smtp: SmtpConfig,
    /// Where webhooks and pushes may go, and how many mails an address gets.
    pub notifications: NotificationsConfig,
    /// The page of figures.
    pub metrics: MetricsConfig,
    /// When an edge is told offline and online.
    pub presence: PresenceConfig,
    /// How several processes reach each other.
    pub servers: ServersConfig,
    /// Exports of tenants, and the time before one is deleted.
    pub tenants: TenantsConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database_path: DATABASE_PATH.into(),
            database_url: None,
            data_dir: None,
            clip_upload_dir: "./clips".into(),
            edge_timeout_seconds: 120,
            smtp_host: None,
            webhook_url: None,
            jwt_secret: None,
            jwt_secret_previous: None,
            http: HttpConfig::default(),
            calls: CallsConfig::default(),
            mqtt: MqttConfig::default(),
            media: MediaConfig::default(),
            smtp: SmtpConfig::default(),
            notifications: NotificationsConfig::default(),
            metrics: MetricsConfig::default(),
            presence: PresenceConfig::default(),
            servers: ServersConfig::default(),
            tenants: TenantsConfig::default(),
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
        let variables = Variables::new(&environment);
        config.take_environment(&variables)?;
        config.check()?;
        for part in config.parts() {
            part.take_environment(&variables)?;
            part.check()?;
        }
        Ok(config)
    }

    /// The tables of the file, in its order. A new table is a field, a file beside this one, and a line here.
    fn parts(&mut self) -> Vec<&mut dyn Part> {
        vec![
            &mut self.http,
            &mut self.calls,
            &mut self.mqtt,
            &mut self.media,
            &mut self.presence,
            &mut self.smtp,
            &mut self.notifications,
            &mut self.metrics,
            &mut self.servers,
            &mut self.tenants,
        ]
    }

    /// What the program goes by, as a settings file: each setting with its value, secrets masked.
    ///
    /// # Errors
    /// A path is not UTF-8, which TOML can't say.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// The PostgreSQL database, when one is set.
    ///
    /// # Errors
    /// The URL is wrong, or a file of SQLite is named as well.
    pub fn postgres(&self) -> Result<Option<PostgresSettings>, ConfigError> {
        let Some(url) = &self.database_url else { return Ok(None) };
        if self.database_path != Path::new(DATABASE_PATH) {
            let problem =
                "is set beside database_path (DATABASE_PATH); there is one database, so take one of them away";
            return ConfigError::wrong("database_url", problem);
        }
        match url.reveal().parse() {
            Ok(settings) => Ok(Some(settings)),
            Err(problem) => ConfigError::wrong("database_url", problem.to_string()),
        }
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

    /// The mail server; `None` when there is none.
    ///
    /// # Errors
    /// `smtp.from` is missing.
    pub fn smtp_settings(&self) -> Result<Option<SmtpSettings>, ConfigError> {
        let (Some(host), smtp) = (self.smtp_host.clone(), &self.smtp) else { return Ok(None) };
        let Some(from) = smtp.from.clone() else {
            return ConfigError::wrong("smtp.from", "is missing beside smtp_host").map(|()| None);
        };
        let (user, password) = (smtp.user.clone(), smtp.password.clone());
        Ok(Some(SmtpSettings { host, port: smtp.port, tls: smtp.tls, ca: smtp.ca.clone(), user, password, from }))
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
}

impl Part for Config {
    fn take_environment(&mut self, variables: &Variables<'_>) -> Result<(), ConfigError> {
        variables.text("DATABASE_PATH", &mut self.database_path);
        variables.optional("DATABASE_URL", &mut self.database_url);
        variables.text("CLIP_UPLOAD_DIR", &mut self.clip_upload_dir);
        variables.number("EDGE_TIMEOUT_SECONDS", "seconds", &mut self.edge_timeout_seconds)?;
        variables.optional("SMTP_HOST", &mut self.smtp_host);
        variables.optional("WEBHOOK_URL", &mut self.webhook_url);
        variables.optional("JWT_SECRET", &mut self.jwt_secret);
        variables.optional("JWT_SECRET_PREVIOUS", &mut self.jwt_secret_previous);
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.postgres()?;
        if self.edge_timeout_seconds == 0 {
            return ConfigError::wrong("edge_timeout_seconds", "must be at least 1");
        }
        if self.jwt_secret.as_ref().is_some_and(|secret| secret.reveal().len() < MIN_SECRET_BYTES) {
            let problem = "must have at least 32 bytes; make one with: openssl rand -base64 48";
            return ConfigError::wrong("JWT_SECRET", problem);
        }
        Ok(())
    }
}

/// A mistake of the file's form, by its line. The line itself is not shown: it may hold a secret.
fn by_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
    format!("{}{}", line.unwrap_or_default(), error.message())
}
