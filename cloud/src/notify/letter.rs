//! The words of mails: one alert, or a digest of many.

use aivms_cloud_core::notify::message::{Message, Reason};
use aivms_cloud_core::rules::severity_name;
use aivms_contract::alert::Severity;
use aivms_contract::schedule::SiteZone;
use aivms_contract::time::UtcMillis;
use askama::Template;
use url::Url;

use super::mail::{Mail, Picture};

/// Most alerts that a digest lists; the rest is a number.
const MAX_ROWS: usize = 100;

/// What a mail needs beside its alerts.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The receiver's address.
    pub to: &'a str,
    /// On whose clock times are shown.
    pub zone: &'a SiteZone,
    /// Where people reach the cloud.
    pub public_url: Option<&'a Url>,
    /// Where one POST ends these mails.
    pub unsubscribe: Option<Url>,
}

#[derive(Template)]
#[template(path = "notify/alert.txt", escape = "none")]
struct AlertText<'a> {
    message: &'a Message,
    when: String,
    severity: &'static str,
    link: Option<&'a str>,
    unsubscribe: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "notify/alert.html")]
struct AlertHtml<'a> {
    message: &'a Message,
    when: String,
    severity: &'static str,
    colour: &'static str,
    has_picture: bool,
    link: Option<&'a str>,
    unsubscribe: Option<&'a str>,
}

struct Row {
    when: String,
    headline: String,
    place: String,
    colour: &'static str,
}

#[derive(Template)]
#[template(path = "notify/digest.txt", escape = "none")]
struct DigestText<'a> {
    tenant_name: &'a str,
    total: usize,
    rest: usize,
    rows: &'a [Row],
    link: Option<&'a str>,
    unsubscribe: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "notify/digest.html")]
struct DigestHtml<'a> {
    tenant_name: &'a str,
    total: usize,
    rest: usize,
    rows: &'a [Row],
    link: Option<&'a str>,
    unsubscribe: Option<&'a str>,
}

/// A mail about one alert. `id` stays the same over all tries.
///
/// # Errors
/// The template failed, which is a defect.
pub fn of_one(frame: &Frame<'_>, message: &Message, id: String, picture: Option<Picture>) -> askama::Result<Mail> {
    let link = frame.public_url.filter(|_| message.alert.is_some()).map(Url::as_str);
    let unsubscribe = frame.unsubscribe.as_ref().map(Url::as_str);
    let (when, severity) = (when(frame.zone, message.at), severity_name(message.severity));
    let text = AlertText { message, when: when.clone(), severity, link, unsubscribe }.render()?;
    let (colour, has_picture) = (colour(message), picture.is_some());
    let html = AlertHtml { message, when, severity, colour, has_picture, link, unsubscribe }.render()?;
    Ok(Mail {
        to: frame.to.to_owned(),
        subject: message.headline(),
        text,
        html: Some(html),
        pictures: picture.into_iter().collect(),
        id: Some(id),
        thread: message.alert.as_ref().map(|facts| format!("incident-{}", facts.incident_id)),
        unsubscribe: frame.unsubscribe.clone(),
    })
}

/// One mail about many alerts, which are not none.
///
/// # Errors
/// The template failed, which is a defect.
pub fn of_many(frame: &Frame<'_>, messages: &[&Message], id: String) -> askama::Result<Mail> {
    let row = |message: &&Message| Row {
        when: when(frame.zone, message.at),
        headline: message.headline(),
        place: message.place(),
        colour: colour(message),
    };
    let rows: Vec<Row> = messages.iter().take(MAX_ROWS).map(row).collect();
    let (total, rest) = (messages.len(), messages.len() - rows.len());
    let tenant_name = messages.first().map_or("", |message| message.tenant_name.as_str());
    let (link, unsubscribe) = (frame.public_url.map(Url::as_str), frame.unsubscribe.as_ref().map(Url::as_str));
    let text = DigestText { tenant_name, total, rest, rows: &rows, link, unsubscribe }.render()?;
    let html = DigestHtml { tenant_name, total, rest, rows: &rows, link, unsubscribe }.render()?;
    let worst = messages.iter().map(|message| message.severity).max().unwrap_or(Severity::Info);
    Ok(Mail {
        to: frame.to.to_owned(),
        subject: format!("{total} alerts, up to {}", severity_name(worst)),
        text,
        html: Some(html),
        id: Some(id),
        unsubscribe: frame.unsubscribe.clone(),
        ..Mail::default()
    })
}

