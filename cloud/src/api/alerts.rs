//! Alerts: lists, one by one, and what people do with them.

mod answer;

use std::sync::Arc;

use aivms_cloud_core::page::Cursor;
use aivms_cloud_core::rules::{AlertId, AlertState, IncidentId, RuleId, parse_severity};
use aivms_contract::id::{CameraId, EdgeId, EventId};
use aivms_contract::media::MediaKind;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use serde::Deserialize;
use serde_json::json;

pub(super) use self::answer::{AlertAnswer, AlertStateName, FindingAnswer};
use self::answer::{AlertDetail, AlertPage, SuppressedAnswer, SuppressedPage};
use super::clips::clip_answer;
use super::events::{default_limit, page_request, plain};
use super::failure::Failure;
use super::idempotency::{KeyHeader, Made};
use super::media_list::{self, MediaQuery, ToldFile};
use super::rules::AlertSeverity;
use super::signed_in::SignedIn;
use super::snapshots::snapshot_answer;
use super::values::{Body, Text, Time};
use super::{Services, Tags};
use crate::clock;
use crate::store::{AlertChange, AlertFilter, Asker, Changed, Store, StoreError, SuppressedFilter, UserKey, UserRole};

/// Files of each kind that are shown beside an alert.
const FILES_SHOWN: u32 = 20;

pub(super) struct AlertsApi(pub Arc<Services>);

/// Something to say about what is done; `{}` to say nothing.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
struct StepBody {
    /// What to remember beside it.
    #[serde(default)]
    #[oai(nullable, default, validator(min_length = 1, max_length = 2000))]
    comment: Option<String>,
}

/// Something to say.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
struct CommentBody {
    /// What to remember.
    #[oai(validator(min_length = 1, max_length = 2000))]
    comment: String,
}

/// Who is to look after an alert.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
struct AssignBody {
    /// The address with which the person signs in; null for nobody.
    #[oai(nullable, validator(min_length = 1, max_length = 254))]
    email: Option<String>,
}

#[OpenApi(prefix_path = "/api/events/alerts", tag = "Tags::Alerts")]
impl AlertsApi {
    /// List alerts
    ///
    /// Newest first, by the time of what they tell of. All filters given must match. A page is `limit` long; follow
    /// `next_cursor` for older ones.
    #[oai(path = "/", method = "get", operation_id = "list_alerts")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn list(
        &self,
        signed_in: SignedIn,
        /// Whether somebody has acknowledged or resolved it.
        acknowledged: Query<Option<bool>>,
        /// In this state.
        state: Query<Option<AlertStateName>>,
        /// At least so urgent.
        severity: Query<Option<AlertSeverity>>,
        /// Raised by this rule.
        rule_id: Query<Option<Text<RuleId>>>,
        /// Of this incident.
        incident_id: Query<Option<Text<IncidentId>>>,
        /// About this camera.
        camera_id: Query<Option<Text<CameraId>>>,
        /// About this edge.
        edge_id: Query<Option<Text<EdgeId>>>,
        /// Only those that were given to you.
        #[oai(default)]
        assigned_to_me: Query<bool>,
        /// Not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// Before this time.
        end_time: Query<Option<Text<Time>>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<AlertPage>, Failure> {
        let (asker, user) = (asker(&signed_in), signed_in.user());
        let filter = AlertFilter {
            states: states(acknowledged.0, state.0.map(Into::into)),
            least_severity: severity.0.map(in_core).transpose()?,
            rule_id: rule_id.0.map(plain),
            incident_id: incident_id.0.map(plain),
            edge_id: edge_id.0.map(plain),
            camera_id: camera_id.0.map(plain),
            assignee: assigned_to_me.0.then_some(user.key),
            start: start_time.0.map(|Text(Time(at))| at),
            end: end_time.0.map(|Text(Time(at))| at),
        };
        let page = self.0.store.list_alerts(asker, filter, page_request(limit.0, cursor.0)).await?;
        let last = page.next(|alert| Text(Cursor(alert.alert_id.0)));
        Ok(Json(AlertPage { items: page.items.into_iter().filter_map(AlertAnswer::of).collect(), next_cursor: last }))
    }

