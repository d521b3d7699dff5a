//! What deciding will ask of a memory, found out beforehand: a store then reads it at once, not piece by piece.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use super::decide::decide;
use super::id::RuleId;
use super::judge::ReadyRule;
use super::memory::{DedupKey, Memory, Scope, ScopeMemory};
use super::occurrence::Occurrence;

/// What some decisions are likely to ask for. It may hold more than they will, and less: what they ask for can depend
/// on what they find.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Foresight {
    scopes: BTreeMap<(RuleId, Scope), ScopeMemory>,
    keys: BTreeSet<DedupKey>,
}

impl Foresight {
    /// Decides as if nothing had been before, and notes what that asks for.
    pub fn look(&mut self, rule: &ReadyRule, occurrence: &Occurrence) {
        let Ok(_) = decide(rule, occurrence, self);
    }

    /// The rules and scopes, in order.
    pub fn scopes(&self) -> impl Iterator<Item = (RuleId, &Scope)> {
        self.scopes.keys().map(|(rule, scope)| (*rule, scope))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &DedupKey> {
        self.keys.iter()
    }
}

impl Memory for Foresight {
    type Error = Infallible;

    fn of_scope(&mut self, rule: RuleId, scope: &Scope) -> Result<&mut ScopeMemory, Infallible> {
        Ok(self.scopes.entry((rule, scope.clone())).or_default())
    }

    fn is_raised(&mut self, key: &DedupKey) -> Result<bool, Infallible> {
        self.keys.insert(key.clone());
        // No, so that what is asked after this is asked, too.
        Ok(false)
    }
}
