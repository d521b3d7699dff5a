//! Alert rules of tenants, and the rules ready to be asked that processes keep in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::rules::{Kind, ReadyRule, Rule, RuleId};
use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::channels::{UnusableTarget, targets};
use super::sql::{Row, Transaction, values};
use super::{News, Page, PageRequest, Store, StoreError, TenantKey, UserKey, audit};

/// Most rules of a tenant: each is asked about each event of its kind.
const MAX_RULES: usize = 500;
/// Sets of rules that are kept in memory before all are forgotten. One per tenant and change.
const KEPT_SETS: usize = 4_096;

/// A rule as stored.
#[derive(Debug, Clone)]
pub struct StoredRule {
    /// Its id.
    pub rule_id: RuleId,
    /// Counts up with each change.
    pub version: u32,
    /// The rule; when it can't be read (an older program wrote it, or a newer one), why.
    pub rule: Result<Rule, String>,
    /// Channels it names and to which nothing is sent.
    pub unusable_targets: Vec<UnusableTarget>,
    /// When it was made.
    pub created_at: UtcMillis,
    /// When it was changed last.
    pub changed_at: UtcMillis,
}

/// What became of a change of a rule.
#[derive(Debug, Clone)]
pub enum RuleChange {
    /// It is so now.
    Done(Box<StoredRule>),
    /// Somebody else has changed it meanwhile: it has this version.
    Stale(u32),
}

/// The rules of one tenant that are switched on and can be asked, by what they wait for.
#[derive(Debug, Default)]
pub(super) struct RuleSet {
    by_kind: BTreeMap<Kind, Vec<ReadyRule>>,
}

impl RuleSet {
    /// The rules that wait for `kind`.
    pub(super) fn of(&self, kind: Kind) -> &[ReadyRule] {
        self.by_kind.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// Whether any rule waits for one of `kinds`.
    pub(super) fn waits_for(&self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| self.by_kind.contains_key(kind))
    }
}