    /// List alerts that were not raised
    ///
    /// What a rule is about and did not alert of, with what stopped it: one row per rule, thing, gate and hour. What a
    /// rule is not about (another camera, another class) is not listed. Newest first.
    #[oai(path = "/suppressed", method = "get", operation_id = "list_suppressed_alerts")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn suppressed(
        &self,
        signed_in: SignedIn,
        /// Of this rule.
        rule_id: Query<Option<Text<RuleId>>>,
        /// About this camera.
        camera_id: Query<Option<Text<CameraId>>>,
        /// About this edge.
        edge_id: Query<Option<Text<EdgeId>>>,
        /// Not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// Before this time.
        end_time: Query<Option<Text<Time>>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<SuppressedPage>, Failure> {
        let filter = SuppressedFilter {
            rule_id: rule_id.0.map(plain),
            edge_id: edge_id.0.map(plain),
            camera_id: camera_id.0.map(plain),
            start: start_time.0.map(|Text(Time(at))| at),
            end: end_time.0.map(|Text(Time(at))| at),
        };
        let request = page_request(limit.0, cursor.0);
        let page = self.0.store.list_suppressed(asker(&signed_in), filter, request).await?;
        let last = page.next(|one| Text(Cursor(one.id)));
        let items = page.items.into_iter().filter_map(SuppressedAnswer::of).collect();
        Ok(Json(SuppressedPage { items, next_cursor: last }))
    }

    /// Show an alert
    ///
    /// With the reasons for which it was raised, what has happened to it since, and the clips and snapshots of its
    /// event.
    #[oai(path = "/:alert_id", method = "get", operation_id = "show_alert")]
    async fn show(
        &self,
        signed_in: SignedIn,
        /// The alert.
        alert_id: Path<Text<AlertId>>,
    ) -> Result<Json<AlertDetail>, Failure> {
        let found = self.0.store.alert(asker(&signed_in), plain(alert_id.0)).await?;
        let (mut alert, history) = found.ok_or(StoreError::NotFound)?;
        let why = std::mem::take(&mut alert.why).into_iter().filter_map(FindingAnswer::of).collect();
        let (clips, snapshots) = match alert.event_id {
            Some(event) => (
                self.files(&signed_in, MediaKind::Clip, event).await?,
                self.files(&signed_in, MediaKind::Snapshot, event).await?,
            ),
            None => (Vec::new(), Vec::new()),
        };
        Ok(Json(AlertDetail {
            alert: shown(alert)?,
            why,
            history: history.into_iter().map(Into::into).collect(),
            clips: clips.into_iter().filter_map(clip_answer).collect(),
            snapshots: snapshots.into_iter().filter_map(snapshot_answer).collect(),
        }))
    }

    /// Acknowledge an alert
    ///
    /// Says that somebody looks after it; it does not escalate any more. Doing so twice changes nothing. Needs the
    /// role operator.
    #[oai(path = "/:alert_id/acknowledge", method = "post", operation_id = "acknowledge_alert")]
    async fn acknowledge(
        &self,
        signed_in: SignedIn,
        /// The alert.
        alert_id: Path<Text<AlertId>>,
        body: Body<StepBody>,
    ) -> Result<Json<AlertAnswer>, Failure> {
        let comment = bounded(body.0.comment)?;
        self.change(signed_in, plain(alert_id.0), AlertChange::Acknowledge(comment)).await
    }

    /// Resolve an alert
    ///
    /// Says that nothing is left to do. Needs the role operator.
    #[oai(path = "/:alert_id/resolve", method = "post", operation_id = "resolve_alert")]
    async fn resolve(
        &self,
        signed_in: SignedIn,
        /// The alert.
        alert_id: Path<Text<AlertId>>,
        body: Body<StepBody>,
    ) -> Result<Json<AlertAnswer>, Failure> {
        let comment = bounded(body.0.comment)?;
        self.change(signed_in, plain(alert_id.0), AlertChange::Resolve(comment)).await
    }

    /// Open a resolved alert again
    ///
    /// Its escalation begins anew. Needs the role operator.
    #[oai(path = "/:alert_id/reopen", method = "post", operation_id = "reopen_alert")]
    async fn reopen(
        &self,
        signed_in: SignedIn,
        /// The alert.
        alert_id: Path<Text<AlertId>>,
        body: Body<StepBody>,
    ) -> Result<Json<AlertAnswer>, Failure> {
        let comment = bounded(body.0.comment)?;
        self.change(signed_in, plain(alert_id.0), AlertChange::Reopen(comment)).await
    }

    /// Give an alert to somebody
    ///
    /// To a person of the tenant, or to nobody. Needs the role operator.
    #[oai(path = "/:alert_id/assign", method = "post", operation_id = "assign_alert")]
    async fn assign(
        &self,
        signed_in: SignedIn,
        /// The alert.
        alert_id: Path<Text<AlertId>>,
        body: Body<AssignBody>,
    ) -> Result<Json<AlertAnswer>, Failure> {
        let tenant = signed_in.0.user.tenant;
        let person = match body.0.email {
            None => None,
            Some(email) => {
                let found = self.0.store.user_by_email(&email.trim().to_lowercase()).await?;
                Some(found.filter(|user| user.tenant == tenant).ok_or_else(no_such_person)?.key)
            }
        };
        self.change(signed_in, plain(alert_id.0), AlertChange::Assign(person)).await
    }

