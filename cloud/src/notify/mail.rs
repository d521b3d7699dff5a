//! Mail by SMTP, over connections that can't hang.

mod failure;
mod message;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use serde::{Deserialize, Serialize};

pub use self::failure::MailError;
use self::failure::{send_error, server_error};
pub use self::message::{Mail, Picture};
use crate::config::Secret;

/// Longest time to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Longest time for one mail, from connecting to the server's word that it has it.
const SEND_LIMIT: Duration = Duration::from_secs(60);

/// The mail server and the sender's name on it.
#[derive(Debug, Clone)]
pub struct SmtpSettings {
    /// Name or address of the server.
    pub host: String,
    /// Port; 587, or 465 where TLS begins with the connection, or 25 without TLS.
    pub port: Option<u16>,
    /// How the connection is encrypted.
    pub tls: SmtpTls,
    /// A certificate in PEM to trust beside those of the system, for a server with one of its own.
    pub ca: Option<PathBuf>,
    /// User name; no sign-in when absent.
    pub user: Option<String>,
    /// Password of `user`.
    pub password: Option<Secret>,
    /// Sender, as `AIVMS <alerts@example.com>` or only an address.
    pub from: String,
}

/// How a connection to the mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// The connection begins plain and must become TLS before anything is said (RFC 3207).
    #[default]
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// No encryption: only for a server on this machine or a network of your own.
    None,
}

/// Sends mail; cheap to clone.
#[derive(Clone)]
pub struct Mailer {
    host: String,
    port: u16,
    tls: SmtpTls,
    parameters: Option<TlsParameters>,
    credentials: Option<Credentials>,
    from: Mailbox,
    hello: ClientId,
}

impl Mailer {
    /// Reads the settings; opens no connection.
    ///
    /// # Errors
    /// Names the setting that is wrong.
    pub fn new(settings: &SmtpSettings) -> Result<Self> {
        let from = settings.from.parse().with_context(|| {
            format!("smtp.from: must be an address such as AIVMS <alerts@example.com>, is {:?}", settings.from)
        })?;
        let credentials = match (&settings.user, &settings.password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some(Credentials::new(user.clone(), password.reveal().to_owned())),
            (Some(_), None) => bail!("smtp.password: is missing beside smtp.user"),
            (None, Some(_)) => bail!("smtp.user: is missing beside smtp.password"),
        };
        let port = match settings.tls {
            SmtpTls::Starttls => 587,
            SmtpTls::Tls => 465,
            SmtpTls::None => 25,
        };
        let parameters = (settings.tls != SmtpTls::None).then(|| tls_parameters(settings)).transpose()?;
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port.unwrap_or(port),
            tls: settings.tls,
            parameters,
            credentials,
            from,
            hello: ClientId::default(),
        })
    }

    /// Sends one mail over a connection of its own: one that hangs is cut and harms no other.
    ///
    /// # Errors
    /// Says whether another try may help.
    pub async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let (envelope, bytes) = message::compose(&self.from, mail)?;
        let sent = tokio::time::timeout(SEND_LIMIT, self.send_composed(&envelope, &bytes)).await;
        sent.unwrap_or_else(|_| Err(MailError::Server(format!("no end within {} s", SEND_LIMIT.as_secs()))))
    }

    /// Connects, begins TLS and signs in, and sends nothing: whether mail could be sent.
    ///
    /// # Errors
    /// Says where it ends.
    pub async fn try_out(&self) -> Result<(), MailError> {
        let tried = async {
            let mut connection = self.signed_in().await?;
            connection.quit().await.map_err(|error| server_error(&error)).map(drop)
        };
        let tried = tokio::time::timeout(SEND_LIMIT, tried).await;
        tried.unwrap_or_else(|_| Err(MailError::Server(format!("no end within {} s", SEND_LIMIT.as_secs()))))
    }

    async fn send_composed(&self, envelope: &Envelope, bytes: &[u8]) -> Result<(), MailError> {
        let mut connection = self.signed_in().await?;
        let sent = connection.send(envelope, bytes).await.map_err(|error| send_error(&error));
        // The server has said what it had to say; whether it also takes leave changes nothing.
        let _ = tokio::time::timeout(Duration::from_secs(5), connection.quit()).await;
        sent.map(drop)
    }

    /// A connection on which mail may be sent.
    async fn signed_in(&self) -> Result<AsyncSmtpConnection, MailError> {
        let wrapped = self.parameters.clone().filter(|_| self.tls == SmtpTls::Tls);
        let server = (self.host.as_str(), self.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT_LIMIT), &self.hello, wrapped, None);
        let mut connection = connecting.await.map_err(|error| server_error(&error))?;
        if let Some(parameters) = self.parameters.clone().filter(|_| self.tls == SmtpTls::Starttls) {
            // Fails where the server offers none, instead of going on in the clear.
            connection.starttls(parameters, &self.hello).await.map_err(|error| server_error(&error))?;
        }
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, credentials).await.map_err(|error| server_error(&error))?;
        }
        Ok(connection)
    }
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

fn tls_parameters(settings: &SmtpSettings) -> Result<TlsParameters> {
    let mut builder = TlsParameters::builder(settings.host.clone());
    if let Some(path) = &settings.ca {
        let pem = std::fs::read(path).with_context(|| format!("smtp.ca: {} can't be read", path.display()))?;
        let certificate = Certificate::from_pem(&pem)
            .with_context(|| format!("smtp.ca: {} holds no certificate in PEM", path.display()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().context("smtp: TLS")
}

#[cfg(test)]
mod tests;
