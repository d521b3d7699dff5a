//! News between processes: `notify` with the commit, `listen` on a connection of its own.

use std::convert::Infallible;
use std::future::poll_fn;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{AsyncMessage, Connection, Socket};

use super::super::{News, StoreError};
use super::error::store_error;
use super::settings::PostgresSettings;
use super::tls::connector;

/// Most bytes of a payload; the server refuses 8,000.
const PAYLOAD: usize = 7_900;
/// Pause after the connection was lost or could not be made.
const RETRY: Duration = Duration::from_secs(1);
/// Time between two looks whether the connection is still there, and the longest wait for the answer.
const LOOK: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// The texts that carry news, as few as fit. News too long for one becomes [`News::Missed`].
pub(super) fn payloads(news: &[News]) -> Vec<String> {
    let texts = news.iter().map(|news| {
        let text = serde_json::to_string(news).unwrap_or_default();
        if (1..PAYLOAD - 2).contains(&text.len()) { text } else { MISSED.to_owned() }
    });
    let mut payloads: Vec<String> = Vec::new();
    for text in texts {
        match payloads.last_mut() {
            Some(last) if last.len() + text.len() + 2 < PAYLOAD => {
                last.push(',');
                last.push_str(&text);
            }
            _ => payloads.push(format!("[{text}")),
        }
    }
    payloads.iter_mut().for_each(|payload| payload.push(']'));
    payloads
}

/// [`News::Missed`] in JSON.
const MISSED: &str = r#""missed""#;

/// Passes news on until dropped. After each time the connection was away it says [`News::Missed`].
pub(super) async fn listen(settings: PostgresSettings, news: broadcast::Sender<News>) -> Infallible {
    loop {
        match hear(&settings, &news).await {
            Err(error) => tracing::warn!(%error, "no news from other processes; trying again"),
            Ok(never) => match never {},
        }
        tokio::time::sleep(RETRY.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
    }
}

async fn hear(settings: &PostgresSettings, news: &broadcast::Sender<News>) -> Result<Infallible, StoreError> {
    let told = |error: tokio_postgres::Error| store_error(&error);
    let (client, connection) = settings.config.connect(connector(&settings.tls)?).await.map_err(told)?;
    let watch = async {
        client.batch_execute("listen aivms_news").await.map_err(told)?;
        // Whatever was said while nobody listened.
        let _ = news.send(News::Missed);
        loop {
            tokio::time::sleep(LOOK.0).await;
            let answer = tokio::time::timeout(LOOK.1, client.batch_execute("")).await;
            answer.map_err(|_| StoreError::Unwritable("the database is silent".into()))?.map_err(told)?;
        }
    };
    tokio::select! {
        ended = pass_on(connection, news) => Err(ended),
        ended = watch => ended,
    }
}

/// Reads the connection to its end and says why it ended.
async fn pass_on<T: TlsStream + Unpin>(
    mut connection: Connection<Socket, T>,
    news: &broadcast::Sender<News>,
) -> StoreError {
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                // A text that can't be read is of a newer program; what it says can be read from the database.
                let read: Vec<News> =
                    serde_json::from_str(notification.payload()).unwrap_or_else(|_| vec![News::Missed]);
                // Nobody may be listening inside the process.
                read.into_iter().for_each(|heard| drop(news.send(heard)));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return store_error(&error),
            None => return StoreError::Unwritable("the database closed the connection for news".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payloads: &[String]) -> Vec<News> {
        payloads.iter().flat_map(|payload| serde_json::from_str::<Vec<News>>(payload).unwrap()).collect()
    }

    #[test]
    fn the_news_of_a_commit_share_a_payload_and_come_back_as_they_were() {
        let news = [News::Events(7), News::Withdrawn(vec![[9; 32]]), News::Deliveries];
        let texts = payloads(&news);
        assert_eq!((texts.len(), read(&texts)), (1, news.to_vec()));
        assert!(payloads(&[]).is_empty());
    }

    #[test]
    fn no_payload_is_longer_than_the_server_takes() {
        let many: Vec<_> = (0..2_000).map(News::Command).collect();
        let texts = payloads(&many);
        assert!(texts.iter().all(|text| text.len() < 8_000));
        assert_eq!(read(&texts), many);
        let long = payloads(&[News::Withdrawn(vec![[255; 32]; 1_000]), News::Deliveries]);
        assert_eq!(read(&long), [News::Missed, News::Deliveries]);
    }

    #[test]
    fn missed_is_written_as_it_is_read() {
        assert_eq!(serde_json::to_string(&News::Missed).unwrap(), MISSED);
    }
}
