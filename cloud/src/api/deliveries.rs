//! The log of deliveries: what was told to whom, and what came back.

use std::sync::Arc;

use aivms_cloud_core::notify::id::{ChannelId, DeliveryId};
use aivms_cloud_core::page::Cursor;
use aivms_cloud_core::rules::AlertId;
use aivms_contract::id::EventId;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};

use super::channels::NotifySeverity;
use super::events::{default_limit, page_request};
use super::failure::Failure;
use super::signed_in::SignedIn;
use super::values::{Text, Time, time};
use super::{Services, Tags};
use crate::clock;
use crate::store::{Attempt, DeliveryFilter, DeliveryState, LoggedDelivery, Means, UserRole};

pub(super) struct DeliveriesApi(pub Arc<Services>);

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case", rename = "DeliveryState")]
enum StateAnswer {
    /// To be sent, or tried again.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// Given up.
    Failed,
    /// Not sent: quiet hours, an address that wants no mails, or a rule that names a channel which is gone or off.
    LeftOut,
}

/// By which means a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", rename = "DeliveryMeans")]
enum MeansAnswer {
    /// Mail.
    Mail,
    /// Webhook.
    Webhook,
    /// Web push.
    Push,
}

/// One message to one receiver.
#[derive(Debug, Object)]
#[oai(rename = "Delivery")]
struct DeliveryAnswer {
    /// Its identifier; of a webhook it is the `webhook-id` too, the same in every try.
    delivery_id: Text<DeliveryId>,
    /// What is told: `alert.raised`, `alert.escalated`, `alert.acknowledged`, `alert.resolved`, `alert.reopened` or
    /// `notification.test`.
    reason: String,
    /// The alert; absent for a test message.
    #[oai(nullable)]
    alert_id: Option<Text<EventId>>,
    /// The title of the message.
    title: String,
    /// How urgent it was.
    severity: NotifySeverity,
    /// By which means it travels; `webhook` for a channel that a rule names and that is gone, or its user.
    means: MeansAnswer,
    /// To whom: the address of a mail, `default` for the webhook of the cloud's settings, else the channel's or browser's
    /// identifier.
    receiver: String,
    /// The channel it came by; absent for what a user chose and for the webhook of the cloud's settings.
    #[oai(nullable)]
    channel_id: Option<String>,
    /// What became of it.
    state: StateAnswer,
    /// Failed tries in a row.
    #[oai(validator(minimum(value = "0"), maximum(value = "4294967295")))]
    attempts: u32,
    /// When it was owed.
    owed_at: Text<Time>,
    /// When it is tried next; absent when it is not.
    #[oai(nullable)]
    next_attempt_at: Option<Text<Time>>,
    /// When it got its state; absent while it waits.
    #[oai(nullable)]
    finished_at: Option<Text<Time>>,
    /// The HTTP status that the receiver answered last.
    #[oai(nullable, validator(minimum(value = "100"), maximum(value = "999")))]
    last_status: Option<u16>,
    /// What went wrong last, or why it was left out.
    #[oai(nullable)]
    last_error: Option<String>,
}

/// One try of a delivery.
#[derive(Debug, Object)]
#[oai(rename = "DeliveryAttempt")]
struct AttemptAnswer {
    /// When it began.
    at: Text<Time>,
    /// How long it took, in milliseconds.
    #[oai(validator(minimum(value = "0"), maximum(value = "9007199254740991")))]
    took_ms: u64,
    /// The HTTP status of the answer; absent when there was none.
    #[oai(nullable, validator(minimum(value = "100"), maximum(value = "999")))]
    status: Option<u16>,
    /// What went wrong; absent when nothing did.
    #[oai(nullable)]
    error: Option<String>,
}

/// A delivery with its tries.
#[derive(Debug, Object)]
struct DeliveryWithAttempts {
    /// The delivery.
    delivery: DeliveryAnswer,
    /// Its last tries, the newest first.
    attempts: Vec<AttemptAnswer>,
}

/// A page of deliveries.
#[derive(Debug, Object)]
struct DeliveryPage {
    /// Newest first.
    items: Vec<DeliveryAnswer>,
    /// Where the next page begins; absent on the last one.
    #[oai(nullable)]
    next_cursor: Option<Text<Cursor>>,
}

