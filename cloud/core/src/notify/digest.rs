//! How many mails an address gets: in a storm of alerts many become one digest.

use std::time::Duration;

use aivms_contract::time::UtcMillis;

/// How many mails one address may get before they are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailBudget {
    /// Mails that are sent at once within `window`; what comes beyond that is put together.
    pub singles: usize,
    /// See `singles`.
    pub window: Duration,
    /// Shortest time from any mail to the next digest while the budget is used up.
    pub digest_every: Duration,
}

/// What to do with the alerts that wait for one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailPlan {
    /// Send a mail for each.
    Singles,
    /// Send one mail that lists all.
    Digest,
    /// Send nothing before this time.
    Wait(UtcMillis),
}

impl Default for MailBudget {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self { singles: 5, window: minutes(10), digest_every: minutes(2) }
    }
}

impl MailBudget {
    /// Decides about `waiting` alerts, at least one. `sent` are the times of the mails that the address got, in any
    /// order; those before the window don't count.
    #[must_use]
    pub fn plan(&self, sent: &[UtcMillis], waiting: usize, now: UtcMillis) -> MailPlan {
        let begin = now - self.window;
        let recent = sent.iter().filter(|at| **at > begin).count();
        let free = self.singles.saturating_sub(recent);
        if waiting <= free {
            return MailPlan::Singles;
        }
        let next = sent.iter().max().map(|last| *last + self.digest_every);
        match next.filter(|next| free == 0 && now < *next) {
            Some(next) => MailPlan::Wait(next),
            None if waiting == 1 => MailPlan::Singles,
            None => MailPlan::Digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> UtcMillis {
        UtcMillis::from_millis(0) + Duration::from_secs(seconds)
    }

    /// Alerts come at `arrivals`; returns the mails as (time, alerts in it).
    fn simulate(budget: MailBudget, mut arrivals: Vec<u64>) -> Vec<(u64, Vec<u64>)> {
        arrivals.sort_unstable();
        let (mut mails, mut waiting): (Vec<(u64, Vec<u64>)>, Vec<u64>) = (Vec::new(), Vec::new());
        let end = arrivals.last().copied().unwrap_or(0) + 10_000;
        let mut arrivals = arrivals.into_iter().peekable();
        for now in 0..end {
            while let Some(arrival) = arrivals.next_if(|arrival| *arrival <= now) {
                waiting.push(arrival);
            }
            if waiting.is_empty() {
                continue;
            }
            let sent: Vec<UtcMillis> = mails.iter().map(|(sent, _)| at(*sent)).collect();
            match budget.plan(&sent, waiting.len(), at(now)) {
                MailPlan::Singles => mails.extend(waiting.drain(..).map(|alert| (now, vec![alert]))),
                MailPlan::Digest => mails.push((now, std::mem::take(&mut waiting))),
                MailPlan::Wait(until) => assert!(until > at(now)),
            }
        }
        mails
    }

    #[test]
    fn few_alerts_are_mailed_one_by_one_at_once() {
        let mails = simulate(MailBudget::default(), vec![0, 60, 61, 700, 800]);
        assert!(mails.iter().all(|(sent, alerts)| alerts == &[*sent]), "{mails:?}");
    }

    #[test]
    fn fifty_edges_going_offline_at_once_are_one_mail() {
        let mails = simulate(MailBudget::default(), vec![30; 50]);
        assert_eq!(mails, [(30, vec![30; 50])]);
    }

    proptest! {
        #[test]
        fn each_alert_is_told_once_and_soon_and_no_storm_gives_more_mails_than_the_budget(
            arrivals in prop::collection::vec(0u64..4_000, 0..200)
        ) {
            let budget = MailBudget::default();
            let mails = simulate(budget, arrivals.clone());
            let mut told: Vec<u64> = mails.iter().flat_map(|(_, alerts)| alerts.clone()).collect();
            told.sort_unstable();
            let mut asked = arrivals;
            asked.sort_unstable();
            prop_assert_eq!(told, asked);
            for (sent, alerts) in &mails {
                prop_assert!(alerts.iter().all(|alert| sent - alert <= budget.digest_every.as_secs()));
                let window = mails.iter().filter(|(other, _)| other <= sent && other + 600 > *sent).count();
                prop_assert!(window <= 5 + 5, "{} mails in ten minutes", window);
            }
        }
    }
}
