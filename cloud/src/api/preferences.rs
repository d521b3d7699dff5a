//! What people choose for themselves: by which means, how urgent, when not; and the browsers that take pushes.

use std::sync::Arc;

use aivms_cloud_core::account;
use aivms_cloud_core::notify::id::SubscriptionId;
use aivms_cloud_core::notify::preferences::Preferences;
use aivms_contract::desired::{Schedule, ScheduleSpan, TimeOfDay, Weekday};
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Deserialize;
use url::Url;

use super::channels::NotifySeverity;
use super::failure::Failure;
use super::idempotency::{KeyHeader, Made};
use super::signed_in::SignedIn;
use super::values::{Body, Text, Time, time};
use super::{Services, Tags, secrets};
use crate::clock;
use crate::notify::push::{KeysError, SubscriptionKeys};
use crate::store::{PushSubscription, Store, UserRole};

pub(super) struct PreferencesApi(pub Arc<Services>);

/// What a person wants to be told of.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(rename = "NotificationPreferences", example)]
struct PreferencesBody {
    /// Whether alerts come by mail, to the address of sign-in.
    mail: bool,
    /// Whether alerts come by web push, on the browsers that were subscribed.
    push: bool,
    /// The least urgent alerts that are told.
    least_severity: NotifySeverity,
    /// Whose clock `quiet_hours` are meant by, an IANA name; UTC when absent.
    #[oai(nullable, validator(min_length = 1, max_length = 64))]
    time_zone: Option<String>,
    /// When nothing is told: mails wait for the end, pushes are left out. Empty for never; 64 spans at most.
    quiet_hours: Vec<QuietSpan>,
    /// The least urgent alerts that are told in quiet hours too; absent when none is.
    #[oai(nullable)]
    break_through: Option<NotifySeverity>,
}

