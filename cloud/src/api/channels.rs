//! Notification channels: whom a tenant's alerts are told to.

mod answer;
mod read;

use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::notify::id::ChannelId;
use aivms_cloud_core::notify::message::{Message, Reason};
use aivms_contract::alert::Severity;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::ToJSON;
use poem_openapi::{ApiResponse, OpenApi};

pub(super) use self::answer::NotifySeverity;
use self::answer::{ChannelAnswer, ChannelKind, ChannelList, ChannelWithSecret, TestAnswer, kind};
use self::read::ChannelRequest;
use super::failure::Failure;
use super::idempotency::{KeyHeader, Made};
use super::signed_in::SignedIn;
use super::values::{Body, Text};
use super::{Services, Tags, secrets};
use crate::clock;
use crate::notify::webhook::WebhookSecret;
use crate::store::{Store, Target, User, UserRole};

/// How long the secret before signs too: time to change a receiver over.
const BOTH_SECRETS: Duration = Duration::from_secs(24 * 3600);

pub(super) struct ChannelsApi(pub Arc<Services>);

#[derive(ApiResponse)]
enum Created {
    /// The channel exists.
    #[oai(status = 201)]
    Created(Json<ChannelWithSecret>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Deleted {
    /// The channel is gone.
    #[oai(status = 204)]
    Done,
}

#[derive(ApiResponse)]
enum Tested {
    /// Messages are on their way.
    #[oai(status = 202)]
    Owed(Json<TestAnswer>),
}

#[OpenApi(prefix_path = "/api/notifications/channels", tag = "Tags::Notifications")]
impl ChannelsApi {
    /// List notification channels
    ///
    /// All of them, by the time they were made; there are 100 at most. Needs the role admin.
    #[oai(path = "/", method = "get", operation_id = "list_channels")]
    async fn list(&self, signed_in: SignedIn) -> Result<Json<ChannelList>, Failure> {
        let user = signed_in.with_role(UserRole::Admin)?;
        let mut items = Vec::new();
        for channel in self.0.store.list_channels(user.tenant).await? {
            items.push(self.answer(channel).await?);
        }
        Ok(Json(ChannelList { items }))
    }

    /// Make a notification channel
    ///
    /// A webhook is answered with the secret that signs its messages, once. Needs the role admin.
    #[oai(path = "/", method = "post", operation_id = "create_channel")]
    async fn create(
        &self,
        signed_in: SignedIn,
        body: Body<ChannelRequest>,
        /// Drawn anew for each thing to be made: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
    ) -> Result<Created, Failure> {
        let (asking, asked) = (signed_in.asking(), body.0.to_json());
        let user = signed_in.with_role(UserRole::Admin)?;
        let api = Self(Arc::clone(&self.0));
        let work = move |store| async move { api.make(store, user, body.0).await };
        let Made { body, location } = self.0.once(&asking, "create_channel", key, &asked, work).await?;
        Ok(Created::Created(Json(body), location))
    }

    /// Show a notification channel
    ///
    /// Needs the role admin.
    #[oai(path = "/:channel_id", method = "get", operation_id = "show_channel")]
    async fn show(
        &self,
        signed_in: SignedIn,
        channel_id: Path<Text<ChannelId>>,
    ) -> Result<Json<ChannelAnswer>, Failure> {
        let user = signed_in.with_role(UserRole::Admin)?;
        let channel = self.0.store.channel(user.tenant, channel_id.0.0).await?;
        Ok(Json(self.answer(channel).await?))
    }

    /// Change a notification channel
    ///
    /// Replaces all of its settings; its kind stays. A channel that the cloud switched off by itself is switched on again
    /// by `enabled`. Needs the role admin.
    #[oai(path = "/:channel_id", method = "put", operation_id = "change_channel")]
    async fn change(
        &self,
        signed_in: SignedIn,
        channel_id: Path<Text<ChannelId>>,
        body: Body<ChannelRequest>,
    ) -> Result<Json<ChannelAnswer>, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        let Path(Text(id)) = channel_id;
        let before = store.channel(user.tenant, id.clone()).await?;
        if kind(&before.target) != body.0.kind {
            return Err(Failure::unacceptable("kind", "a channel stays what it was made as; make another one"));
        }
        let settings = self.settings(&user, body.0).await?;
        let changed = store.change_channel(user.tenant, id, settings, clock::now()).await?;
        Ok(Json(self.answer(changed).await?))
    }

    /// Delete a notification channel
    ///
    /// What waits for it fails; the log of its deliveries stays. Rules that name it show it in `unusable_targets`. Needs
    /// the role admin.
    #[oai(path = "/:channel_id", method = "delete", operation_id = "delete_channel")]
    async fn delete(&self, signed_in: SignedIn, channel_id: Path<Text<ChannelId>>) -> Result<Deleted, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        let Path(Text(id)) = channel_id;
        store.delete_channel(user.tenant, id.clone(), clock::now()).await?;
        tracing::info!(tenant.id = %user.tenant_id, channel.id = %id, "notification channel deleted");
        Ok(Deleted::Done)
    }

