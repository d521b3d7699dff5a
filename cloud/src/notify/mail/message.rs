//! What a mail is made of: nothing of its content can become a header.

use bytes::Bytes;
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, Message, MultiPart, SinglePart};
use url::Url;

use super::failure::MailError;

/// Most characters of a subject; mail programs show fewer.
const MAX_SUBJECT_CHARS: usize = 200;

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

/// The mail as it goes over the wire, and whom it goes to.
///
/// # Errors
/// The form of an address or of the mail is refused for good.
pub(super) fn compose(from: &Mailbox, mail: &Mail) -> Result<(Envelope, Vec<u8>), MailError> {
    let wrong = |error: &dyn std::fmt::Display| MailError::Refused(error.to_string());
    let to: Address = mail.to.parse().map_err(|error| wrong(&error))?;
    let mut builder = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(one_line(&mail.subject))
        .message_id(mail.id.as_ref().map(|id| message_id(from, id)))
        // Keeps out-of-office answers away (RFC 3834).
        .header(Fixed::<AUTO_SUBMITTED>);
    if let Some(thread) = mail.thread.as_ref().map(|thread| message_id(from, thread)) {
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
    let envelope = Envelope::new(Some(from.email.clone()), vec![to]).map_err(|error| wrong(&error))?;
    Ok((envelope, message.formatted()))
}

/// The name of a mail in the form of RFC 5322.
fn message_id(from: &Mailbox, name: &str) -> String {
    format!("<{}@{}>", plain_name(name), from.email.domain())
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
pub(super) fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SUBJECT_CHARS).collect();
    line.trim().to_owned()
}
