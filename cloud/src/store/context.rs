//! On whose behalf operations run, and for which request.

use std::sync::Arc;

use aivms_cloud_core::audit::{Actor, ActorKind};

use super::idempotency::Claim;
use super::{Store, User};

/// Who does something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doer {
    /// Who.
    pub actor: Actor,
    /// The network address it comes from, if there is one.
    pub address: Option<String>,
}

/// What the transactions of a handle know.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    /// Who asked for what is done; nobody did what the cloud does by itself.
    pub(super) doer: Option<Arc<Doer>>,
    /// The request that must be carried out once.
    pub(super) claim: Option<Claim>,
}

impl Doer {
    /// The cloud itself.
    #[must_use]
    pub fn system() -> Self {
        Self { actor: Actor::system(), address: None }
    }
}

impl From<&User> for Actor {
    fn from(user: &User) -> Self {
        Self { kind: ActorKind::User, id: user.email.clone(), name: user.name.clone() }
    }
}

impl Store {
    /// The same store for what `doer` asks for: the audit entries of its operations name it.
    #[must_use]
    pub fn by(&self, doer: &Doer) -> Self {
        let mut handle = self.clone();
        handle.context.doer = Some(Arc::new(doer.clone()));
        handle
    }

    /// The same store for a request that must be carried out once: its writes say so in their own transactions.
    #[must_use]
    pub fn claimed(&self, claim: Claim) -> Self {
        let mut handle = self.clone();
        handle.context.claim = Some(claim);
        handle
    }
}
