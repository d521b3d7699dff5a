//! Sends the mails about accounts: invitations, resets of passwords.

use std::time::Duration;

use aivms_cloud_core::notify::backoff;
use futures_util::future::join_all;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::mail::{Mail, MailError, Mailer};
use crate::clock;
use crate::store::{MailFate, News, OutgoingMail, SharedStore, StoreError};

/// Mails on their way at once.
const AT_ONCE: u32 = 8;
/// Longest time between two looks: news may be lost.
const LOOK: Duration = Duration::from_secs(5);

/// Sends mails until `stop`. Without a mail server they wait until they are of no use any more.
pub async fn send_mails(store: SharedStore, mailer: Option<Mailer>, stop: CancellationToken) {
    let Some(mailer) = mailer else { return stop.cancelled().await };
    let mut news = store.news();
    let work = async {
        loop {
            match round(&store, &mailer).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::warn!(%error, "mails can't be taken or reported"),
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = owed(&mut news) => {}
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Sends what is due; returns how many.
async fn round(store: &SharedStore, mailer: &Mailer) -> Result<usize, StoreError> {
    let mails = store.take_mails(AT_ONCE, clock::now()).await?;
    let sending =
        mails.iter().map(|mail| async move { store.report_mail(mail, send(mailer, mail).await, clock::now()).await });
    join_all(sending).await.into_iter().collect::<Result<(), _>>()?;
    Ok(mails.len())
}

async fn send(mailer: &Mailer, owed: &OutgoingMail) -> MailFate {
    let mail = Mail {
        to: owed.to.clone(),
        subject: owed.subject.clone(),
        text: owed.text.clone(),
        html: owed.html.clone(),
        ..Mail::default()
    };
    match mailer.send(&mail).await {
        Ok(()) => MailFate::Sent,
        Err(MailError::Refused(error)) => {
            tracing::info!(%error, "a mail about an account is refused for good");
            MailFate::GivenUp
        }
        Err(error @ (MailError::Later(_) | MailError::Server(_))) => {
            tracing::info!(%error, "a mail about an account is tried again later");
            let (failed, jitter) = (owed.attempts + 1, fastrand::u32(..));
            let next = backoff::next_attempt(failed, clock::now(), owed.expires_at, jitter, None);
            next.map_or(MailFate::GivenUp, MailFate::Again)
        }
    }
}

/// Returns when a mail may be owed.
async fn owed(news: &mut tokio::sync::broadcast::Receiver<News>) {
    loop {
        match news.recv().await {
            Ok(News::Mail | News::Missed) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