fn when(zone: &SiteZone, at: UtcMillis) -> String {
    let seconds = UtcMillis::from_millis(at.as_millis().div_euclid(1_000) * 1_000);
    format!("{} ({})", zone.on_the_wall(seconds).replace('T', " ").replace(".000", ""), zone.name())
}

fn colour(message: &Message) -> &'static str {
    match (message.reason, message.severity) {
        (Reason::Test, _) | (_, Severity::Info) => "#1a73e8",
        (_, Severity::Warning) => "#e8a01a",
        (_, Severity::Critical) => "#c5221f",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_cloud_core::notify::message::AlertFacts;
    use aivms_cloud_core::rules::{AlertId, IncidentId};
    use bytes::Bytes;

    fn message(title: &str, minute: i64) -> Message {
        let at = UtcMillis::from_millis(1_795_352_700_250 + minute * 60_000);
        let alert = AlertFacts {
            alert_id: AlertId::from_parts(at, 1),
            incident_id: IncidentId::from_parts(at, 2),
            step: 1,
            rule_id: None,
            rule_name: Some("Night <watch>".into()),
            edge_id: "edge_1".parse().unwrap(),
            edge_name: Some("Gate & yard".into()),
            camera_id: "dock".parse().ok(),
            zone_id: None,
            event_id: None,
        };
        Message {
            reason: Reason::Raised,
            tenant_id: "acme".into(),
            tenant_name: "Acme".into(),
            title: title.into(),
            severity: Severity::Critical,
            at,
            alert: Some(alert),
        }
    }

    fn frame(zone: &SiteZone) -> Frame<'_> {
        let unsubscribe = Some("https://vms.example.com/api/notifications/unsubscribe?token=a.b".parse().unwrap());
        Frame { to: "guard@example.com", zone, public_url: None, unsubscribe }
    }

    #[test]
    fn a_mail_tells_the_same_in_both_bodies_and_loads_nothing_from_outside() {
        let zone = SiteZone::of(Some(&"Europe/Berlin".to_owned().try_into().unwrap())).unwrap();
        let picture = Picture { content_id: "snapshot".into(), file_name: "s.jpg".into(), jpeg: Bytes::new() };
        let mail =
            of_one(&frame(&zone), &message("<script>alert(1)</script>", 0), "dlv".into(), Some(picture)).unwrap();
        let html = mail.html.unwrap();
        for text in ["2026-11-22 14:05:00+01:00 (Europe/Berlin)", "critical", "step 1"] {
            assert!(html.contains(text) && mail.text.contains(text), "{text} in {html} and {}", mail.text);
        }
        assert!(!html.contains("<script>") && html.contains("Night &#60;watch&#62;"), "{html}");
        assert!(mail.text.contains("Gate & yard / dock") && mail.text.contains("<script>alert(1)</script>"));
        assert!(html.contains("src=\"cid:snapshot\""));
        // Nothing that a mail program fetches by itself: links are only followed by hand.
        assert!(!html.contains("src=\"http") && !html.contains("url(") && !html.contains("<link"), "{html}");
    }

    #[test]
    fn mails_of_one_incident_are_one_conversation() {
        let zone = SiteZone::default();
        let (raised, mut escalated) = (message("x", 0), message("x", 5));
        escalated.alert.as_mut().unwrap().incident_id = raised.alert.as_ref().unwrap().incident_id;
        let of = |message: &Message| of_one(&frame(&zone), message, "id".into(), None).unwrap().thread;
        assert!(of(&raised).is_some() && of(&raised) == of(&escalated));
        assert_ne!(of(&raised), of(&message("x", 5)));
    }

    #[test]
    fn a_digest_counts_all_and_lists_the_first() {
        let zone = SiteZone::default();
        let messages: Vec<Message> = (0..150).map(|n| message(&format!("alert {n}!"), n)).collect();
        let mail = of_many(&frame(&zone), &messages.iter().collect::<Vec<_>>(), "id".into()).unwrap();
        assert_eq!(mail.subject, "150 alerts, up to critical");
        let html = mail.html.unwrap();
        for text in ["alert 0!", "alert 99!", "50 more"] {
            assert!(mail.text.contains(text) && html.contains(text), "{text}");
        }
        assert!(!mail.text.contains("alert 100!") && !html.contains("alert 100!"));
        assert!(mail.text.contains("token=a.b"));
    }
}
