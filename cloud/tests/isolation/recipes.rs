//! How a valid request of each operation is made: an entry per operation, in the file of its noun.
//!
//! An entry makes whatever the request uses up (an edge to be revoked) anew on each call, because it is called for
//! every role. Parameters of the path that it does not set are the tenant's own lasting things, found by name: what
//! [`crate::stock`] delivers and every id that an answer has shown.

mod accounts;
mod alerts;
mod audit;
mod commands;
mod edge_devices;
mod edges;
mod events;
mod footage;
mod notifications;
mod own;
mod people;
mod providers;
mod tenants;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::document::Operation;
use crate::party::Party;

/// A request that is in order, if the one who sends it may.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    pub path: BTreeMap<String, String>,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub body: Body,
    /// Its status, if that is not one of success.
    pub status: Option<u16>,
    /// Whether it makes another tenant, whose things are none of the caller's.
    pub apart: bool,
    /// Whether it ends the sessions of who sends it, so that somebody else of the same role does.
    pub by_another: bool,
    /// The token of the one person with whom it has success, when not everybody has.
    pub token: Option<String>,
}

/// What is sent.
#[derive(Debug, Clone, Default)]
pub(crate) enum Body {
    #[default]
    None,
    Json(Value),
    Bytes(&'static str, Vec<u8>),
}

#[allow(dead_code, reason = "the words that entries are written with; not each is needed today")]
impl Call {
    /// A request without a body, of the tenant's own lasting things.
    pub(crate) fn plain() -> Self {
        Self::default()
    }

    pub(crate) fn json(body: Value) -> Self {
        Self { body: Body::Json(body), ..Self::default() }
    }

    pub(crate) fn path(mut self, name: &str, value: impl Into<String>) -> Self {
        self.path.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    pub(crate) fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    pub(crate) fn by_another(mut self) -> Self {
        self.by_another = true;
        self
    }

    pub(crate) fn by(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Whether an answer with this status means that it was carried out.
    pub(crate) fn is_success(&self, status: u16) -> bool {
        self.status.map_or((200..300).contains(&status), |expected| expected == status)
    }
}

/// A valid request of `operation`, made for `party`.
pub(crate) async fn call(party: &Party<'_>, operation: &Operation) -> Call {
    match find(party, &operation.id).await {
        Some(call) => call,
        None => panic!(
            "{} ({} {}) is new: add a valid request of it to cloud/tests/isolation/recipes/, in the file of its noun",
            operation.id, operation.method, operation.path
        ),
    }
}

/// A request of `operation` that is carried out, also where everybody but one person is refused.
pub(crate) async fn call_with_success(party: &Party<'_>, operation: &Operation) -> Call {
    let call = match own::call(party, &operation.id).await {
        Some(call) => call,
        None => call(party, operation).await,
    };
    assert!(
        call.status.is_none(),
        "{}: nobody has success with its request; add one to cloud/tests/isolation/recipes/own.rs",
        operation.id
    );
    call
}

async fn find(party: &Party<'_>, operation: &str) -> Option<Call> {
    macro_rules! first_of {
        ($($noun:ident),*) => {$(
            if let Some(call) = $noun::call(party, operation).await {
                return Some(call);
            }
        )*};
    }
    first_of!(
        accounts,
        audit,
        people,
        providers,
        commands,
        edges,
        events,
        footage,
        edge_devices,
        alerts,
        notifications,
        tenants
    );
    None
}
