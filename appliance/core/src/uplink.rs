//! The window of the outbox in flight: what to send next, what an acknowledgement covers.
//!
//! The outbox on disk is the only truth: nothing that a client library keeps in memory counts as sent for good. An
//! entry leaves the disk when the cloud says that it is in its database, not when a broker took it. Each connection
//! starts again at the oldest entry that has not been acknowledged; the cloud stores a repeated entry once.

use std::collections::VecDeque;
use std::time::Duration;

use aivms_contract::ack::Ack;
use aivms_contract::id::OutboxId;

/// How much may be in flight, and for how long without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UplinkLimits {
    /// Most entries sent and not acknowledged; at least 1 is taken.
    pub entries: usize,
    /// Bytes in flight from which on nothing more is sent. The last entry may go beyond, so that an entry of any
    /// size can be sent.
    pub bytes: usize,
    /// Time without progress, while entries are in flight, after which the connection counts as dead.
    pub ack_within: Duration,
}

impl Default for UplinkLimits {
    /// 256 entries carry over 1,000 events a second at a round trip and commit of 200 ms; 1 MiB is what a thin uplink
    /// of 1 Mbit/s moves in 8 s, well within the 20 s after which silence counts as a dead connection.
    fn default() -> Self {
        Self { entries: 256, bytes: 1024 * 1024, ack_within: Duration::from_secs(20) }
    }
}

/// What to read from the outbox and send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Entries with a sequence number above this one, in order. Numbers may be missing: shed entries leave gaps.
    pub after: u64,
    /// At most so many entries.
    pub entries: usize,
    /// Together at most so many bytes, but always the first.
    pub bytes: usize,
}

/// Says that an entry must not be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no connection.
    #[error("entry {0}: not connected")]
    NotConnected(u64),
    /// Entries are sent in order, each once per connection.
    #[error("entry {seq}: entry {sent_through} was sent on this connection already")]
    OutOfOrder {
        /// The entry offered.
        seq: u64,
        /// Last entry sent.
        sent_through: u64,
    },
    /// So much is in flight that acknowledgements must come first.
    #[error("entry {0}: the window is full")]
    Full(u64),
}

/// Sends one outbox in order over connections that come and go.
///
/// `now` is a monotonic time since any start that all calls share.
#[derive(Debug)]
pub struct UplinkWindow {
    outbox: OutboxId,
    limits: UplinkLimits,
    acked_through: u64,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    sent_through: u64,
    /// Sequence number and bytes of each entry sent and not acknowledged.
    in_flight: VecDeque<(u64, usize)>,
    bytes: usize,
    /// When the last acknowledgement made progress, or when the window began to fill.
    quiet_since: Duration,
}

impl UplinkWindow {
    /// A window over `outbox`, not connected.
    #[must_use]
    pub fn new(outbox: OutboxId, limits: UplinkLimits) -> Self {
        let limits = UplinkLimits { entries: limits.entries.max(1), bytes: limits.bytes.max(1), ..limits };
        Self { outbox, limits, acked_through: 0, connection: None }
    }

    /// Says that a connection is up and subscribed to acknowledgements: sending starts again at the oldest entry.
    pub fn on_connect(&mut self, now: Duration) {
        let sent_through = self.acked_through;
        self.connection = Some(Connection { sent_through, in_flight: VecDeque::new(), bytes: 0, quiet_since: now });
    }

    /// Says that the connection is gone. What was in flight is sent again on the next.
    pub fn on_disconnect(&mut self) {
        self.connection = None;
    }

    /// What to send next; `None` without a connection or while the window is full.
    #[must_use]
    pub fn next_read(&self) -> Option<Read> {
        let connection = self.connection.as_ref()?;
        let entries = self.limits.entries.saturating_sub(connection.in_flight.len());
        let bytes = self.limits.bytes.saturating_sub(connection.bytes);
        (entries > 0 && bytes > 0).then_some(Read { after: connection.sent_through, entries, bytes })
    }

    /// Takes an entry of `bytes` bytes into the window. Call it just before the entry is handed to the connection, so
    /// that no acknowledgement can overtake it.
    ///
    /// # Errors
    /// The entry must not be sent now; the window is unchanged.
    pub fn on_send(&mut self, seq: u64, bytes: usize, now: Duration) -> Result<(), SendError> {
        let is_full = self.next_read().is_none();
        let connection = self.connection.as_mut().ok_or(SendError::NotConnected(seq))?;
        if seq <= connection.sent_through {
            return Err(SendError::OutOfOrder { seq, sent_through: connection.sent_through });
        }
        if is_full {
            return Err(SendError::Full(seq));
        }
        if connection.in_flight.is_empty() {
            connection.quiet_since = now;
        }
        connection.in_flight.push_back((seq, bytes));
        connection.bytes += bytes;
        connection.sent_through = seq;
        Ok(())
    }

    /// Takes an acknowledgement and says up to which entry the outbox may now be deleted; `None` for nothing new.
    ///
    /// An acknowledgement of another outbox is ignored. One that claims more than was sent on this connection covers
    /// only what was sent: it may be late, from a connection before, or wrong.
    pub fn on_ack(&mut self, ack: &Ack, now: Duration) -> Option<u64> {
        let connection = self.connection.as_mut().filter(|_| ack.outbox == self.outbox)?;
        let through = ack.through.min(connection.sent_through);
        if through <= self.acked_through {
            return None;
        }
        while let Some((_, bytes)) = connection.in_flight.pop_front_if(|(seq, _)| *seq <= through) {
            connection.bytes -= bytes;
        }
        connection.quiet_since = now;
        self.acked_through = through;
        Some(through)
    }

