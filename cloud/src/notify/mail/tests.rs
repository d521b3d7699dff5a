//! Mails as they go over the wire, and settings that are wrong.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn compose(mail: &Mail) -> Result<(Envelope, Vec<u8>), MailError> {
    message::compose(&"AIVMS <alerts@example.com>".parse().unwrap(), mail)
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
    let text = String::from_utf8(compose(&mail).unwrap().1).unwrap();
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
        let (envelope, bytes) = compose(&mail).unwrap();
        let (_, expected) = compose(&plain).unwrap();
        prop_assert_eq!(headers(&bytes), headers(&expected));
        prop_assert_eq!(envelope.to().len(), 1);
    }

    #[test]
    fn a_receiver_that_is_no_single_address_is_refused(
        tail in "(\r\nBcc: b@example.com|, b@example.com|> RCPT TO:<b@example.com|\n\\.\n)"
    ) {
        let mail = Mail { to: format!("a@example.com{tail}"), ..Mail::default() };
        prop_assert!(matches!(compose(&mail), Err(MailError::Refused(_))));
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
