//! Mail by SMTP: messages in which nothing of their content can become a header, over connections that can't hang.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, Message, MultiPart, SinglePart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::Secret;

/// Longest time to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Longest time for one mail, from connecting to the server's word that it has it.
const SEND_LIMIT: Duration = Duration::from_secs(60);
/// Most characters of a subject; mail programs show fewer.
const MAX_SUBJECT_CHARS: usize = 200;
/// Most characters of what a server said that are kept.
const MAX_REASON_CHARS: usize = 300;

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

/// One mail to one address.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    /// The receiver's address.
    pub to: String,
    /// One line; control characters become spaces.
    pub subject: String,
    /// The body for mail programs without HTML.
    pub text: String,
    /// The body in HTML, which must refer to nothing outside the mail.
    pub html: Option<String>,
    /// Pictures that `html` shows by `cid:`.
    pub pictures: Vec<Picture>,
    /// A name of the mail that stays the same when it is sent again, so that receivers can drop doubles; letters, digits,
    /// `-` and `_`.
    pub id: Option<String>,
    /// A name that mails of one conversation share; letters, digits, `-` and `_`.
    pub thread: Option<String>,
    /// Where one POST ends these mails (RFC 8058).
    pub unsubscribe: Option<Url>,
}

/// A picture inside a mail.
#[derive(Debug, Clone)]
pub struct Picture {
    /// What `cid:` in the HTML names; letters, digits, `-` and `_`.
    pub content_id: String,
    /// The file's name for whoever keeps it.
    pub file_name: String,
    /// A JPEG file.
    pub jpeg: Bytes,
}

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The server, or the form of the mail, refuses it for good.
    #[error("refused: {0}")]
    Refused(String),
    /// The server refuses it for now.
    #[error("not now: {0}")]
    Later(String),
    /// The server can't be reached, does not answer, or does not let the cloud in.
    #[error("the mail server does not work with us: {0}")]
    Server(String),
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
        let (envelope, bytes) = self.compose(mail)?;
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

    fn compose(&self, mail: &Mail) -> Result<(Envelope, Vec<u8>), MailError> {
        let wrong = |error: &dyn std::fmt::Display| MailError::Refused(error.to_string());
        let to: Address = mail.to.parse().map_err(|error| wrong(&error))?;
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(one_line(&mail.subject))
            .message_id(mail.id.as_ref().map(|id| self.message_id(id)))
            // Keeps out-of-office answers away (RFC 3834).
            .header(Fixed::<AUTO_SUBMITTED>);
        if let Some(thread) = mail.thread.as_ref().map(|thread| self.message_id(thread)) {
            builder = builder.in_reply_to(thread.clone()).references(thread);
        }
        if let Some(url) = &mail.unsubscribe {
            builder = builder.header(ListUnsubscribe(format!("<{url}>"))).header(Fixed::<ONE_CLICK>);
        }
        let message = match &mail.html {
            None => builder.singlepart(SinglePart::plain(mail.text.clone())),
            Some(html) => builder.multipart(
                MultiPart::alternative()
                    .singlepart(SinglePart::plain(mail.text.clone()))
                    .multipart(with_pictures(html, &mail.pictures).map_err(|error| wrong(&error))?),
            ),
        };
        let message = message.map_err(|error| wrong(&error))?;
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![to]).map_err(|error| wrong(&error))?;
        Ok((envelope, message.formatted()))
    }

    /// The name of a mail in the form of RFC 5322.
    fn message_id(&self, name: &str) -> String {
        format!("<{}@{}>", plain_name(name), self.from.email.domain())
    }
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// Headers that say the same in every mail.
const AUTO_SUBMITTED: usize = 0;
const ONE_CLICK: usize = 1;
const FIXED: [(HeaderName, &str); 2] = [
    (HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated"),
    (HeaderName::new_from_ascii_str("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click"),
];

#[derive(Clone)]
struct Fixed<const WHICH: usize>;

impl<const WHICH: usize> Header for Fixed<WHICH> {
    fn name() -> HeaderName {
        FIXED[WHICH].0.clone()
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), FIXED[WHICH].1.to_owned())
    }
}

#[derive(Clone)]
struct ListUnsubscribe(String);

impl Header for ListUnsubscribe {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Unsubscribe")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    /// A URL has no characters that a header can't have; written whole, because some readers do not join its lines.
    fn display(&self) -> HeaderValue {
        HeaderValue::dangerous_new_pre_encoded(Self::name(), self.0.clone(), self.0.clone())
    }
}

fn with_pictures(html: &str, pictures: &[Picture]) -> Result<MultiPart, lettre::message::header::ContentTypeErr> {
    let jpeg = ContentType::parse("image/jpeg")?;
    let whole = MultiPart::related().singlepart(SinglePart::html(html.to_owned()));
    Ok(pictures.iter().fold(whole, |whole, picture| {
        let (id, name) = (plain_name(&picture.content_id), plain_name(&picture.file_name));
        whole.singlepart(Attachment::new_inline_with_name(id, name).body(picture.jpeg.to_vec(), jpeg.clone()))
    }))
}

