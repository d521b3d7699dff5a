//! The live feed: server-sent events, resumable by the sealed place of each event in the feed.
//!
//! A stream holds no queue: each watcher reads the database at its own pace, from the number it has seen, when a hint
//! says that there is more. A slow watcher is late, and costs nobody anything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::rights::CameraScope;
use aivms_contract::envelope::Body;
use futures_util::Stream;
use futures_util::stream::unfold;
use poem::web::Data;
use poem::web::headers::authorization::Bearer;
use poem::web::headers::{Authorization, HeaderMapExt};
use poem::web::sse::{Event, SSE};
use poem::{IntoResponse, Request, Response, handler};
use poem_openapi::types::ToJSON;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::alerts::AlertAnswer;
use super::events::{detection_answer, zone_event_answer};
use super::failure::Failure;
use super::feed_cursor::Place;
use super::signed_in::{Session, called_by, session_of};
use super::user_changes::changed;
use super::{Services, address};
use crate::clock;
use crate::store::{Asker, FedAlert, News, StoreError, StoredEvent, TenantKey, UserKey};

/// Most missed events that are sent again; beyond, lists are the better way to catch up.
const REPLAY_LIMIT: u32 = 1_000;
/// Events read at once.
const READ_LIMIT: u32 = 256;
/// Silence after which a comment is sent, so that proxies and clients see that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often the token is looked at again.
const RECHECK: Duration = Duration::from_secs(60);
/// Least time between two reads of one watcher: under load several commits come together.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// Where the stream is.
const PATH: &str = "/api/events/live";
/// What browsers wait before they connect again.
const RETRY_MS: u64 = 2_000;

/// `GET /api/events/live`.
#[handler]
pub(super) async fn live(request: &Request, services: Data<&Arc<Services>>) -> poem::Result<Response> {
    let bearer = request.headers().typed_get::<Authorization<Bearer>>();
    let bearer = bearer.ok_or_else(|| Failure::unauthorized("a bearer token is needed; sign in first", "Bearer"))?;
    let from = address(request, &services);
    let session = called_by(&services, bearer.token(), from, request.original_uri().path()).await?;
    let seen = last_event_id(request, &services, session.user.tenant).await?;
    let watcher = Watcher::start(Arc::clone(&services), bearer.token(), &session, seen).await?;
    Ok(SSE::new(watcher.into_stream()).keep_alive(KEEP_ALIVE).into_response())
}

async fn last_event_id(request: &Request, services: &Services, tenant: TenantKey) -> Result<Option<Place>, Failure> {
    let wrong = || Failure::bad_request(Some("Last-Event-ID"), "Last-Event-ID: must be the id of an event seen before");
    match request.header("last-event-id") {
        None | Some("") => Ok(None),
        Some(text) => {
            let alerts = services.store.alert_head(tenant).await?;
            services.feed_cursors.read(tenant, text, alerts).map(Some).ok_or_else(wrong)
        }
    }
}

/// One stream.
pub(super) struct Watcher {
    services: Arc<Services>,
    tenant: TenantKey,
    /// The cameras whose events are sent.
    cameras: CameraScope,
    token: String,
    user: UserKey,
    address: String,
    /// Whose rights have changed.
    changes: broadcast::Receiver<Option<UserKey>>,
    /// When the token must be looked at again, at the latest at its end.
    recheck_at: Instant,
    hints: watch::Receiver<i64>,
    /// Tells of changed alerts.
    news: broadcast::Receiver<News>,
    /// Up to where everything has been read.
    seen: Place,
    /// Whether more is there without a further hint.
    behind: bool,
    read_after: Instant,
    ready: VecDeque<Event>,
}

