//! API keys: programs that act for a person.

use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::account;
use aivms_cloud_core::people::ApiKeyId;
use aivms_contract::time::UtcMillis;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::ToJSON;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;
use serde_json::json;

use super::events::{default_limit, plain};
use super::failure::Failure;
use super::idempotency::{KeyHeader, Made};
use super::secrets::API_KEY_PREFIX;
use super::sign_in::{CameraRef, Role, named_cameras, shown_cameras};
use super::signed_in::SignedIn;
use super::values::{Body, Text, Time, time};
use super::{Services, Tags, Tried, secrets};
use crate::clock;
use crate::store::{ApiKey, NewApiKey, Store, Successor, UserRole};

/// Longest life of a key.
const MAX_DAYS: u32 = 366;
/// Characters of a key that are shown afterwards, to tell keys apart.
const HINT_CHARS: usize = 4;

pub(super) struct ApiKeysApi(pub Arc<Services>);

/// A key to be made.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct NewApiKeyRequest {
    /// The program.
    #[oai(validator(min_length = 1, max_length = 100))]
    name: String,
    /// What it may do at most; not above your own role. `viewer` only reads.
    role: Role,
    /// True, or absent without `cameras`, for every camera that you see.
    #[serde(default)]
    #[oai(nullable)]
    all_cameras: Option<bool>,
    /// These cameras and no others; for `operator` and `viewer` only.
    #[serde(default)]
    #[oai(validator(max_items = 1000))]
    #[oai(nullable)]
    cameras: Option<Vec<CameraRef>>,
    /// Days until it ends.
    #[serde(default = "default_days")]
    #[oai(default = "default_days", validator(minimum(value = "1"), maximum(value = "366")))]
    days: u32,
}

/// How a key is replaced.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct RotationRequest {
    /// Hours for which the old key goes on counting beside the new one; 0 ends it at once.
    #[serde(default = "default_overlap")]
    #[oai(default = "default_overlap", validator(minimum(value = "0"), maximum(value = "720")))]
    overlap_hours: u32,
    /// Days until the new one ends.
    #[serde(default = "default_days")]
    #[oai(default = "default_days", validator(minimum(value = "1"), maximum(value = "366")))]
    days: u32,
}

/// A key, without the key.
#[derive(Debug, Object)]
#[oai(rename = "ApiKey")]
struct ApiKeyAnswer {
    /// Its identifier.
    key_id: Text<ApiKeyId>,
    /// The program.
    name: String,
    /// Address of the person it acts for, with at most that person's rights.
    acts_for: String,
    /// What it may do at most.
    role: Role,
    /// Whether it sees every camera that the person sees.
    all_cameras: bool,
    /// The cameras it sees at most, when not all.
    cameras: Vec<CameraRef>,
    /// The last characters of the key, to tell keys apart.
    hint: String,
    /// When it was made.
    created_at: Text<Time>,
    /// When it ends.
    expires_at: Text<Time>,
    /// When it was last used, to ten minutes; null before the first time.
    #[oai(nullable)]
    last_used_at: Option<Text<Time>>,
    /// Withdrawn.
    revoked: bool,
}

/// A page of keys.
#[derive(Debug, Object)]
struct ApiKeyPage {
    /// By time of making.
    items: Vec<ApiKeyAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<ApiKeyId>>,
}

/// A new key.
#[derive(Debug, Object)]
struct MadeApiKey {
    /// Send it as `Authorization: Bearer <key>`. Shown only here.
    key: String,
    /// What is known of it afterwards.
    api_key: ApiKeyAnswer,
}