/// What may stand in the name of a mail or a file in it.
fn plain_name(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).take(100).collect()
}

/// A text as one line; the rest of the world of headers is the library's business.
fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SUBJECT_CHARS).collect();
    line.trim().to_owned()
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

/// Before the mail is handed over everything is about the server and us, whatever code it gives.
fn server_error(error: &SmtpError) -> MailError {
    MailError::Server(reason(error))
}

fn send_error(error: &SmtpError) -> MailError {
    if error.is_permanent() || error.is_client() {
        MailError::Refused(reason(error))
    } else if error.is_transient() {
        MailError::Later(reason(error))
    } else {
        MailError::Server(reason(error))
    }
}

fn reason(error: &SmtpError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if !text.contains(&cause.to_string()) {
            text = format!("{text}: {cause}");
        }
        source = cause.source();
    }
    one_line(&text.chars().take(MAX_REASON_CHARS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mailer() -> Mailer {
        let settings = SmtpSettings {
            host: "localhost".into(),
            port: None,
            tls: SmtpTls::None,
            ca: None,
            user: None,
            password: None,
            from: "AIVMS <alerts@example.com>".into(),
        };
        Mailer::new(&settings).unwrap()
    }

    /// The names of the headers, with the lines that belong to them.
    fn headers(bytes: &[u8]) -> Vec<String> {
        let text = std::str::from_utf8(bytes).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let lines = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
        lines.map(|line| line.split(':').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_mail_has_both_bodies_its_picture_its_thread_and_a_way_out() {
        let mail = Mail {
            to: "guard@example.com".into(),
            subject: "Critical: Gäste am Tor".into(),
            text: "plain".into(),
            html: Some("<p>rich</p><img src=\"cid:snapshot\">".into()),
            pictures: vec![Picture {
                content_id: "snapshot".into(),
                file_name: "gate.jpg".into(),
                jpeg: Bytes::from_static(b"\xff\xd8jpeg"),
            }],
            id: Some("dlv_1".into()),
            thread: Some("inc_7".into()),
            unsubscribe: Some("https://vms.example.com/unsubscribe?token=abc".parse().unwrap()),
        };
        let text = String::from_utf8(mailer().compose(&mail).unwrap().1).unwrap();
        for part in [
            "Message-ID: <dlv_1@example.com>\r\n",
            "In-Reply-To: <inc_7@example.com>\r\n",
            "References: <inc_7@example.com>\r\n",
            "List-Unsubscribe: <https://vms.example.com/unsubscribe?token=abc>\r\n",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-ID: <snapshot>\r\n",
            "multipart/alternative",
            "multipart/related",
            "image/jpeg",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    proptest! {
        #[test]
        fn no_content_becomes_a_header_or_a_receiver(
            subject in "(?s).{0,40}(\r\n|\n|\r)(Bcc: evil@example.com|.{0,20})(\r\n|\n)?.{0,20}",
            id in "(?s).{0,30}",
            body in "(?s).{0,100}",
        ) {
            let plain = Mail { to: "a@example.com".into(), subject: "x".into(), id: Some("x".into()), thread: Some("x".into()), ..Mail::default() };
            let mail = Mail { subject, id: Some(id.clone()), thread: Some(id), text: body, ..plain.clone() };
            let (envelope, bytes) = mailer().compose(&mail).unwrap();
            let (_, expected) = mailer().compose(&plain).unwrap();
            prop_assert_eq!(headers(&bytes), headers(&expected));
            prop_assert_eq!(envelope.to().len(), 1);
        }

        #[test]
        fn a_receiver_that_is_no_single_address_is_refused(
            tail in "(\r\nBcc: b@example.com|, b@example.com|> RCPT TO:<b@example.com|\n\\.\n)"
        ) {
            let mail = Mail { to: format!("a@example.com{tail}"), ..Mail::default() };
            prop_assert!(matches!(mailer().compose(&mail), Err(MailError::Refused(_))));
        }
    }

    #[test]
    fn a_wrong_setting_is_named() {
        let good = SmtpSettings {
            host: "mail.example.com".into(),
            port: None,
            tls: SmtpTls::Starttls,
            ca: None,
            user: None,
            password: None,
            from: "alerts@example.com".into(),
        };
        crate::run::install_crypto_provider();
        for (settings, named) in [
            (SmtpSettings { from: "nobody".into(), ..good.clone() }, "smtp.from"),
            (SmtpSettings { user: Some("me".into()), ..good.clone() }, "smtp.password"),
            (SmtpSettings { password: Some(Secret::new("x".into())), ..good.clone() }, "smtp.user"),
            (SmtpSettings { ca: Some("/nowhere.pem".into()), ..good.clone() }, "smtp.ca"),
        ] {
            let error = format!("{:#}", Mailer::new(&settings).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
        assert_eq!(Mailer::new(&good).unwrap().port, 587);
    }
}
