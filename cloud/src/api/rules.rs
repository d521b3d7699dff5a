//! Alert rules: read, make, change, delete, and try on what is stored.

mod body;
mod parts;
mod report;
mod targets;
mod words;

use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::page::Cursor;
use aivms_cloud_core::rights::CameraScope;
use aivms_cloud_core::rules::{ReadyRule, Rule, RuleId};
use aivms_contract::id::EventId;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::ToJSON;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;

use self::body::RuleBody;
use self::report::ReportAnswer;
use self::targets::UnusableAnswer;
pub(super) use self::words::{AlertGate, AlertSeverity, RuleKind, in_words};
use super::events::{default_limit, page_request, plain};
use super::failure::Failure;
use super::idempotency::{KeyHeader, Made};
use super::signed_in::SignedIn;
use super::values::{Body, RuleVersion, Text, Time, time};
use super::{Services, Tags};
use crate::clock;
use crate::store::{BackTestRequest, RuleChange, Store, StoreError, StoredRule, UserRole};

pub(super) struct RulesApi(pub Arc<Services>);

/// A rule as it is kept.
#[derive(Debug, Object)]
#[oai(rename = "StoredAlertRule")]
struct RuleAnswer {
    /// The rule's id.
    rule_id: Text<RuleId>,
    /// Counts up with each change; give it as `If-Match` to change or delete the rule.
    version: u32,
    /// When it was made.
    created_at: Text<Time>,
    /// When it was changed last.
    changed_at: Text<Time>,
    /// The rule; null when it can't be read.
    #[oai(nullable)]
    rule: Option<RuleBody>,
    /// Why the rule can't be asked, and raises nothing until it is changed; null for one that can.
    #[oai(nullable)]
    defect: Option<String>,
    /// Channels that it names and to which nothing is sent. Alerts that name no channel but such ones go to whoever is
    /// told when none is named.
    unusable_targets: Vec<UnusableAnswer>,
}

/// A page of rules.
#[derive(Debug, Object)]
struct RulePage {
    /// Newest first.
    items: Vec<RuleAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<Cursor>>,
}

/// What to try: a new rule (`rule`), one that is there (`rule_id`), or a change of it (both).
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
struct BackTestBody {
    /// The rule to be tried.
    #[serde(default)]
    #[oai(nullable, default)]
    rule: Option<RuleBody>,
    /// The rule of today that it would replace, to compare with; alone: the rule to be tried.
    #[serde(default)]
    #[oai(nullable, default, validator(pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"))]
    rule_id: Option<String>,
    /// On what is stored of so many days up to now.
    #[oai(validator(minimum(value = "1"), maximum(value = "31")))]
    days: u32,
}

