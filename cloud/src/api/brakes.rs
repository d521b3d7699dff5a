//! Brakes against guessing and flooding. Tries are counted in the database, for all processes together.

use std::time::Duration;

use aivms_cloud_core::throttle::Allowance;
use aivms_contract::time::UtcMillis;
use sha2::{Digest, Sha256};

use super::Tried;
use super::failure::Failure;
use crate::clock;
use crate::store::{Counted, SharedStore, UserKey};

/// How long most tries count.
pub(super) const QUARTER: Duration = Duration::from_secs(15 * 60);
const HOUR: Duration = Duration::from_secs(3_600);
/// Wrong passwords for one account from one address.
const PER_ACCOUNT_AND_ADDRESS: Allowance = Allowance { tries: 10, per: QUARTER };
/// Wrong passwords for one account from everywhere: many more, so that an attacker can't simply lock its owner out.
const PER_ACCOUNT: Allowance = Allowance { tries: 100, per: QUARTER };
/// Wrong passwords from one address, which may be the one of a whole office.
const PER_ADDRESS: Allowance = Allowance { tries: 50, per: QUARTER };
/// Registrations from one address.
const REGISTRATIONS: Allowance = Allowance { tries: 100, per: QUARTER };
/// Wrong codes of one person, who has shown the password: six digits must not be tried through.
const CODES: Allowance = Allowance { tries: 10, per: QUARTER };
/// Wrong passwords of one signed-in person, where the password is asked for again.
const PASSWORDS: Allowance = Allowance { tries: 10, per: QUARTER };
/// Mails to one address that somebody else can make us send.
const RESETS_PER_ACCOUNT: Allowance = Allowance { tries: 3, per: HOUR };
/// Tokens and mails tried from one address.
const TOKENS_PER_ADDRESS: Allowance = Allowance { tries: 50, per: QUARTER };
/// Browsers from one address that are sent to a provider, which costs the cloud calls of it.
const PROVIDER_STARTS: Allowance = Allowance { tries: 200, per: QUARTER };
/// Invitations of one tenant.
const INVITATIONS: Allowance = Allowance { tries: 200, per: HOUR };

/// A try that is counted; [`Brakes::honest`] takes it back.
#[must_use]
pub(super) struct Try(Vec<Counted>);

pub(super) struct Brakes {
    store: SharedStore,
}

impl Brakes {
    pub(super) fn new(store: SharedStore) -> Self {
        Self { store }
    }

    /// Counts a try to sign in, before the password is looked at, so that parallel tries count too.
    pub(super) async fn login(&self, account: &str, address: &str) -> Tried<Try> {
        let counted = vec![
            // No address holds a line feed.
            counted("both", &format!("{address}\n{account}"), PER_ACCOUNT_AND_ADDRESS),
            counted("address", address, PER_ADDRESS),
            counted("account", account, PER_ACCOUNT),
        ];
        self.take(counted, "too many wrong passwords; wait a little").await
    }

    /// Counts a registration.
    pub(super) async fn register(&self, address: &str) -> Tried<Try> {
        self.take(vec![counted("register", address, REGISTRATIONS)], "too many registrations from this address").await
    }

    /// Counts a code of a second factor.
    pub(super) async fn code(&self, person: UserKey) -> Tried<Try> {
        self.take(vec![counted("code", &person.0.to_string(), CODES)], "too many wrong codes; wait a little").await
    }

    /// Counts a password of a signed-in person.
    pub(super) async fn password(&self, person: UserKey) -> Tried<Try> {
        let counted = vec![counted("password", &person.0.to_string(), PASSWORDS)];
        self.take(counted, "too many wrong passwords; wait a little").await
    }

    /// Counts a wish for a mail to `account`; false when it has had enough of them, which the answer must not show.
    pub(super) async fn reset(&self, account: &str, address: &str) -> Tried<bool> {
        self.token(address).await.map(drop)?;
        let counted = vec![counted("reset", account, RESETS_PER_ACCOUNT)];
        Ok(self.store.take_tries(counted, clock::now()).await?.is_ok())
    }

    /// Counts a token that came by mail, or a code of a provider.
    pub(super) async fn token(&self, address: &str) -> Tried<Try> {
        self.take(vec![counted("token", address, TOKENS_PER_ADDRESS)], "too many tries from this address").await
    }

    /// Counts a browser that is sent to a provider.
    pub(super) async fn provider_start(&self, address: &str) -> Tried<Try> {
        let counted = vec![counted("provider", address, PROVIDER_STARTS)];
        self.take(counted, "too many sign-ins from this address; wait a little").await
    }

    /// Counts an invitation.
    pub(super) async fn invitation(&self, tenant: &str) -> Tried<Try> {
        self.take(vec![counted("invite", tenant, INVITATIONS)], "too many invitations; wait a little").await
    }

    /// Takes a try back that turned out to be an honest one.
    pub(super) async fn honest(&self, tried: Try) -> Tried<()> {
        Ok(self.store.give_back_tries(tried.0, clock::now()).await?)
    }

    async fn take(&self, counted: Vec<Counted>, detail: &str) -> Tried<Try> {
        let now: UtcMillis = clock::now();
        let taken = self.store.take_tries(counted.clone(), now).await?;
        taken.map_err(|wait| Failure::too_many(detail, wait))?;
        Ok(Try(counted))
    }
}

/// What is counted is kept as its hash: the database need not list who tried what from where.
fn counted(what: &str, of: &str, allowance: Allowance) -> Counted {
    (Sha256::new().chain_update(what).chain_update([0]).chain_update(of).finalize().into(), allowance)
}