impl Store {
    /// A page of the tenant's rules, newest first. A tenant that has none yet gets those that every tenant begins with.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_rules(
        &self,
        tenant: TenantKey,
        page: PageRequest,
        now: UtcMillis,
    ) -> Result<Page<StoredRule>, StoreError> {
        self.begin_rules(tenant, now).await?;
        self.list(tenant, move |transaction| {
            let before = page.before.unwrap_or(EventId::from_bytes([0xff; 16]));
            let sql = format!("{SELECT_RULES} where r.tenant = ?1 and r.rule_id < ?2 order by r.rule_id desc limit ?3");
            let limit = i64::from(page.limit).saturating_add(1);
            let mut rules = transaction.all(&sql, &values![tenant.0, before, limit], read_rule)?;
            rules.iter_mut().try_for_each(|stored| look_at_targets(transaction, tenant, stored))?;
            Ok(Page::of(rules, page.limit))
        })
        .await
    }

    /// One rule of the tenant.
    ///
    /// # Errors
    /// The database's own.
    pub async fn rule(&self, tenant: TenantKey, rule_id: RuleId) -> Result<Option<StoredRule>, StoreError> {
        self.lookup(move |transaction| find(transaction, tenant, rule_id)).await
    }

    /// Makes a rule that has been checked.
    ///
    /// # Errors
    /// [`StoreError::TooMany`] when the tenant has as many rules as it may, [`StoreError::NoSuchChannel`].
    pub async fn create_rule(
        &self,
        tenant: TenantKey,
        by: UserKey,
        rule: Rule,
        now: UtcMillis,
    ) -> Result<StoredRule, StoreError> {
        self.write(move |transaction| {
            ensure(transaction, tenant, now)?;
            let sql = "select count(*) from alert_rules where tenant = ?1";
            let count: i64 = transaction.first(sql, &values![tenant.0], |row| row.get(0))?.unwrap_or_default();
            if usize::try_from(count).unwrap_or(usize::MAX) >= MAX_RULES {
                return Err(StoreError::TooMany("rules"));
            }
            targets::ensure_known(transaction, tenant, &rule)?;
            let rule_id = insert(transaction, tenant, Some(by), &rule, now)?;
            changed(transaction, tenant)?;
            let made = find(transaction, tenant, rule_id)?.ok_or(StoreError::NotFound)?;
            note(transaction, tenant, Action::RuleCreated, &made, now)?;
            Ok(made)
        })
        .await
    }

    /// Puts a rule that has been checked in the place of the one of this version. What the rule remembers stays: a
    /// new name does not make a parked car alert again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such rule, [`StoreError::NoSuchChannel`].
    pub async fn change_rule(
        &self,
        tenant: TenantKey,
        by: UserKey,
        rule_id: RuleId,
        version: u32,
        rule: Rule,
        now: UtcMillis,
    ) -> Result<RuleChange, StoreError> {
        let body = to_json(&rule)?;
        self.write(move |transaction| {
            let is = find(transaction, tenant, rule_id)?.ok_or(StoreError::NotFound)?;
            if is.version != version {
                return Ok(RuleChange::Stale(is.version));
            }
            targets::ensure_known(transaction, tenant, &rule)?;
            transaction.execute(
                "update alert_rules set version = version + 1, body = ?1, changed_at = ?2, changed_by = ?3
                 where tenant = ?4 and rule_id = ?5",
                &values![&body, now, by.0, tenant.0, rule_id.0],
            )?;
            changed(transaction, tenant)?;
            let is = find(transaction, tenant, rule_id)?.ok_or(StoreError::NotFound)?;
            note(transaction, tenant, Action::RuleChanged, &is, now)?;
            Ok(RuleChange::Done(Box::new(is)))
        })
        .await
    }

    /// Deletes the rule of this version; its alerts stay. Answers the rule that was there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such rule.
    pub async fn delete_rule(
        &self,
        tenant: TenantKey,
        rule_id: RuleId,
        version: u32,
        now: UtcMillis,
    ) -> Result<RuleChange, StoreError> {
        self.write(move |transaction| {
            let is = find(transaction, tenant, rule_id)?.ok_or(StoreError::NotFound)?;
            if is.version != version {
                return Ok(RuleChange::Stale(is.version));
            }
            for table in ["alert_rules", "rule_memories"] {
                let sql = format!("delete from {table} where tenant = ?1 and rule_id = ?2");
                transaction.execute(&sql, &values![tenant.0, rule_id.0])?;
            }
            changed(transaction, tenant)?;
            note(transaction, tenant, Action::RuleDeleted, &is, now)?;
            Ok(RuleChange::Done(Box::new(is)))
        })
        .await
    }

    /// Gives a tenant its first rules, unless it has had them.
    async fn begin_rules(&self, tenant: TenantKey, now: UtcMillis) -> Result<(), StoreError> {
        let has_begun = "select 1 from rule_sets where tenant = ?1";
        if self.lookup(move |transaction| transaction.exists(has_begun, &values![tenant.0])).await? {
            return Ok(());
        }
        self.write(move |transaction| ensure(transaction, tenant, now)).await
    }
}

const SELECT_RULES: &str = "select r.rule_id, r.version, r.body, r.created_at, r.changed_at from alert_rules r";

/// The tenant's rules at the version that this transaction sees; read anew only when they have changed.
pub(super) fn current(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    now: UtcMillis,
) -> Result<Arc<RuleSet>, StoreError> {
    static KEPT: LazyLock<Mutex<HashMap<[u8; 16], Arc<RuleSet>>>> = LazyLock::new(Mutex::default);
    let sql = "select version from rule_sets where tenant = ?1";
    let found = transaction.first(sql, &values![tenant.0], |row| row.get::<[u8; 16]>(0))?;
    let version = match found {
        Some(version) => version,
        None => {
            ensure(transaction, tenant, now)?;
            transaction.first(sql, &values![tenant.0], |row| row.get(0))?.ok_or(StoreError::NotFound)?
        }
    };
    if let Some(set) = KEPT.lock().unwrap_or_else(PoisonError::into_inner).get(&version) {
        return Ok(Arc::clone(set));
    }
    let set = Arc::new(read_set(transaction, tenant)?);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= KEPT_SETS {
        kept.clear();
    }
    kept.insert(version, Arc::clone(&set));
    Ok(set)
}

