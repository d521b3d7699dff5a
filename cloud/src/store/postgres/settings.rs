//! Where the database is: `postgres://user:password@host:port/name?sslmode=…`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use url::form_urlencoded;

/// Longest wait for a connection; a server that is there answers within milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// First probe on a silent connection, and how long sent bytes may stay unacknowledged: a server that lost its power
/// is given up after this time instead of after the system's two hours.
const SILENCE: Duration = Duration::from_secs(15);

/// A database, as its URL describes it. Never shows the password.
#[derive(Clone)]
pub struct PostgresSettings {
    pub(super) config: Config,
    pub(super) tls: Tls,
}

/// How a connection is protected, by the URL's `sslmode` and `sslrootcert`, with the meanings that libpq gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tls {
    /// `disable`.
    Off,
    /// `prefer` and `require`: against those who listen only, as the server's certificate is not looked at.
    Unverified,
    /// `verify-full`: the certificate comes from an authority of the system, or of this file, for the host's name.
    Verified {
        /// `sslrootcert`.
        roots: Option<PathBuf>,
    },
}

/// Says what is wrong with a database's URL, without repeating it: it holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

impl FromStr for PostgresSettings {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(UrlError("must begin with postgres://".into()));
        }
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut mode, mut roots, mut rest) = (None, None, form_urlencoded::Serializer::new(String::new()));
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" => roots = Some(PathBuf::from(&*value)),
                _ => drop(rest.append_pair(&name, &value)),
            }
        }
        let (ssl_mode, tls) = tls(mode.as_deref(), roots)?;
        // The driver's own words name the parameter and never its value.
        let config = format!("{place}?{}", rest.finish()).parse::<Config>();
        let mut config = config.map_err(|error| UrlError(sources(&error)))?;
        if config.get_hosts().is_empty() || config.get_dbname().is_none_or(str::is_empty) {
            return Err(UrlError("must name a host and a database: postgres://user@host/name".into()));
        }
        config.ssl_mode(ssl_mode).connect_timeout(CONNECT_LIMIT);
        config.keepalives_idle(SILENCE).keepalives_interval(Duration::from_secs(5)).tcp_user_timeout(SILENCE);
        Ok(Self { config, tls })
    }
}

fn tls(mode: Option<&str>, roots: Option<PathBuf>) -> Result<(SslMode, Tls), UrlError> {
    match mode {
        Some("verify-full") => Ok((SslMode::Require, Tls::Verified { roots })),
        _ if roots.is_some() => Err(UrlError("sslrootcert has an effect with sslmode=verify-full only".into())),
        Some("disable") => Ok((SslMode::Disable, Tls::Off)),
        None | Some("prefer") => Ok((SslMode::Prefer, Tls::Unverified)),
        Some("require") => Ok((SslMode::Require, Tls::Unverified)),
        Some(_) => Err(UrlError("sslmode must be disable, prefer, require or verify-full".into())),
    }
}

/// An error with its causes in one line.
pub(super) fn sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

impl PostgresSettings {
    /// The settings for connections of one use: how long its statements may take, and what `pg_stat_activity` shows.
    pub(super) fn with(&self, use_: &str, statement_limit: Duration, lock_limit: Duration) -> Self {
        let mut changed = self.clone();
        let own = self.config.get_options().map(|own| format!("{own} ")).unwrap_or_default();
        changed.config.options(format!(
            "{own}-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=10000 \
             -c default_transaction_isolation=serializable",
            statement_limit.as_millis(),
            lock_limit.as_millis(),
        ));
        changed.config.application_name(format!("aivms-cloud {} {use_}", std::process::id()));
        changed
    }
}

impl fmt::Display for PostgresSettings {
    /// User, host and database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                tokio_postgres::config::Host::Tcp(name) => name.clone(),
                tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let (user, name) = (self.config.get_user().unwrap_or_default(), self.config.get_dbname().unwrap_or_default());
        write!(f, "PostgreSQL {user}@{}/{name}", hosts.join(","))
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {:?}", self.tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_with_the_protection_it_asks_for() {
        for (query, mode, tls) in [
            ("", SslMode::Prefer, Tls::Unverified),
            ("?sslmode=disable", SslMode::Disable, Tls::Off),
            ("?sslmode=require", SslMode::Require, Tls::Unverified),
            ("?sslmode=verify-full", SslMode::Require, Tls::Verified { roots: None }),
            (
                "?sslrootcert=%2Fetc%2Fca.pem&sslmode=verify-full&connect_timeout=3",
                SslMode::Require,
                Tls::Verified { roots: Some("/etc/ca.pem".into()) },
            ),
        ] {
            let read: PostgresSettings = format!("postgres://aivms:hush@db.example:6432/cloud{query}").parse().unwrap();
            assert_eq!((read.config.get_ssl_mode(), &read.tls), (mode, &tls), "{query}");
            assert_eq!(read.to_string(), "PostgreSQL aivms@db.example/cloud");
            assert_eq!(read.config.get_password(), Some(&b"hush"[..]));
        }
    }

    #[test]
    fn a_wrong_url_is_refused_by_what_is_wrong_and_never_shows_the_password() {
        for (url, part) in [
            ("mysql://aivms:hush@db/cloud", "postgres://"),
            ("postgres://aivms:hush@db/cloud?sslmode=maybe", "sslmode"),
            ("postgres://aivms:hush@db/cloud?sslrootcert=/x", "sslrootcert"),
            ("postgres://aivms:hush@db/cloud?colour=blue", "colour"),
            ("postgres://aivms:hush@db:hush/cloud", "port"),
            ("postgres://aivms:hush@db", "database"),
            ("postgres:///cloud", "host"),
        ] {
            let error = url.parse::<PostgresSettings>().unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("hush"), "{url}: {error}");
        }
        let read: PostgresSettings = "postgres://aivms:hush@db/cloud".parse().unwrap();
        assert!(!format!("{read:?} {read}").contains("hush"));
    }
}
