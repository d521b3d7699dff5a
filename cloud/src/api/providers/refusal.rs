//! Why a sign-in through a provider ended without anybody coming in.

use crate::notify::guard::one_line;
use crate::store::{NotAdmitted, StoreError};

/// The text is for the log, [`Refusal::reason`] for the browser.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The person broke it off, or the provider refused: its own word for it.
    #[error("the provider answered {0:?}")]
    Declined(String),
    /// What the browser brings belongs to no sign-in that is on its way.
    #[error("{0}")]
    Stale(&'static str),
    /// The provider does not answer as it should.
    #[error("{0}")]
    Provider(String),
    /// The provider has not verified the person's address.
    #[error("the provider has not verified the address (email_verified)")]
    Unverified,
    /// The provider knows the person, the tenant does not want it.
    #[error("{why}")]
    NotAdmitted {
        /// Its address.
        email: String,
        why: String,
    },
    /// A defect of the cloud.
    #[error("{0}")]
    Internal(String),
}

impl Refusal {
    /// The word behind `#sign-in-failed=`.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Declined(_) => "declined",
            Self::Stale(_) => "expired",
            Self::Provider(_) => "provider",
            Self::Unverified => "unverified",
            Self::NotAdmitted { .. } => "not-admitted",
            Self::Internal(_) => "internal",
        }
    }

    /// The person, when the provider has identified it.
    pub(super) fn email(&self) -> Option<&str> {
        if let Self::NotAdmitted { email, .. } = self { Some(email) } else { None }
    }

    pub(super) fn not_admitted(email: &str, why: NotAdmitted) -> Self {
        Self::NotAdmitted { email: email.to_owned(), why: why.to_string() }
    }

    /// A provider's failure with all its causes.
    pub(super) fn provider(doing: &str, error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Provider(one_line(&format!("{doing}: {:#}", anyhow::Error::new(error))))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Internal(error.to_string())
    }
}