    /// When [`UplinkWindow::on_deadline`] is due; `None` while nothing is in flight.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let connection = self.connection.as_ref().filter(|connection| !connection.in_flight.is_empty())?;
        Some(connection.quiet_since.saturating_add(self.limits.ack_within))
    }

    /// Whether the connection has been silent for too long. `true` means: close it and connect anew; the window
    /// counts it as gone.
    #[must_use]
    pub fn on_deadline(&mut self, now: Duration) -> bool {
        let is_overdue = self.next_deadline().is_some_and(|deadline| now >= deadline);
        if is_overdue {
            self.on_disconnect();
        }
        is_overdue
    }

    /// Entries sent and not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.connection.as_ref().map_or(0, |connection| connection.in_flight.len())
    }

    /// Last entry known to be in the cloud's database since this window was made; 0 for none.
    #[must_use]
    pub fn acked_through(&self) -> u64 {
        self.acked_through
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(50);

    fn outbox() -> OutboxId {
        "box-1".parse().unwrap()
    }

    fn ack(through: u64) -> Ack {
        Ack { outbox: outbox(), through }
    }

    fn connected(entries: usize, bytes: usize) -> UplinkWindow {
        let limits = UplinkLimits { entries, bytes, ack_within: Duration::from_secs(20) };
        let mut window = UplinkWindow::new(outbox(), limits);
        window.on_connect(NOW);
        window
    }

    #[test]
    fn nothing_is_sent_without_a_connection() {
        let mut window = UplinkWindow::new(outbox(), UplinkLimits::default());
        assert_eq!(window.next_read(), None);
        assert_eq!(window.on_send(1, 10, NOW), Err(SendError::NotConnected(1)));
        assert_eq!(window.on_ack(&ack(1), NOW), None);
    }

    #[test]
    fn the_window_fills_by_entries_and_by_bytes_and_opens_with_acks() {
        let mut window = connected(2, 100);
        assert_eq!(window.next_read(), Some(Read { after: 0, entries: 2, bytes: 100 }));
        window.on_send(3, 60, NOW).unwrap();
        assert_eq!(window.next_read(), Some(Read { after: 3, entries: 1, bytes: 40 }));
        window.on_send(7, 1_000, NOW).unwrap();
        assert_eq!(window.next_read(), None);
        assert_eq!(window.on_send(8, 1, NOW), Err(SendError::Full(8)));
        assert_eq!(window.on_ack(&ack(5), NOW), Some(5), "5 lies in a gap and covers 3");
        assert_eq!((window.in_flight(), window.next_read()), (1, None), "7 alone is over the bytes");
        assert_eq!(window.on_ack(&ack(7), NOW), Some(7));
        assert_eq!(window.next_read(), Some(Read { after: 7, entries: 2, bytes: 100 }));
    }

    #[test]
    fn an_ack_covers_no_more_than_was_sent_on_this_connection() {
        let mut window = connected(10, 1_000);
        (1..=5).for_each(|seq| window.on_send(seq, 1, NOW).unwrap());
        window.on_disconnect();
        window.on_connect(NOW);
        assert_eq!(window.on_ack(&ack(5), NOW), None, "late, and nothing was sent on this connection");
        window.on_send(1, 1, NOW).unwrap();
        window.on_send(2, 1, NOW).unwrap();
        assert_eq!(window.on_ack(&ack(u64::MAX), NOW), Some(2));
        assert_eq!(window.on_ack(&ack(2), NOW), None, "a repeated ack is nothing new");
    }

    #[test]
    fn an_ack_of_another_outbox_is_ignored() {
        let mut window = connected(10, 1_000);
        window.on_send(1, 1, NOW).unwrap();
        let foreign = Ack { outbox: "box-2".parse().unwrap(), through: 1 };
        assert_eq!(window.on_ack(&foreign, NOW), None);
        assert_eq!(window.in_flight(), 1);
    }

    #[test]
    fn silence_while_entries_are_in_flight_ends_the_connection_and_sends_them_again() {
        let mut window = connected(10, 1_000);
        assert_eq!(window.next_deadline(), None);
        window.on_send(1, 1, NOW).unwrap();
        window.on_send(2, 1, NOW + Duration::from_secs(5)).unwrap();
        assert_eq!(window.next_deadline(), Some(NOW + Duration::from_secs(20)));
        window.on_ack(&ack(1), NOW + Duration::from_secs(8));
        assert!(!window.on_deadline(NOW + Duration::from_secs(27)));
        assert!(window.on_deadline(NOW + Duration::from_secs(28)));
        assert_eq!(window.next_read(), None);
        window.on_connect(NOW + Duration::from_secs(30));
        assert_eq!(window.next_read().map(|read| read.after), Some(1));
    }

    #[test]
    fn entries_are_sent_in_order_once_per_connection() {
        let mut window = connected(10, 1_000);
        window.on_send(4, 1, NOW).unwrap();
        assert_eq!(window.on_send(4, 1, NOW), Err(SendError::OutOfOrder { seq: 4, sent_through: 4 }));
        assert_eq!(window.on_send(2, 1, NOW), Err(SendError::OutOfOrder { seq: 2, sent_through: 4 }));
    }
}