    /// Comment on an alert
    ///
    /// Needs the role operator.
    #[oai(path = "/:alert_id/comment", method = "post", operation_id = "comment_on_alert")]
    async fn comment(
        &self,
        signed_in: SignedIn,
        /// The alert.
        alert_id: Path<Text<AlertId>>,
        body: Body<CommentBody>,
        /// Drawn anew for each comment: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
    ) -> Result<Json<AlertAnswer>, Failure> {
        let alert_id = plain(alert_id.0);
        let asked = json!({ "alert_id": alert_id.to_string(), "comment": body.0.comment });
        let (asking, asker) = (signed_in.asking(), asker(&signed_in));
        let user = signed_in.with_role(UserRole::Operator)?;
        let comment = AlertChange::Comment(bounded(Some(body.0.comment))?.unwrap_or_default());
        let work = move |store| async move {
            let Json(body) = change_alert(store, asker, user.key, alert_id, comment).await?;
            Ok(Made { body, location: String::new() })
        };
        let Made { body, .. } = self.0.once(&asking, "comment_on_alert", key, &asked, work).await?;
        Ok(Json(body))
    }
}

impl AlertsApi {
    async fn change(
        &self,
        signed_in: SignedIn,
        alert_id: AlertId,
        change: AlertChange,
    ) -> Result<Json<AlertAnswer>, Failure> {
        let (asker, store) = (asker(&signed_in), self.0.store.by(&signed_in.doer()));
        let user = signed_in.with_role(UserRole::Operator)?;
        change_alert(store, asker, user.key, alert_id, change).await
    }

    async fn files(&self, signed_in: &SignedIn, kind: MediaKind, event: EventId) -> Result<Vec<ToldFile>, Failure> {
        let query = MediaQuery {
            camera_id: None,
            edge_id: None,
            event_id: Some(Text(event)),
            start_time: None,
            end_time: None,
            limit: FILES_SHOWN,
            cursor: None,
        };
        let session = SignedIn(signed_in.0.clone());
        media_list::list(&self.0, session, kind, query).await.map(|(files, _)| files)
    }
}

async fn change_alert(
    store: Store,
    asker: Asker,
    by: UserKey,
    alert_id: AlertId,
    change: AlertChange,
) -> Result<Json<AlertAnswer>, Failure> {
    match store.change_alert(asker, by, alert_id, change, clock::now()).await? {
        Changed::Done(alert, _) => shown(*alert).map(Json),
        Changed::Refused(refused) => Err(Failure::conflict(None, refused.to_string())),
        Changed::NoSuchPerson => Err(no_such_person()),
    }
}

/// Who asks, with the cameras that they may see.
pub(super) fn asker(signed_in: &SignedIn) -> Asker {
    Asker { tenant: signed_in.0.user.tenant, cameras: signed_in.cameras().clone() }
}

/// The states that both filters let through: none when they contradict each other.
fn states(acknowledged: Option<bool>, state: Option<AlertState>) -> Option<Vec<AlertState>> {
    if acknowledged.is_none() && state.is_none() {
        return None;
    }
    let mut states: Vec<AlertState> = AlertState::ALL.into();
    if let Some(acknowledged) = acknowledged {
        states.retain(|one| (*one != AlertState::Open) == acknowledged);
    }
    if let Some(state) = state {
        states.retain(|one| *one == state);
    }
    Some(states)
}

fn in_core(severity: AlertSeverity) -> Result<aivms_contract::alert::Severity, Failure> {
    let word = super::rules::in_words::<String>(&severity).ok_or_else(Failure::internal)?;
    parse_severity(&word).map_err(|error| Failure::unacceptable("severity", error))
}

fn shown(alert: crate::store::Alert) -> Result<AlertAnswer, Failure> {
    AlertAnswer::of(alert).ok_or_else(Failure::internal)
}

/// A comment within its bounds: databases take no zero characters, and nobody reads a book beside an alert.
fn bounded(comment: Option<String>) -> Result<Option<String>, Failure> {
    let Some(comment) = comment else { return Ok(None) };
    let characters = comment.chars().count();
    if comment.trim().is_empty() || characters > 2_000 || comment.contains('\0') {
        let reason = format!("must have 1 to 2000 characters, none of them zero, has {characters}");
        return Err(Failure::unacceptable("comment", reason));
    }
    Ok(Some(comment))
}

fn no_such_person() -> Failure {
    Failure::unacceptable("email", "nobody of this tenant signs in with it")
}