    /// Send a test message
    ///
    /// The channel gets a message that says that it is a test, whatever its severity and the hour; the log of deliveries
    /// says what came of it. Needs the role admin.
    #[oai(path = "/:channel_id/test", method = "post", operation_id = "test_channel")]
    async fn test(&self, signed_in: SignedIn, channel_id: Path<Text<ChannelId>>) -> Result<Tested, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        let now = clock::now();
        let message = Message {
            reason: Reason::Test,
            tenant_id: user.tenant_id.to_string(),
            tenant_name: user.tenant_name.clone(),
            title: "AIVMS reaches this channel".into(),
            severity: Severity::Info,
            at: now,
            alert: None,
        };
        let owed = store.test_channel(user.tenant, channel_id.0.0, message, now).await?;
        Ok(Tested::Owed(Json(TestAnswer { delivery_ids: owed.into_iter().map(Text).collect() })))
    }

    /// Replace the secret of a webhook
    ///
    /// Messages are signed with the new secret and for 24 hours with the one before too, so that the receiver can be
    /// changed over without missing any. Needs the role admin.
    #[oai(path = "/:channel_id/rotate-secret", method = "post", operation_id = "rotate_channel_secret")]
    async fn rotate(
        &self,
        signed_in: SignedIn,
        channel_id: Path<Text<ChannelId>>,
    ) -> Result<Json<ChannelWithSecret>, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        let Path(Text(id)) = channel_id;
        if kind(&store.channel(user.tenant, id.clone()).await?.target) != ChannelKind::Webhook {
            return Err(Failure::conflict(Some("channel_id"), "channel_id: only a webhook has a secret"));
        }
        let secret = draw_secret()?;
        let (sealed, now) = (self.sealed(&secret)?, clock::now());
        let channel = store.rotate_channel_secret(user.tenant, id.clone(), sealed, now + BOTH_SECRETS, now).await?;
        tracing::info!(tenant.id = %user.tenant_id, channel.id = %id, "secret of a webhook replaced");
        Ok(Json(ChannelWithSecret { channel: self.answer(channel).await?, secret: Some(secret) }))
    }
}

impl ChannelsApi {
    async fn make(&self, store: Store, user: User, asked: ChannelRequest) -> Result<Made<ChannelWithSecret>, Failure> {
        let settings = self.settings(&user, asked).await?;
        let secret = matches!(settings.target, Target::Webhook(_)).then(draw_secret).transpose()?;
        let now = clock::now();
        let id = ChannelId::from_parts(now, secrets::random_bits()?);
        let sealed = secret.as_deref().map(|secret| self.sealed(secret)).transpose()?;
        let made = store.create_channel(user.tenant, id.clone(), settings, sealed, now).await?;
        tracing::info!(tenant.id = %user.tenant_id, channel.id = %id, "notification channel made");
        let channel = self.answer(made).await?;
        Ok(Made { body: ChannelWithSecret { channel, secret }, location: format!("/api/notifications/channels/{id}") })
    }

    /// The form in which the database keeps a secret.
    fn sealed(&self, secret: &str) -> Result<Vec<u8>, Failure> {
        self.0.sealer.seal(secret.as_bytes()).ok_or_else(|| {
            tracing::error!("the system has no random numbers");
            Failure::internal()
        })
    }
}

fn draw_secret() -> Result<String, Failure> {
    WebhookSecret::draw().map(|secret| secret.reveal()).map_err(|error| {
        tracing::error!(%error, "drawing the secret of a webhook");
        Failure::internal()
    })
}
