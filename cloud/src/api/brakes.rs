//! Brakes against guessing passwords and filling the database with tenants. Per process, in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aivms_cloud_core::throttle::{Allowance, Throttle};

use crate::clock;

const QUARTER: Duration = Duration::from_secs(15 * 60);
/// Wrong passwords for one account from one address.
const PER_ACCOUNT_AND_ADDRESS: Allowance = Allowance { tries: 10, per: QUARTER };
/// Wrong passwords for one account from everywhere: many more, so that an attacker can't simply lock its owner out.
const PER_ACCOUNT: Allowance = Allowance { tries: 100, per: QUARTER };
/// Wrong passwords from one address, which may be the one of a whole office.
const PER_ADDRESS: Allowance = Allowance { tries: 50, per: QUARTER };
/// Registrations from one address.
const REGISTRATIONS: Allowance = Allowance { tries: 100, per: QUARTER };

#[derive(Debug)]
pub(super) struct Brakes {
    both: Mutex<Throttle>,
    account: Mutex<Throttle>,
    address: Mutex<Throttle>,
    registrations: Mutex<Throttle>,
}

impl Brakes {
    pub(super) fn new() -> Self {
        let throttle = |allowance| Mutex::new(Throttle::new(allowance));
        Self {
            both: throttle(PER_ACCOUNT_AND_ADDRESS),
            account: throttle(PER_ACCOUNT),
            address: throttle(PER_ADDRESS),
            registrations: throttle(REGISTRATIONS),
        }
    }

    /// Counts a try to sign in, before the password is looked at, so that parallel tries count too. The error says
    /// how long to wait.
    pub(super) fn login(&self, account: &str, address: &str) -> Result<(), Duration> {
        let now = clock::now();
        lock(&self.both).take(&both(account, address), now)?;
        lock(&self.address).take(address, now)?;
        lock(&self.account).take(account, now)
    }

    /// Takes a try back that had the right password.
    pub(super) fn login_succeeded(&self, account: &str, address: &str) {
        let now = clock::now();
        lock(&self.both).give_back(&both(account, address), now);
        lock(&self.address).give_back(address, now);
        lock(&self.account).give_back(account, now);
    }

    /// Counts a registration.
    pub(super) fn register(&self, address: &str) -> Result<(), Duration> {
        lock(&self.registrations).take(address, clock::now())
    }
}

/// No address holds a line feed.
fn both(account: &str, address: &str) -> String {
    format!("{address}\n{account}")
}

/// A throttle is whole after every call, also after one that panicked.
fn lock(throttle: &Mutex<Throttle>) -> MutexGuard<'_, Throttle> {
    throttle.lock().unwrap_or_else(PoisonError::into_inner)
}