impl Watcher {
    pub(super) async fn start(
        services: Arc<Services>,
        token: &str,
        session: &Session,
        seen: Option<Place>,
    ) -> Result<Self, Failure> {
        // Subscribed before the head is read, so that no commit falls between the two.
        let (hints, news) = (services.hints.subscribe(), services.store.news());
        let alerts = services.store.alert_head(session.user.tenant).await?;
        let head = Place { events: services.store.feed_head().await?, alerts };
        let mut watcher = Self {
            tenant: session.user.tenant,
            cameras: session.user.cameras.clone(),
            user: session.user.key,
            address: session.address.clone(),
            changes: services.changes.subscribe(),
            token: token.to_owned(),
            recheck_at: next_look(session),
            hints,
            news,
            seen: head,
            behind: false,
            read_after: Instant::now(),
            ready: VecDeque::from([Event::retry(RETRY_MS)]),
            services,
        };
        if let Some(seen) = seen {
            watcher.replay(seen, head).await?;
        }
        // An id without data: it makes no event, and a client cut off before the first one knows where to go on.
        let place = watcher.id(watcher.seen);
        watcher.ready.push_back(Event::message("").id(place));
        Ok(watcher)
    }

    async fn replay(&mut self, seen: Place, head: Place) -> Result<(), StoreError> {
        let missed = self.services.store.feed_after(self.tenant, seen.events, REPLAY_LIMIT + 1).await?;
        let alerts = self.services.store.alerts_after(self.asker(), seen.alerts, REPLAY_LIMIT + 1).await?;
        let is_unknown = seen.events > head.events || seen.alerts > head.alerts;
        if is_unknown || missed.len().max(alerts.len()) > REPLAY_LIMIT as usize {
            let reason = json!({ "reason": "too much was missed to send it again; read the lists" });
            self.ready.push_back(Event::message(reason.to_string()).event_type("reset").id(self.id(head)));
        } else {
            // What is sent first must not count what is sent later as seen.
            self.seen.alerts = seen.alerts;
            self.take(missed);
            self.take_alerts(alerts);
            self.seen.alerts = self.seen.alerts.max(head.alerts);
        }
        Ok(())
    }

    /// Makes the token due for a look.
    #[cfg(test)]
    pub(super) fn look_now(&mut self) {
        self.recheck_at = Instant::now();
    }

    fn into_stream(self) -> impl Stream<Item = Event> + Send {
        unfold(self, |mut watcher| async move { watcher.next().await.map(|event| (event, watcher)) })
    }

    /// The next event; `None` ends the stream.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if Instant::now() >= self.recheck_at {
                if !self.recheck().await {
                    return None;
                }
                // A hint may have been lost.
                self.behind = true;
            }
            if !self.behind && !self.hinted().await? {
                continue;
            }
            sleep_until(self.read_after).await;
            self.read().await;
        }
    }

    /// Waits for a hint; `Some(false)` when the token is due first, `None` when the cloud stops.
    async fn hinted(&mut self) -> Option<bool> {
        let tenant = self.tenant;
        tokio::select! {
            () = self.services.stop.cancelled() => None,
            () = changed(&mut self.changes, self.user) => {
                self.recheck_at = Instant::now();
                Some(false)
            }
            () = alerts_changed(&mut self.news, tenant) => Some(true),
            changed = timeout_at(self.recheck_at, self.hints.changed()) => match changed {
                Ok(changed) => changed.ok().map(|()| true),
                Err(_) => Some(false),
            },
        }
    }

    async fn read(&mut self) {
        // What a hint announced is committed, so it is in what is read now.
        let announced = *self.hints.borrow_and_update();
        self.read_after = Instant::now() + LEAST_PAUSE;
        if let Err(error) = self.read_up_to(announced).await {
            tracing::warn!(%error, "reading the live feed");
            self.behind = true;
            self.read_after = Instant::now() + Duration::from_secs(1);
        }
    }

    async fn read_up_to(&mut self, announced: i64) -> Result<(), StoreError> {
        let events = self.services.store.feed_after(self.tenant, self.seen.events, READ_LIMIT).await?;
        self.behind = events.len() == READ_LIMIT as usize;
        self.take(events);
        if !self.behind {
            self.seen.events = self.seen.events.max(announced);
        }
        let alerts = self.services.store.alerts_after(self.asker(), self.seen.alerts, READ_LIMIT).await?;
        self.behind |= alerts.len() == READ_LIMIT as usize;
        self.take_alerts(alerts);
        Ok(())
    }

    fn take(&mut self, events: Vec<StoredEvent>) {
        for event in events {
            self.seen.events = self.seen.events.max(event.feed_number);
            let id = self.id(Place { events: event.feed_number, ..self.seen });
            if let Some(event) = within(event, &self.cameras) {
                self.ready.push_back(message(event, id));
            }
        }
    }

    fn take_alerts(&mut self, alerts: Vec<FedAlert>) {
        for FedAlert { number, alert } in alerts {
            self.seen.alerts = self.seen.alerts.max(number);
            let Some(data) = AlertAnswer::of(alert).and_then(|answer| answer.to_json()) else { continue };
            let id = self.id(Place { alerts: number, ..self.seen });
            self.ready.push_back(Event::message(data.to_string()).id(id).event_type("alert"));
        }
    }

    fn asker(&self) -> Asker {
        Asker { tenant: self.tenant, cameras: self.cameras.clone() }
    }

    /// What this watcher may know of a place in the feed.
    fn id(&self, place: Place) -> String {
        self.services.feed_cursors.seal(self.tenant, place)
    }

    /// Whether the token still counts.
    async fn recheck(&mut self) -> bool {
        match session_of(&self.services, &self.token, self.address.clone(), PATH).await {
            Ok(session) => {
                self.recheck_at = next_look(&session);
                self.cameras = session.user.cameras;
                true
            }
            Err(Failure::Unauthorized(..) | Failure::Forbidden(..)) => false,
            // The database did not answer; the token is not to blame.
            Err(_) => {
                self.recheck_at = Instant::now() + Duration::from_secs(5);
                true
            }
        }
    }
}