/// The same hours on some days of the week.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
struct QuietSpan {
    /// Days on which it begins; empty for every day.
    days: Vec<QuietDay>,
    /// When it begins, as `22:00`.
    #[oai(validator(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    from: String,
    /// When it ends, as `06:00`; a time at or before `from` is on the next day, `24:00` is midnight.
    #[oai(validator(pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"))]
    to: String,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum QuietDay {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A browser to be subscribed, as `PushSubscription.toJSON()` gives it, and a name for it.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct NewSubscription {
    /// Where its push service takes messages.
    #[oai(validator(min_length = 1, max_length = 2000))]
    endpoint: String,
    /// The browser's keys.
    keys: NewSubscriptionKeys,
    /// What its owner calls it.
    #[oai(validator(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    ))]
    label: String,
}

/// The keys of a browser, in base64url.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
struct NewSubscriptionKeys {
    /// Its public key.
    #[oai(validator(max_length = 100))]
    p256dh: String,
    /// What it shares with its senders.
    #[oai(validator(max_length = 100))]
    auth: String,
}

/// A browser that takes pushes. Its endpoint and keys are never shown.
#[derive(Debug, Object)]
#[oai(rename = "PushSubscription")]
struct SubscriptionAnswer {
    /// Its identifier.
    subscription_id: Text<SubscriptionId>,
    /// What its owner calls it.
    label: String,
    /// The host of its push service.
    service: String,
    /// When it was subscribed.
    created_at: Text<Time>,
}

/// What a browser needs to subscribe, and those that did.
#[derive(Debug, Object)]
struct PushAnswer {
    /// The `applicationServerKey` for `PushManager.subscribe`: a public key of P-256 in base64url.
    public_key: String,
    /// The caller's browsers, by the time they were subscribed.
    items: Vec<SubscriptionAnswer>,
}

#[derive(ApiResponse)]
enum Subscribed {
    /// The browser gets pushes.
    #[oai(status = 201)]
    Created(Json<SubscriptionAnswer>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Unsubscribed {
    /// The browser gets no more pushes.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/notifications", tag = "Tags::Notifications")]
impl PreferencesApi {
    /// Show one's own preferences
    ///
    /// What the caller wants to be told of, by which means, and when not.
    #[oai(path = "/preferences", method = "get", operation_id = "show_preferences")]
    async fn show(&self, signed_in: SignedIn) -> Result<Json<PreferencesBody>, Failure> {
        Ok(Json(body(&self.0.store.preferences(signed_in.user().key).await?)))
    }

    /// Change one's own preferences
    ///
    /// Replaces all of them. Whoever chooses mail gets mails again, though it ended them by the link in one. An API key
    /// can't do this.
    #[oai(path = "/preferences", method = "put", operation_id = "change_preferences")]
    async fn change(&self, signed_in: SignedIn, body: Body<PreferencesBody>) -> Result<Json<PreferencesBody>, Failure> {
        let (by, own) = (signed_in.doer(), signed_in.in_person(UserRole::Viewer)?);
        let chosen = preferences(&body.0)?;
        self.0.store.by(&by).set_preferences(own.tenant, own.key, chosen.clone(), clock::now()).await?;
        Ok(Json(self::body(&chosen)))
    }

    /// Show how to subscribe, and one's own browsers
    ///
    /// The key belongs to the cloud and rarely changes; when it does, browsers must subscribe anew.
    #[oai(path = "/push", method = "get", operation_id = "show_push")]
    async fn push(&self, signed_in: SignedIn) -> Result<Json<PushAnswer>, Failure> {
        let user = signed_in.user();
        let found = self.0.store.list_push_subscriptions(user.tenant, user.key).await?;
        let public_key = self.0.notifications.vapid_public.clone();
        Ok(Json(PushAnswer { public_key, items: found.into_iter().map(subscription).collect() }))
    }

    /// Subscribe a browser
    ///
    /// It gets the caller's alerts from now on. Of one person's browsers the last 20 count. Messages are encrypted for the
    /// browser (RFC 8291); its push service can't read them. An API key can't do this.
    #[oai(path = "/push", method = "post", operation_id = "subscribe_push")]
    async fn subscribe(
        &self,
        signed_in: SignedIn,
        body: Body<NewSubscription>,
        /// Drawn anew for each thing to be made: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
    ) -> Result<Subscribed, Failure> {
        // A browser goes on getting alerts of all that the person sees, whatever becomes of a key.
        let (asking, own) = (signed_in.asking(), signed_in.in_person(UserRole::Viewer)?);
        let new = self.new_subscription(&body.0)?;
        let work = move |store: Store| async move {
            let made = subscription(store.subscribe_push(own.tenant, own.key, new).await?);
            let location = format!("/api/notifications/push/{}", made.subscription_id.0);
            Ok(Made { body: made, location })
        };
        let Made { body, location } = self.0.once(&asking, "subscribe_push", key, &body.0, work).await?;
        Ok(Subscribed::Created(Json(body), location))
    }

    /// Unsubscribe a browser
    #[oai(path = "/push/:subscription_id", method = "delete", operation_id = "unsubscribe_push")]
    async fn unsubscribe(
        &self,
        signed_in: SignedIn,
        subscription_id: Path<Text<SubscriptionId>>,
    ) -> Result<Unsubscribed, Failure> {
        let by = signed_in.doer();
        let user = signed_in.user();
        self.0.store.by(&by).unsubscribe_push(user.tenant, user.key, subscription_id.0.0, clock::now()).await?;
        Ok(Unsubscribed::Done)
    }
}

impl PreferencesApi {
    fn new_subscription(&self, asked: &NewSubscription) -> Result<PushSubscription, Failure> {
        let label = account::display_name(&asked.label).map_err(|error| Failure::unacceptable("label", error))?;
        let endpoint = Url::parse(&asked.endpoint).map_err(|error| Failure::unacceptable("endpoint", error))?;
        let rules = &self.0.notifications.rules;
        rules.check_url(&endpoint).map_err(|error| Failure::unacceptable("endpoint", error))?;
        SubscriptionKeys::read(&asked.keys.p256dh, &asked.keys.auth).map_err(|error| {
            let field = if error == KeysError::Auth { "keys.auth" } else { "keys.p256dh" };
            Failure::unacceptable(field, error)
        })?;
        let now = clock::now();
        Ok(PushSubscription {
            subscription_id: SubscriptionId::from_parts(now, secrets::random_bits()?),
            endpoint: endpoint.into(),
            p256dh: asked.keys.p256dh.clone(),
            auth: asked.keys.auth.clone(),
            label,
            created_at: now,
        })
    }
}

fn preferences(asked: &PreferencesBody) -> Result<Preferences, Failure> {
    let wrong = |field: &'static str| move |error: &dyn std::fmt::Display| Failure::unacceptable(field, error);
    let time_zone = asked.time_zone.clone().map(TryInto::try_into).transpose();
    let spans: Vec<ScheduleSpan> = asked.quiet_hours.iter().map(span).collect::<Result<_, _>>()?;
    let quiet_hours = (!spans.is_empty()).then(|| Schedule::try_from(spans)).transpose();
    let chosen = Preferences {
        mail: asked.mail,
        push: asked.push,
        least_severity: asked.least_severity.into(),
        time_zone: time_zone.map_err(|error| wrong("time_zone")(&error))?,
        quiet_hours: quiet_hours.map_err(|error| wrong("quiet_hours")(&error))?,
        break_through: asked.break_through.map(Into::into),
    };
    chosen.check().map_err(|error| wrong("time_zone")(&error))?;
    Ok(chosen)
}

fn span(asked: &QuietSpan) -> Result<ScheduleSpan, Failure> {
    let time = |text: &str| text.parse::<TimeOfDay>().map_err(|error| Failure::unacceptable("quiet_hours", error));
    let days = asked.days.iter().map(|day| DAYS[*day as usize]).collect();
    Ok(ScheduleSpan { days, from: time(&asked.from)?, to: time(&asked.to)? })
}

const DAYS: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];
const QUIET_DAYS: [QuietDay; 7] =
    [QuietDay::Mon, QuietDay::Tue, QuietDay::Wed, QuietDay::Thu, QuietDay::Fri, QuietDay::Sat, QuietDay::Sun];

fn body(chosen: &Preferences) -> PreferencesBody {
    let spans = chosen.quiet_hours.as_ref().map(Schedule::spans).unwrap_or_default();
    let quiet_hours = spans.iter().map(|span| QuietSpan {
        days: span.days.iter().map(|day| QUIET_DAYS[*day as usize]).collect(),
        from: span.from.to_string(),
        to: span.to.to_string(),
    });
    PreferencesBody {
        mail: chosen.mail,
        push: chosen.push,
        least_severity: chosen.least_severity.into(),
        time_zone: chosen.time_zone.as_ref().map(|zone| zone.as_str().to_owned()),
        quiet_hours: quiet_hours.collect(),
        break_through: chosen.break_through.map(Into::into),
    }
}

fn subscription(subscription: PushSubscription) -> SubscriptionAnswer {
    let service = Url::parse(&subscription.endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
    SubscriptionAnswer {
        subscription_id: Text(subscription.subscription_id),
        label: subscription.label,
        service: service.unwrap_or_default(),
        created_at: time(subscription.created_at),
    }
}

impl poem_openapi::types::Example for PreferencesBody {
    fn example() -> Self {
        Self {
            mail: true,
            push: true,
            least_severity: NotifySeverity::Warning,
            time_zone: Some("Europe/Berlin".into()),
            quiet_hours: vec![QuietSpan { days: vec![], from: "22:00".into(), to: "06:00".into() }],
            break_through: Some(NotifySeverity::Critical),
        }
    }
}

impl poem_openapi::types::Example for NewSubscription {
    fn example() -> Self {
        let p256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        let keys = NewSubscriptionKeys { p256dh: p256dh.into(), auth: "BTBZMqHH6r4Tts7J_aSIgg".into() };
        Self { endpoint: "https://push.example.net/push/JzLQ3raZJfFBR0aq".into(), keys, label: "Phone".into() }
    }
}
