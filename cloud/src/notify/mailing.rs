//! Mails: one by one, or many alerts in one.

use std::time::Instant;

use aivms_cloud_core::notify::digest::MailPlan;
use aivms_cloud_core::notify::message::Message;
use aivms_contract::media::{MediaKind, MediaType};
use aivms_contract::schedule::SiteZone;
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::letter::{self, Frame};
use super::mail::{Mail, MailError, Mailer, Picture};
use super::sending::{Outcome, Sender, Sent, in_vain};
use crate::clock;
use crate::store::{Due, DueDelivery, EventFilter, Next, PageRequest, Report, SharedStore, Turn};

/// Largest picture that goes into a mail.
const MAX_PICTURE_BYTES: u64 = 2 << 20;

/// Sends one mail, or has all wait for the next digest.
pub(super) async fn send(sender: &Sender, store: &SharedStore, turn: &Turn, due: &Due) -> Sent {
    let mut sent = Sent::default();
    let Some(first) = due.deliveries.first() else { return sent };
    let Some(mailer) = &sender.mailer else {
        let error = "no mail server is set (smtp_host)";
        for delivery in &due.deliveries {
            sent.take(due, delivery, in_vain(&error), clock::now(), std::time::Duration::ZERO);
        }
        return sent;
    };
    let told = match sender.budget.plan(&due.sent, due.deliveries.len(), clock::now()) {
        MailPlan::Wait(until) => {
            sent.reports = due.deliveries.iter().map(|delivery| (delivery.clone(), waits(until))).collect();
            return sent;
        }
        MailPlan::Singles => std::slice::from_ref(first),
        MailPlan::Digest => &due.deliveries,
    };
    let (begun, watch) = (clock::now(), Instant::now());
    let outcome = mail(sender, mailer, store, turn, told).await;
    for delivery in told {
        sent.take(due, delivery, outcome.clone(), begun, watch.elapsed());
    }
    sent
}

fn waits(until: aivms_contract::time::UtcMillis) -> Report {
    Report { tried_at: None, took: std::time::Duration::ZERO, status: None, error: None, next: Next::At(until) }
}

async fn mail(sender: &Sender, mailer: &Mailer, store: &SharedStore, turn: &Turn, told: &[DueDelivery]) -> Outcome {
    let zone = zone(store, told).await;
    let to = turn.receiver.trim_start_matches("mail:");
    let unsubscribe = sender.public_url.as_ref().and_then(|url| sender.unsubscribe.link(url, turn.tenant, to));
    let frame = Frame { to, zone: &zone, public_url: sender.public_url.as_ref(), unsubscribe };
    let mail: askama::Result<Mail> = match told {
        [only] => {
            let picture = picture(sender, store, turn, &only.message).await;
            letter::of_one(&frame, &only.message, only.id.to_string(), picture)
        }
        many => {
            let messages: Vec<&Message> = many.iter().map(|delivery| &delivery.message).collect();
            letter::of_many(
                &frame,
                &messages,
                format!("digest-{}", many.first().map_or_else(String::new, |d| d.id.to_string())),
            )
        }
    };
    let mail = match mail {
        Ok(mail) => mail,
        Err(error) => return in_vain(&error),
    };
    match mailer.send(&mail).await {
        Ok(()) => Outcome::Delivered(None),
        Err(MailError::Later(error)) => Outcome::Again { status: None, error, asked: None },
        Err(error @ MailError::Server(_)) => Outcome::NoAnswer(error.to_string()),
        Err(error @ MailError::Refused(_)) => in_vain(&error),
    }
}

/// On whose clock the mail shows times: that of the person it is for, else UTC.
async fn zone(store: &SharedStore, told: &[DueDelivery]) -> SiteZone {
    let Some(person) = told.first().and_then(|delivery| delivery.person) else { return SiteZone::default() };
    let preferences = store.preferences(person).await.unwrap_or_default();
    SiteZone::of(preferences.time_zone.as_ref()).unwrap_or_default()
}

/// The snapshot made for the alert's event, when it is here already: the mail does not wait for it.
async fn picture(sender: &Sender, store: &SharedStore, turn: &Turn, message: &Message) -> Option<Picture> {
    let (files, event) = (sender.media.as_ref()?, message.alert.as_ref()?.event_id?);
    let filter = EventFilter { made_for: Some(event), ..EventFilter::default() };
    let page = PageRequest { before: None, limit: 10 };
    let found = store.list_media_events(turn.tenant, MediaKind::Snapshot, filter, page).await.ok()?;
    let media = found.items.into_iter().filter_map(|(_, media)| media).find(|media| {
        media.stored_at.is_some() && media.content_type == MediaType::Jpeg && media.size <= MAX_PICTURE_BYTES
    })?;
    let pieces: Vec<Bytes> = files.read(&media, 0..media.size).await.ok()?.try_collect().await.ok()?;
    let file_name = format!("{}.jpg", media.media_id);
    Some(Picture { content_id: "snapshot".into(), file_name, jpeg: pieces.concat().into() })
}
