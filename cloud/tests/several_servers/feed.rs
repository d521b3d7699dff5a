//! The live feed as a browser reads it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Response;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::servers::Owner;

/// An open feed; what it tells is read by a task of its own.
pub(crate) struct Feed {
    told: mpsc::UnboundedReceiver<Told>,
}

/// An event's id, and the place in the feed behind it.
struct Told {
    event: Option<String>,
    place: Option<String>,
}

impl Feed {
    pub(crate) async fn open(base: &str, owner: &Owner) -> Self {
        Self::start(base, owner, None).await
    }

    /// Goes on from a place, as a browser does when it connects again.
    pub(crate) async fn resume(base: &str, owner: &Owner, place: &str) -> Self {
        Self::start(base, owner, Some(place)).await
    }

    async fn start(base: &str, owner: &Owner, place: Option<&str>) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = http.get(format!("{base}/api/events/live")).bearer_auth(&owner.token);
        if let Some(place) = place {
            request = request.header("Last-Event-ID", place);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        let (sender, told) = mpsc::unbounded_channel();
        tokio::spawn(read(answer, sender));
        Self { told }
    }

    /// Reads until every event of `wanted` has been told; returns all ids in the order of telling.
    pub(crate) async fn until_heard(mut self, wanted: &BTreeSet<String>, limit: Duration) -> Vec<String> {
        let (deadline, mut missing, mut heard) = (Instant::now() + limit, wanted.clone(), Vec::new());
        while !missing.is_empty() {
            let told = timeout_at(deadline, self.told.recv()).await;
            let told = told.unwrap_or_else(|_| panic!("{} of {} not told", missing.len(), wanted.len()));
            if let Some(event) = told.expect("the feed goes on").event {
                missing.remove(&event);
                heard.push(event);
            }
        }
        heard
    }

    /// Reads to the end of a feed that was cut off; returns what was told and the last place.
    pub(crate) async fn cut_off(mut self) -> (Vec<String>, String) {
        let (mut heard, mut last) = (Vec::new(), String::new());
        while let Some(told) = self.told.recv().await {
            heard.extend(told.event);
            last = told.place.unwrap_or(last);
        }
        (heard, last)
    }
}

/// Reads whole messages; one that was cut in the middle does not count, as the standard says.
async fn read(answer: Response, sender: mpsc::UnboundedSender<Told>) {
    let (mut stream, mut text) = (answer.bytes_stream(), String::new());
    while let Some(Ok(bytes)) = stream.next().await {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
        while let Some((message, rest)) = text.split_once("\n\n") {
            let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            assert_ne!(field("event:"), Some("reset"), "{message}");
            let body = field("data:").filter(|data| !data.is_empty()).map(|data| data.parse::<Value>().unwrap());
            let event = body.and_then(|body| body["id"].as_str().map(str::to_owned));
            if sender.send(Told { event, place: field("id:").map(str::to_owned) }).is_err() {
                return;
            }
            text = rest.to_owned();
        }
    }
}
