//! What rules remember, in the database.

use std::collections::BTreeMap;

use aivms_cloud_core::rules::{DedupKey, Memory, RuleId, Scope, ScopeMemory};
use aivms_contract::time::UtcMillis;

use super::super::sql::{Transaction, values};
use super::super::{StoreError, TenantKey, rules};

/// The memories of one tenant's rules as one transaction reads and changes them.
pub(super) struct StoredMemory<'t, 'c> {
    pub(super) transaction: &'t mut Transaction<'c>,
    tenant: TenantKey,
    /// As it was read, and as it is now.
    loaded: BTreeMap<(RuleId, Scope), (ScopeMemory, ScopeMemory)>,
}

impl<'t, 'c> StoredMemory<'t, 'c> {
    pub(super) fn new(transaction: &'t mut Transaction<'c>, tenant: TenantKey) -> Self {
        Self { transaction, tenant, loaded: BTreeMap::new() }
    }

    /// Writes down what has changed.
    pub(super) fn save(&mut self, now: UtcMillis) -> Result<(), StoreError> {
        for ((rule, scope), (before, is)) in &self.loaded {
            if before != is {
                self.transaction.execute(
                    "insert into rule_memories (tenant, rule_id, scope, body, touched_at) values (?1, ?2, ?3, ?4, ?5)
                     on conflict (tenant, rule_id, scope)
                     do update set body = excluded.body, touched_at = excluded.touched_at",
                    &values![self.tenant.0, rule.0, scope.as_str(), rules::to_json(is)?, now],
                )?;
            }
        }
        Ok(())
    }
}

impl Memory for StoredMemory<'_, '_> {
    type Error = StoreError;

    fn of_scope(&mut self, rule: RuleId, scope: &Scope) -> Result<&mut ScopeMemory, StoreError> {
        let key = (rule, scope.clone());
        if !self.loaded.contains_key(&key) {
            let sql = "select body from rule_memories where tenant = ?1 and rule_id = ?2 and scope = ?3";
            let values = values![self.tenant.0, rule.0, scope.as_str()];
            let body: Option<String> = self.transaction.first(sql, &values, |row| row.get(0))?;
            // One that can't be read is of another version of the program; forgetting it does least harm.
            let memory: ScopeMemory = body.and_then(|body| serde_json::from_str(&body).ok()).unwrap_or_default();
            self.loaded.insert(key.clone(), (memory.clone(), memory));
        }
        Ok(&mut self.loaded.entry(key).or_default().1)
    }

    fn is_raised(&mut self, key: &DedupKey) -> Result<bool, StoreError> {
        let sql = "select 1 from alerts where tenant = ?1 and dedup_key = ?2";
        self.transaction.exists(sql, &values![self.tenant.0, key.as_str()])
    }
}