#[derive(ApiResponse)]
enum Created {
    /// The rule counts from the next event on.
    #[oai(status = 201)]
    Created(Json<RuleAnswer>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Deleted {
    /// The rule is gone; its alerts stay.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/rules", tag = "Tags::Alerts")]
impl RulesApi {
    /// List alert rules
    ///
    /// Newest first. A new tenant begins with some: alerts of edges, edges offline, cameras without video, and an
    /// identity that is used twice. Cameras that may not be seen are left out, and so are rules about those alone.
    #[oai(path = "/", method = "get", operation_id = "list_rules")]
    async fn list(
        &self,
        signed_in: SignedIn,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<RulePage>, Failure> {
        let (request, cameras) = (page_request(limit.0, cursor.0), signed_in.cameras().clone());
        let page = self.0.store.list_rules(signed_in.user().tenant, request, clock::now()).await?;
        let last = page.next(|rule| Text(Cursor(rule.rule_id.0)));
        let seen = page.items.into_iter().filter_map(|rule| within(rule, &cameras));
        Ok(Json(RulePage { items: seen.map(Into::into).collect(), next_cursor: last }))
    }

    /// Make an alert rule
    ///
    /// It counts from the next event on, in every process of the cloud. Try it before on the events of the last days:
    /// `POST /api/rules/backtest`. Needs the role admin.
    #[oai(path = "/", method = "post", operation_id = "create_rule")]
    async fn create(
        &self,
        signed_in: SignedIn,
        body: Body<RuleBody>,
        /// Drawn anew for each thing to be made: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
    ) -> Result<Created, Failure> {
        let (asking, asked) = (signed_in.asking(), body.0.to_json());
        let user = signed_in.with_role(UserRole::Admin)?;
        let rule = body.0.into_rule()?;
        let work = move |store: Store| async move {
            let stored = store.create_rule(user.tenant, user.key, rule, clock::now()).await?;
            let location = format!("/api/rules/{}", stored.rule_id);
            Ok(Made { body: RuleAnswer::from(stored), location })
        };
        let Made { body, location } = self.0.once(&asking, "create_rule", key, &asked, work).await?;
        Ok(Created::Created(Json(body), location))
    }

    /// Show an alert rule
    #[oai(path = "/:rule_id", method = "get", operation_id = "show_rule")]
    async fn show(
        &self,
        signed_in: SignedIn,
        /// The rule.
        rule_id: Path<Text<RuleId>>,
    ) -> Result<Json<RuleAnswer>, Failure> {
        let cameras = signed_in.cameras().clone();
        let found = self.0.store.rule(signed_in.user().tenant, plain(rule_id.0)).await?;
        let seen = found.and_then(|rule| within(rule, &cameras));
        Ok(Json(seen.ok_or(StoreError::NotFound)?.into()))
    }

    /// Change an alert rule
    ///
    /// Puts the rule of the body in the place of the one that has the version of `If-Match`; when somebody else has
    /// changed it meanwhile, nothing happens (409). What it remembers stays: an object that has alerted does not alert
    /// again. Needs the role admin.
    #[oai(path = "/:rule_id", method = "put", operation_id = "change_rule")]
    async fn change(
        &self,
        signed_in: SignedIn,
        /// The rule.
        rule_id: Path<Text<RuleId>>,
        /// The version that was changed, in quotation marks: `"3"`.
        #[oai(name = "If-Match")]
        if_match: Header<Text<RuleVersion>>,
        body: Body<RuleBody>,
    ) -> Result<Json<RuleAnswer>, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        let (rule, version) = (body.0.into_rule()?, if_match.0.0.0);
        let change = store.change_rule(user.tenant, user.key, plain(rule_id.0), version, rule, clock::now()).await?;
        Ok(Json(unless_stale(change)?.into()))
    }

    /// Delete an alert rule
    ///
    /// Its alerts stay. Needs the role admin.
    #[oai(path = "/:rule_id", method = "delete", operation_id = "delete_rule")]
    async fn delete(
        &self,
        signed_in: SignedIn,
        /// The rule.
        rule_id: Path<Text<RuleId>>,
        /// The version that was looked at, in quotation marks: `"3"`.
        #[oai(name = "If-Match")]
        if_match: Header<Text<RuleVersion>>,
    ) -> Result<Deleted, Failure> {
        let store = self.0.store.by(&signed_in.doer());
        let user = signed_in.with_role(UserRole::Admin)?;
        let change = store.delete_rule(user.tenant, plain(rule_id.0), if_match.0.0.0, clock::now()).await?;
        unless_stale(change).map(|_| Deleted::Done)
    }

    /// Try an alert rule on stored events
    ///
    /// Says what the rule would have raised on the events of the last days, in the order in which they were stored,
    /// and beside it what the rule of today would have; rules on edges that go, come or take each other's place over
    /// are tried on what was told of them (`GET /api/tenant/edges/{edge_id}/presence`). Nothing is raised. The same
    /// gives exactly what it gives live; the hour before, or four times the longest cool-down, only prepares what the
    /// rules remember. Too many events are answered with 503: take fewer days. A tenant has one back-test at work at a
    /// time: another one is answered with 429 meanwhile. Needs the role admin.
    #[oai(path = "/backtest", method = "post", operation_id = "back_test_rule")]
    async fn back_test(&self, signed_in: SignedIn, body: Body<BackTestBody>) -> Result<Json<ReportAnswer>, Failure> {
        let user = signed_in.with_role(UserRole::Admin)?;
        let BackTestBody { rule, rule_id, days } = body.0;
        if !(1..=31).contains(&days) {
            return Err(Failure::unacceptable("days", "must be 1 to 31"));
        }
        let today = match rule_id {
            None => None,
            Some(text) => {
                let id: RuleId = text.parse().map_err(|error| Failure::unacceptable("rule_id", error))?;
                Some(self.0.store.rule(user.tenant, id).await?.ok_or(StoreError::NotFound)?)
            }
        };
        let (candidate, today) = match (rule, today) {
            (None, None) => return Err(Failure::unacceptable("rule", "give a rule, a rule_id, or both")),
            (None, Some(stored)) => (readable(stored)?, None),
            (Some(rule), today) => (rule.into_rule()?, today.map(readable).transpose()?),
        };
        let end = clock::now();
        let start = end - Duration::from_hours(24 * u64::from(days));
        let request =
            BackTestRequest { candidate: ready(candidate)?, today: today.map(ready).transpose()?, start, end };
        let report = self.0.store.back_test(user.tenant, request, end).await?;
        Ok(Json(ReportAnswer::new(report, start, end)))
    }
}

/// What of a rule may be seen by who sees `cameras` only; `None` for one that is about others.
fn within(mut stored: StoredRule, cameras: &CameraScope) -> Option<StoredRule> {
    if let Ok(rule) = &mut stored.rule
        && !rule.cameras.is_empty()
    {
        rule.cameras.retain(|choice| cameras.sees_named(choice.edge_id.as_ref(), &choice.camera_id));
        if rule.cameras.is_empty() {
            return None;
        }
    }
    Some(stored)
}

fn unless_stale(change: RuleChange) -> Result<StoredRule, Failure> {
    match change {
        RuleChange::Done(rule) => Ok(*rule),
        RuleChange::Stale(version) => {
            let detail = format!("If-Match: somebody has changed the rule meanwhile, it has version \"{version}\"");
            Err(Failure::conflict(Some("If-Match"), detail))
        }
    }
}

fn readable(stored: StoredRule) -> Result<Rule, Failure> {
    stored.rule.map_err(|defect| Failure::unacceptable("rule_id", format!("the rule can't be read: {defect}")))
}

/// The id is of no matter: what a trial remembers is its own.
fn ready(rule: Rule) -> Result<ReadyRule, Failure> {
    let id = RuleId(EventId::from_bytes([0; 16]));
    ReadyRule::new(id, rule).map_err(|fault| Failure::unacceptable(&fault.field, fault.reason))
}

impl From<StoredRule> for RuleAnswer {
    fn from(stored: StoredRule) -> Self {
        let defect = match &stored.rule {
            Ok(rule) => rule.check().err().map(|fault| fault.to_string()),
            Err(reason) => Some(reason.clone()),
        };
        Self {
            rule_id: Text(stored.rule_id),
            version: stored.version,
            created_at: time(stored.created_at),
            changed_at: time(stored.changed_at),
            rule: stored.rule.ok().as_ref().and_then(in_words),
            defect,
            unusable_targets: stored.unusable_targets.into_iter().map(Into::into).collect(),
        }
    }
}
