//! Tickets: a browser can't send a token with a WebSocket, so it buys one of these with it first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aivms_cloud_core::relay::Wanted;
use aivms_contract::time::UtcMillis;
use tokio::time::Instant;

use super::Place;
use crate::store::{Credential, UserKey};

/// How long a ticket is good.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30);
/// Most tickets that are not used yet; further ones are refused until some have ended.
const MAX_TICKETS: usize = 4_096;
/// Most of them of one user, so that nobody keeps others out.
const MAX_PER_USER: usize = 64;
/// Most of them of one tenant's users together, likewise.
const MAX_PER_TENANT: usize = 512;

/// What one connection may see.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) place: Place,
    pub(crate) wanted: Wanted,
    /// Who bought it.
    pub(crate) user: UserKey,
    /// What was shown to buy it.
    pub(crate) credential: Credential,
    /// When the user's token ends, and what is seen with it.
    pub(crate) ends_at: UtcMillis,
}

/// Tickets that are not used yet.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<HashMap<String, (Instant, Ticket)>>);

impl Tickets {
    /// Keeps a ticket under its number; false when there is no room.
    pub(crate) fn issue(&self, number: String, ticket: Ticket, now: Instant) -> bool {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|_, (until, _)| *until > now);
        let same_user = tickets.values().filter(|(_, other)| other.user == ticket.user).count();
        let same_tenant = tickets.values().filter(|(_, other)| other.place.tenant == ticket.place.tenant).count();
        if tickets.len() >= MAX_TICKETS || same_user >= MAX_PER_USER || same_tenant >= MAX_PER_TENANT {
            return false;
        }
        tickets.insert(number, (now + LIFETIME, ticket));
        true
    }

    /// Takes a ticket; it is good once.
    pub(crate) fn spend(&self, number: &str, now: Instant) -> Option<Ticket> {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, ticket) = tickets.remove(number)?;
        (until > now).then_some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::relay::View;

    fn ticket(user: i64) -> Ticket {
        ticket_of("acme", user)
    }

    fn ticket_of(tenant: &str, user: i64) -> Ticket {
        Ticket {
            place: Place { tenant: tenant.parse().unwrap(), edge: "edge_1".parse().unwrap() },
            wanted: Wanted { camera: "gate".parse().unwrap(), view: View::Live, h265: false },
            user: UserKey(user),
            credential: Credential::Key([0; 32]),
            ends_at: UtcMillis::from_millis(0),
        }
    }

    #[test]
    fn a_ticket_is_good_once_and_for_a_short_time() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        assert!(tickets.issue("a".into(), ticket(1), now) && tickets.issue("b".into(), ticket(1), now));
        assert!(tickets.spend("a", now).is_some());
        assert!(tickets.spend("a", now).is_none(), "it is spent");
        assert!(tickets.spend("c", now).is_none(), "it was never issued");
        assert!(tickets.spend("b", now + LIFETIME).is_none(), "it has ended");
    }

    #[test]
    fn one_user_never_keeps_others_from_buying() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let bought = (0..MAX_PER_USER + 9).filter(|n| tickets.issue(n.to_string(), ticket(1), now)).count();
        assert_eq!(bought, MAX_PER_USER);
        assert!(tickets.issue("other".into(), ticket(2), now));
        assert!(tickets.issue("later".into(), ticket(1), now + LIFETIME), "ended ones make room");
    }

    #[test]
    fn the_users_of_one_tenant_never_keep_those_of_others_from_buying() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let bought = (0..MAX_TICKETS).filter(|n| tickets.issue(n.to_string(), ticket(*n as i64), now)).count();
        assert_eq!(bought, MAX_PER_TENANT);
        assert!(tickets.issue("other".into(), ticket_of("other", -1), now));
    }
}
