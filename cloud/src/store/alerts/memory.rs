//! What rules remember, in the database.

use std::collections::{BTreeMap, BTreeSet};

use aivms_cloud_core::rules::{DedupKey, Foresight, Memory, RuleId, Scope, ScopeMemory};
use aivms_contract::time::UtcMillis;

use super::super::sql::{Transaction, Value, values};
use super::super::{StoreError, TenantKey, rules};

/// The memories of one tenant's rules as one transaction reads and changes them.
pub(super) struct StoredMemory<'t, 'c> {
    pub(super) transaction: &'t mut Transaction<'c>,
    tenant: TenantKey,
    /// As it was read, and as it is now.
    loaded: BTreeMap<(RuleId, Scope), (ScopeMemory, ScopeMemory)>,
    /// Whether there is an alert of each key that was asked for.
    raised: BTreeMap<DedupKey, bool>,
}

impl<'t, 'c> StoredMemory<'t, 'c> {
    pub(super) fn new(transaction: &'t mut Transaction<'c>, tenant: TenantKey) -> Self {
        Self { transaction, tenant, loaded: BTreeMap::new(), raised: BTreeMap::new() }
    }

    /// Reads at once what will be asked for; what is not foreseen is read when it is asked for.
    pub(super) fn prepare(&mut self, foresight: &Foresight) -> Result<(), StoreError> {
        let mut of_rules: BTreeMap<RuleId, Vec<Scope>> = BTreeMap::new();
        foresight.scopes().for_each(|(rule, scope)| of_rules.entry(rule).or_default().push(scope.clone()));
        for (rule, scopes) in of_rules {
            self.load(rule, scopes)?;
        }
        let wanted: Vec<Value> = foresight.keys().map(|key| key.as_str().into()).collect();
        let sql = "select dedup_key from alerts where tenant = ?1 and dedup_key";
        let raised = self.transaction.all_among(sql, &values![self.tenant.0], &wanted, |row| row.get::<String>(0))?;
        let raised: BTreeSet<String> = raised.into_iter().collect();
        self.raised.extend(foresight.keys().map(|key| (key.clone(), raised.contains(key.as_str()))));
        Ok(())
    }

    /// Notes that there is an alert of this key from now on.
    pub(super) fn remember(&mut self, key: DedupKey) {
        self.raised.insert(key, true);
    }

    /// Writes down what has changed.
    pub(super) fn save(&mut self, now: UtcMillis) -> Result<(), StoreError> {
        let changed = self.loaded.iter().filter(|(_, (before, is))| before != is);
        let rows = changed.map(|((rule, scope), (_, is))| {
            Ok(values![self.tenant.0, rule.0, scope.as_str(), rules::to_json(is)?, now].to_vec())
        });
        self.transaction.insert_all(
            "insert into rule_memories (tenant, rule_id, scope, body, touched_at)",
            &rows.collect::<Result<Vec<_>, StoreError>>()?,
            "on conflict (tenant, rule_id, scope) do update set body = excluded.body, touched_at = excluded.touched_at",
        )
    }

    fn load(&mut self, rule: RuleId, scopes: Vec<Scope>) -> Result<(), StoreError> {
        let sql = "select scope, body from rule_memories where tenant = ?1 and rule_id = ?2 and scope";
        let wanted: Vec<Value> = scopes.iter().map(|scope| scope.as_str().into()).collect();
        let of_rule = values![self.tenant.0, rule.0];
        let read = self.transaction.all_among(sql, &of_rule, &wanted, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut bodies: BTreeMap<String, String> = read.into_iter().collect();
        for scope in scopes {
            // One that can't be read is of another version of the program; forgetting it does least harm.
            let body = bodies.remove(scope.as_str());
            let memory: ScopeMemory = body.and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default();
            self.loaded.insert((rule, scope), (memory.clone(), memory));
        }
        Ok(())
    }
}

impl Memory for StoredMemory<'_, '_> {
    type Error = StoreError;

    fn of_scope(&mut self, rule: RuleId, scope: &Scope) -> Result<&mut ScopeMemory, StoreError> {
        let key = (rule, scope.clone());
        if !self.loaded.contains_key(&key) {
            self.load(rule, vec![scope.clone()])?;
        }
        Ok(&mut self.loaded.entry(key).or_default().1)
    }

    fn is_raised(&mut self, key: &DedupKey) -> Result<bool, StoreError> {
        if let Some(is_raised) = self.raised.get(key) {
            return Ok(*is_raised);
        }
        let sql = "select 1 from alerts where tenant = ?1 and dedup_key = ?2";
        let is_raised = self.transaction.exists(sql, &values![self.tenant.0, key.as_str()])?;
        self.raised.insert(key.clone(), is_raised);
        Ok(is_raised)
    }
}
