//! Channels that rules name: there when the rule was made, perhaps gone or switched off since.

use std::collections::BTreeMap;

use aivms_cloud_core::rules::Rule;
use aivms_contract::alert::Severity;

use super::super::sql::{Transaction, values};
use super::super::{StoreError, TenantKey};
use super::{Channel, SELECT, read};

/// A channel that a rule names and to which nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableTarget {
    /// Where the rule names it, as in `escalation[0].targets`.
    pub field: String,
    /// What the rule names.
    pub channel_id: String,
    /// Why nothing is sent to it.
    pub why: Unusable,
}

/// Why nothing is sent to a channel that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// There is no such channel.
    Gone,
    /// It is switched off.
    SwitchedOff,
    /// Its user was removed or may not sign in.
    UserGone,
}

/// Whom an alert goes to.
pub(in super::super) struct Told {
    /// The channels.
    pub channels: Vec<Channel>,
    /// Whether channels and people choose by themselves: none was named, or none that is named can be used.
    pub by_choice: bool,
    /// Those that are named and can't be used.
    pub left_out: Vec<(String, Unusable)>,
}

/// A tenant's channels, and what is in the way of each.
#[derive(Default)]
struct States(BTreeMap<String, Option<Unusable>>);

impl Unusable {
    /// For the log of deliveries.
    pub(in super::super) fn as_reason(self) -> &'static str {
        match self {
            Self::Gone => "the rule names this channel, and there is none",
            Self::SwitchedOff => "the rule names this channel, and it is switched off",
            Self::UserGone => "the rule names this channel, and its user is gone or may not sign in",
        }
    }
}

impl States {
    fn of(&self, channel_id: &str) -> Option<Unusable> {
        self.0.get(channel_id).copied().unwrap_or(Some(Unusable::Gone))
    }
}

/// Whom an alert goes to: the channels it names, as far as something is sent to them; else those that take one so urgent.
pub(in super::super) fn for_alert(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    severity: Severity,
    targets: &[String],
) -> Result<Told, StoreError> {
    let states = if targets.is_empty() { States::default() } else { states(transaction, tenant)? };
    let named: Vec<&String> = targets.iter().filter(|target| states.of(target).is_none()).collect();
    let left_out = targets.iter().filter_map(|target| Some((target.clone(), states.of(target)?))).collect();
    let sql = format!("{SELECT} where tenant = ?1 and enabled = 1 order by channel_id");
    let mut channels = transaction.all(&sql, &values![tenant.0], read)?;
    channels.retain(|channel| match named.as_slice() {
        [] => severity >= channel.least_severity,
        named => named.iter().any(|target| *target == channel.channel_id.as_str()),
    });
    Ok(Told { channels, by_choice: named.is_empty(), left_out })
}

/// What a rule names and can't be used, in the rule's order.
pub(in super::super) fn unusable(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    rule: &Rule,
) -> Result<Vec<UnusableTarget>, StoreError> {
    let named = named(rule);
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let states = states(transaction, tenant)?;
    let unusable = |(field, target): (String, &String)| {
        let why = states.of(target)?;
        Some(UnusableTarget { field, channel_id: target.clone(), why })
    };
    Ok(named.into_iter().filter_map(unusable).collect())
}

/// Checks that every channel that a rule names is there; it may be switched off.
///
/// # Errors
/// [`StoreError::NoSuchChannel`] for the first one that is not.
pub(in super::super) fn ensure_known(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    rule: &Rule,
) -> Result<(), StoreError> {
    let unknown = unusable(transaction, tenant, rule)?.into_iter().find(|target| target.why == Unusable::Gone);
    match unknown {
        Some(UnusableTarget { field, channel_id, .. }) => Err(StoreError::NoSuchChannel { field, channel_id }),
        None => Ok(()),
    }
}

/// Every channel that a rule names, with where.
fn named(rule: &Rule) -> Vec<(String, &String)> {
    let own = rule.targets.iter().map(|target| ("targets".to_owned(), target));
    let steps = rule.escalation.iter().enumerate().flat_map(|(number, step)| {
        step.targets.iter().map(move |target| (format!("escalation[{number}].targets"), target))
    });
    own.chain(steps).collect()
}

fn states(transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<States, StoreError> {
    let sql = "select channel_id, enabled from channels where tenant = ?1";
    let rows = transaction.all(sql, &values![tenant.0], |row| Ok((row.get::<String>(0)?, row.get::<bool>(1)?)))?;
    let state = |enabled: bool| (!enabled).then_some(Unusable::SwitchedOff);
    let mut states: BTreeMap<_, _> = rows.into_iter().map(|(id, enabled)| (id, state(enabled))).collect();
    let sql = "select c.channel_id from channels c where c.tenant = ?1 and c.kind = 3 and not exists (
                   select 1 from users u where u.tenant = c.tenant and cast(u.id as text) = c.target
                       and u.removed_at is null and u.disabled_at is null)";
    for id in transaction.all(sql, &values![tenant.0], |row| row.get::<String>(0))? {
        states.insert(id, Some(Unusable::UserGone));
    }
    Ok(States(states))
}