/// Waits until alerts of the tenant have changed, or may have.
async fn alerts_changed(news: &mut broadcast::Receiver<News>, tenant: TenantKey) {
    loop {
        match news.recv().await {
            Ok(News::Alerts(changed)) if changed == tenant => return,
            Ok(News::Missed) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            // The store closes: the stop comes next.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn next_look(session: &Session) -> Instant {
    Instant::now() + session.ends_at.since(clock::now()).min(RECHECK)
}

/// What of an event may be seen by who sees `cameras` only; `None` when nothing.
fn within(mut event: StoredEvent, cameras: &CameraScope) -> Option<StoredEvent> {
    if let Body::Health(health) = &mut event.envelope.body {
        health.cameras.retain(|camera| cameras.sees(&event.edge_id, &camera.camera_id));
        health.chains.retain(|chain| cameras.sees(&event.edge_id, &chain.camera_id));
        health.notices.retain(|notice| cameras.sees_maybe(&event.edge_id, notice.camera_id.as_ref()));
    }
    cameras.sees_maybe(&event.edge_id, event.envelope.body.camera()).then_some(event)
}

fn message(event: StoredEvent, id: String) -> Event {
    let kind = event.envelope.body.kind().as_str();
    Event::message(data(event).to_string()).id(id).event_type(kind)
}

/// The list item where there is a list, and the same shape for kinds that have none yet.
fn data(event: StoredEvent) -> Value {
    match &event.envelope.body {
        Body::Detections(_) => detection_answer(event).to_json(),
        Body::ZoneEvents(_) => zone_event_answer(event).to_json(),
        Body::Alerts(body) => Some(flat(&event, body)),
        Body::Health(body) => Some(flat(&event, body)),
        Body::Clips(body) => Some(flat(&event, body)),
        Body::Snapshots(body) => Some(flat(&event, body)),
        Body::Footage(body) => Some(flat(&event, body)),
    }
    .unwrap_or_default()
}

fn flat(event: &StoredEvent, body: &impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(body).expect("contract types always serialise");
    if let Value::Object(members) = &mut value {
        members.insert("id".into(), event.envelope.id.to_string().into());
        members.insert("edge_id".into(), event.edge_id.to_string().into());
        members.insert("received_at".into(), event.received_at.to_string().into());
    }
    value
}