#[derive(ApiResponse)]
enum Created {
    /// The key exists.
    #[oai(status = 201)]
    Created(Json<MadeApiKey>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Revoked {
    /// The key counts no more.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/tenant/api-keys", tag = "Tags::People")]
impl ApiKeysApi {
    /// List API keys
    ///
    /// Needs the role admin.
    #[oai(path = "/", method = "get", operation_id = "list_api_keys")]
    async fn list(
        &self,
        signed_in: SignedIn,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<ApiKeyId>>>,
    ) -> Result<Json<ApiKeyPage>, Failure> {
        let by = signed_in.in_person(UserRole::Admin)?;
        let page = self.0.store.list_api_keys(by.tenant, cursor.0.map(plain), limit.0).await?;
        let next_cursor = page.next(|key| Text(key.key_id.clone()));
        Ok(Json(ApiKeyPage { items: page.items.into_iter().map(answer).collect(), next_cursor }))
    }

    /// Make an API key
    ///
    /// It acts for you, with at most the rights given here and never more than yours, and ends with your account. It
    /// opens the whole API but what manages people, sessions and keys. Needs the role admin.
    #[oai(path = "/", method = "post", operation_id = "create_api_key")]
    async fn create(
        &self,
        signed_in: SignedIn,
        body: Body<NewApiKeyRequest>,
        /// Drawn anew for each thing to be made: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: KeyHeader,
    ) -> Result<Created, Failure> {
        let (by, asking) = (signed_in.in_person(UserRole::Admin)?, signed_in.asking());
        let asked = body.0.to_json();
        let NewApiKeyRequest { name, role, all_cameras, cameras, days } = body.0;
        let name = account::display_name(&name).map_err(|error| Failure::unacceptable("name", error))?;
        let cameras = named_cameras(all_cameras, cameras)?.unwrap_or_default();
        let (now, role) = (clock::now(), role.into());
        let expires_at = end(now, days)?;
        let (key, key_hash, hint) = draw()?;
        let new = NewApiKey { name, role, cameras, key_hash, hint, expires_at };
        let work = move |store: Store| async move { made(key, store.create_api_key(by, new, now).await?) };
        let made = self.0.once(&asking, "create_api_key", idempotency_key, &asked, work).await?;
        Ok(Created::Created(Json(made.body), made.location))
    }

    /// Replace an API key
    ///
    /// Gives a new key with the same rights; the old one goes on counting for a while, so that no program stands still.
    /// The new key acts for who replaces the old one. Needs the role admin.
    #[oai(path = "/:key_id/rotate", method = "post", operation_id = "rotate_api_key")]
    async fn rotate(
        &self,
        signed_in: SignedIn,
        key_id: Path<Text<ApiKeyId>>,
        body: Body<RotationRequest>,
        /// Drawn anew for each thing to be made: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: KeyHeader,
    ) -> Result<Created, Failure> {
        let (by, asking) = (signed_in.in_person(UserRole::Admin)?, signed_in.asking());
        let Path(Text(id)) = key_id;
        let asked = json!({ "key_id": id.as_str(), "body": body.0.to_json() });
        let now = clock::now();
        let expires_at = end(now, body.0.days)?;
        let overlap = Duration::from_secs(u64::from(body.0.overlap_hours.min(720)) * 3_600);
        let (key, key_hash, hint) = draw()?;
        let successor = Successor { overlap, key_hash, hint, expires_at };
        let work = move |store: Store| async move { made(key, store.rotate_api_key(by, id, successor, now).await?) };
        let made = self.0.once(&asking, "rotate_api_key", idempotency_key, &asked, work).await?;
        Ok(Created::Created(Json(made.body), made.location))
    }

    /// Withdraw an API key
    ///
    /// At once, live streams included. Needs the role admin.
    #[oai(path = "/:key_id", method = "delete", operation_id = "revoke_api_key")]
    async fn revoke(&self, signed_in: SignedIn, key_id: Path<Text<ApiKeyId>>) -> Result<Revoked, Failure> {
        let by = signed_in.in_person(UserRole::Admin)?;
        self.0.store.revoke_api_key(by, key_id.0.0, clock::now()).await?;
        Ok(Revoked::Done)
    }
}

fn default_days() -> u32 {
    90
}

fn default_overlap() -> u32 {
    24
}

/// The end of a life of `days`.
fn end(now: UtcMillis, days: u32) -> Tried<UtcMillis> {
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(Failure::unacceptable("days", format!("must be 1 to {MAX_DAYS}")));
    }
    Ok(now + Duration::from_secs(u64::from(days) * 86_400))
}

/// A key, what the database keeps of it, and its last characters.
fn draw() -> Tried<(String, [u8; 32], String)> {
    let key = format!("{API_KEY_PREFIX}{}", secrets::random_text()?);
    let (hash, hint) = (secrets::hash(&key), key[key.len() - HINT_CHARS..].to_owned());
    Ok((key, hash, hint))
}

fn made(key: String, api_key: ApiKey) -> Result<Made<MadeApiKey>, Failure> {
    Ok(Made { body: MadeApiKey { key, api_key: answer(api_key) }, location: "/api/tenant/api-keys".into() })
}

fn answer(key: ApiKey) -> ApiKeyAnswer {
    let (all_cameras, cameras) = shown_cameras(&key.cameras);
    ApiKeyAnswer {
        key_id: Text(key.key_id),
        name: key.name,
        acts_for: key.acts_for,
        role: key.role.into(),
        all_cameras,
        cameras,
        hint: key.hint,
        created_at: time(key.created_at),
        expires_at: time(key.expires_at),
        last_used_at: key.last_used_at.map(time),
        revoked: key.revoked,
    }
}

impl poem_openapi::types::Example for NewApiKeyRequest {
    fn example() -> Self {
        Self { name: "Guard tour report".into(), role: Role::Viewer, all_cameras: Some(true), cameras: None, days: 90 }
    }
}

impl poem_openapi::types::Example for RotationRequest {
    fn example() -> Self {
        Self { overlap_hours: 24, days: 90 }
    }
}
