//! Tickets: a browser can't send a token with a WebSocket, so it buys one of these with it first.
//!
//! A ticket says all that it is good for, sealed, so that whichever process the browser comes to can read it. That it
//! is used once is seen to by the process that has the edge's relay, which every viewer of the edge ends up at.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aivms_cloud_core::relay::Wanted;
use aivms_contract::time::UtcMillis;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Place;
use crate::sealed::Sealer;
use crate::store::{Credential, UserKey};

/// How long a ticket is good.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30);
/// What tickets are sealed for.
pub(crate) const SEALED_FOR_TICKETS: &str = "tickets of viewers";
/// Longest ticket in characters that is looked at; one has some 700.
const MAX_CHARS: usize = 4_096;

/// What one connection may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    /// Random: tells it from every other one.
    pub(crate) number: String,
    /// Until when a connection may be opened with it.
    pub(crate) good_until: UtcMillis,
    pub(crate) place: Place,
    pub(crate) wanted: Wanted,
    /// Who bought it.
    pub(crate) user: UserKey,
    /// What was shown to buy it.
    pub(crate) credential: Credential,
    /// When the user's token ends, and what is seen with it.
    pub(crate) ends_at: UtcMillis,
}

/// Writes, reads and spends tickets.
#[derive(Debug)]
pub(crate) struct Tickets {
    sealer: Sealer,
    /// Numbers of those that were spent here and could still be good, with their ends.
    spent: Mutex<HashMap<String, UtcMillis>>,
}

impl Tickets {
    pub(crate) fn new(sealer: Sealer) -> Self {
        Self { sealer, spent: Mutex::default() }
    }

    /// The ticket as a browser shows it; `None` when the system has no random numbers.
    pub(crate) fn write(&self, ticket: &Ticket) -> Option<String> {
        let json = serde_json::to_vec(ticket).ok()?;
        self.sealer.seal(&json).map(|sealed| URL_SAFE_NO_PAD.encode(sealed))
    }

    /// What stands in a ticket that is good; it may have been spent.
    pub(crate) fn read(&self, text: &str, now: UtcMillis) -> Option<Ticket> {
        let sealed = URL_SAFE_NO_PAD.decode(Some(text).filter(|text| text.len() <= MAX_CHARS)?).ok()?;
        let ticket: Ticket = serde_json::from_slice(&self.sealer.open(&sealed)?).ok()?;
        (ticket.good_until > now).then_some(ticket)
    }

    /// Spends a ticket; false when it has ended or was spent before.
    pub(crate) fn spend(&self, ticket: &Ticket, now: UtcMillis) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.retain(|_, until| *until > now);
        ticket.good_until > now && spent.insert(ticket.number.clone(), ticket.good_until).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::store::EdgeKey;
    use aivms_contract::relay::View;

    fn bought() -> UtcMillis {
        UtcMillis::from_millis(1_795_352_700_000)
    }

    fn ticket(number: &str) -> Ticket {
        let (tenant, edge) = ("acme".parse().unwrap(), "edge_1".parse().unwrap());
        Ticket {
            number: number.to_owned(),
            good_until: bought() + LIFETIME,
            place: Place { tenant, edge, key: EdgeKey(1) },
            wanted: Wanted { camera: "gate".parse().unwrap(), view: View::Live, h265: false },
            user: UserKey(1),
            credential: Credential::Key([0; 32]),
            ends_at: bought(),
        }
    }

    fn tickets(secret: &str) -> Tickets {
        Tickets::new(Sealer::new(&Secret::new(secret.repeat(32)), None, SEALED_FOR_TICKETS))
    }

    #[test]
    fn a_ticket_is_good_once_and_for_a_short_time() {
        let tickets = tickets("a");
        assert!(tickets.spend(&ticket("1"), bought()) && tickets.spend(&ticket("2"), bought()));
        assert!(!tickets.spend(&ticket("1"), bought() + LIFETIME / 2), "it is spent");
        assert!(!tickets.spend(&ticket("1"), bought() + LIFETIME), "and after its end nobody needs to remember that");
        assert!(!tickets.spend(&ticket("3"), bought() + LIFETIME), "it has ended");
        tickets.spend(&ticket("4"), bought() + LIFETIME * 2);
        assert!(tickets.spent.lock().unwrap().is_empty(), "nothing is kept of those that have ended");
    }

    #[test]
    fn every_process_that_shares_the_server_secret_reads_a_ticket_and_nobody_else_writes_one() {
        let text = tickets("a").write(&ticket("1")).unwrap();
        assert_eq!(tickets("a").read(&text, bought()), Some(ticket("1")));
        assert_eq!(tickets("a").read(&text, bought() + LIFETIME), None, "it has ended");
        assert_eq!(tickets("b").read(&text, bought()), None);
        let changed = format!("{}A", text.strip_suffix(|_| true).unwrap());
        assert_eq!(tickets("a").read(&changed, bought()).filter(|_| changed != text), None);
        for wrong in ["", "?", "AAAA", &"A".repeat(10_000)] {
            assert_eq!(tickets("a").read(wrong, bought()), None);
        }
    }
}