#[OpenApi(prefix_path = "/api/notifications/deliveries", tag = "Tags::Notifications")]
impl DeliveriesApi {
    /// List deliveries
    ///
    /// What was told to whom and what came of it, newest first; kept for 30 days. All filters given must match. Needs the
    /// role admin.
    #[oai(path = "/", method = "get", operation_id = "list_deliveries")]
    async fn list(
        &self,
        signed_in: SignedIn,
        /// Of this alert.
        alert_id: Query<Option<Text<EventId>>>,
        /// By this channel.
        channel_id: Query<Option<Text<ChannelId>>>,
        /// In this state.
        state: Query<Option<StateAnswer>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<DeliveryPage>, Failure> {
        let user = signed_in.with_role(UserRole::Admin)?;
        let filter = DeliveryFilter {
            alert: alert_id.0.map(|Text(id)| AlertId(id)),
            channel: channel_id.0.map(|Text(id)| id.to_string()),
            state: state.0.map(Into::into),
        };
        let page = self.0.store.list_deliveries(user.tenant, filter, page_request(limit.0, cursor.0)).await?;
        let last = page.next(|delivery| Text(Cursor(delivery.id.0)));
        Ok(Json(DeliveryPage { items: page.items.into_iter().map(answer).collect(), next_cursor: last }))
    }

    /// Show a delivery with its tries
    ///
    /// Needs the role admin.
    #[oai(path = "/:delivery_id", method = "get", operation_id = "show_delivery")]
    async fn show(
        &self,
        signed_in: SignedIn,
        delivery_id: Path<Text<DeliveryId>>,
    ) -> Result<Json<DeliveryWithAttempts>, Failure> {
        let user = signed_in.with_role(UserRole::Admin)?;
        let (delivery, attempts) = self.0.store.delivery(user.tenant, delivery_id.0.0).await?;
        let attempts = attempts.into_iter().map(attempt).collect();
        Ok(Json(DeliveryWithAttempts { delivery: answer(delivery), attempts }))
    }

    /// Send a delivery again
    ///
    /// At once, under its old identifier, and with all its tries; the same message goes out, signed anew. Needs the role
    /// admin.
    #[oai(path = "/:delivery_id/redeliver", method = "post", operation_id = "redeliver")]
    async fn redeliver(
        &self,
        signed_in: SignedIn,
        delivery_id: Path<Text<DeliveryId>>,
    ) -> Result<Json<DeliveryAnswer>, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        Ok(Json(answer(store.redeliver(user.tenant, delivery_id.0.0, clock::now()).await?)))
    }
}

fn answer(delivery: LoggedDelivery) -> DeliveryAnswer {
    let waits = delivery.state == DeliveryState::Waiting;
    let receiver = delivery.receiver.split_once(':').map_or(delivery.receiver.as_str(), |(_, receiver)| receiver);
    DeliveryAnswer {
        delivery_id: Text(delivery.id),
        reason: delivery.message.reason.as_str().into(),
        alert_id: delivery.message.alert.as_ref().map(|facts| Text(facts.alert_id.0)),
        severity: delivery.message.severity.into(),
        means: match delivery.means {
            Means::Mail => MeansAnswer::Mail,
            Means::Webhook => MeansAnswer::Webhook,
            Means::Push => MeansAnswer::Push,
        },
        receiver: receiver.to_owned(),
        title: delivery.message.title,
        channel_id: delivery.channel,
        state: delivery.state.into(),
        attempts: delivery.attempts,
        owed_at: time(delivery.owed_at),
        next_attempt_at: waits.then(|| time(delivery.due_at)),
        finished_at: delivery.finished_at.map(time),
        last_status: delivery.last_status,
        last_error: delivery.last_error,
    }
}

fn attempt(attempt: Attempt) -> AttemptAnswer {
    AttemptAnswer { at: time(attempt.at), took_ms: attempt.took_ms, status: attempt.status, error: attempt.error }
}

impl From<StateAnswer> for DeliveryState {
    fn from(state: StateAnswer) -> Self {
        match state {
            StateAnswer::Waiting => Self::Waiting,
            StateAnswer::Delivered => Self::Delivered,
            StateAnswer::Failed => Self::Failed,
            StateAnswer::LeftOut => Self::LeftOut,
        }
    }
}

impl From<DeliveryState> for StateAnswer {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Waiting => Self::Waiting,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Failed => Self::Failed,
            DeliveryState::LeftOut => Self::LeftOut,
        }
    }
}