/// A rule that can't be asked is left out and told of; it never stops events.
fn read_set(transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<RuleSet, StoreError> {
    let sql = format!("{SELECT_RULES} where r.tenant = ?1 order by r.rule_id");
    let mut set = RuleSet::default();
    for stored in transaction.all(&sql, &values![tenant.0], read_rule)? {
        let ready =
            stored.rule.and_then(|rule| ReadyRule::new(stored.rule_id, rule).map_err(|fault| fault.to_string()));
        match ready {
            Ok(ready) if ready.rule.enabled => set.by_kind.entry(ready.rule.kind).or_default().push(ready),
            Ok(_) => {}
            Err(reason) => {
                tracing::error!(rule.id = %stored.rule_id, %reason, "an alert rule can't be asked; it raises nothing");
            }
        }
    }
    Ok(set)
}

/// Gives the tenant its first rules, unless it has had them: one who deleted them does not get them again.
fn ensure(transaction: &mut Transaction<'_>, tenant: TenantKey, now: UtcMillis) -> Result<(), StoreError> {
    let sql = "insert into rule_sets (tenant, version) values (?1, ?2) on conflict (tenant) do nothing";
    if transaction.execute(sql, &values![tenant.0, new_version()])? == 0 {
        return Ok(());
    }
    for rule in Rule::built_in() {
        insert(transaction, tenant, None, &rule, now)?;
    }
    Ok(())
}

fn insert(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    by: Option<UserKey>,
    rule: &Rule,
    now: UtcMillis,
) -> Result<RuleId, StoreError> {
    let rule_id = RuleId::from_parts(now, fastrand::u128(..));
    transaction.execute(
        "insert into alert_rules (tenant, rule_id, version, body, created_at, changed_at, changed_by)
         values (?1, ?2, 1, ?3, ?4, ?4, ?5)",
        &values![tenant.0, rule_id.0, to_json(rule)?, now, by.map(|user| user.0)],
    )?;
    Ok(rule_id)
}

/// Writes down what was done with a rule.
fn note(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    action: Action,
    stored: &StoredRule,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let name = stored.rule.as_ref().ok().map(|rule| rule.name.as_str());
    let enabled = stored.rule.as_ref().ok().map(|rule| rule.enabled);
    let detail = json!({ "name": name, "enabled": enabled, "version": stored.version });
    audit::note(transaction, tenant, action, Some(&stored.rule_id.to_string()), detail, now)
}

/// Makes every process read the tenant's rules anew.
fn changed(transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<(), StoreError> {
    let sql = "update rule_sets set version = ?1 where tenant = ?2";
    transaction.execute(sql, &values![new_version(), tenant.0])?;
    transaction.announce(News::Rules(tenant));
    Ok(())
}

/// Random and not counted: two stores in one process never share one, nor does a version that was rolled back.
fn new_version() -> [u8; 16] {
    fastrand::u128(..).to_be_bytes()
}

fn find(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    rule_id: RuleId,
) -> Result<Option<StoredRule>, StoreError> {
    let sql = format!("{SELECT_RULES} where r.tenant = ?1 and r.rule_id = ?2");
    let mut found = transaction.first(&sql, &values![tenant.0, rule_id.0], read_rule)?;
    found.iter_mut().try_for_each(|stored| look_at_targets(transaction, tenant, stored))?;
    Ok(found)
}

/// Finds out which of the channels that a rule names get nothing.
fn look_at_targets(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    stored: &mut StoredRule,
) -> Result<(), StoreError> {
    if let Ok(rule) = &stored.rule {
        stored.unusable_targets = targets::unusable(transaction, tenant, rule)?;
    }
    Ok(())
}

fn read_rule(row: &Row) -> Result<StoredRule, StoreError> {
    let body: String = row.get(2)?;
    Ok(StoredRule {
        rule_id: RuleId::from_bytes(row.get(0)?),
        version: row.get(1)?,
        rule: serde_json::from_str(&body).map_err(|error| error.to_string()),
        unusable_targets: Vec::new(),
        created_at: row.time(3)?,
        changed_at: row.time(4)?,
    })
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Database(format!("writing JSON: {error}")))
}
