//! The life of a command: queued, sent, and ended once.
//!
//! ```text
//! queued ──published──▶ sent ──answered──▶ succeeded · failed · rejected · timed_out
//!   │ ╲                  │ ╲
//!   │  ╲──answered──▶    │  ╲──given up──▶ expired
//!   │   ╲──given up──▶ expired
//!   ╰──cancelled──▶ cancelled
//! ```
//!
//! A queued command may be answered: the process that published it may have died before it wrote that down.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aivms_contract::command::{Action, Outcome};
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

/// Longest time for which a command may wait for its edge.
pub const MAX_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a command counts that is about now: a restart half a day late surprises whoever asked for it.
pub const PROMPT_EXPIRY: Duration = Duration::from_secs(15 * 60);
/// How long a command counts that is as good tomorrow: a clip, a lock.
pub const PATIENT_EXPIRY: Duration = Duration::from_secs(24 * 3600);
/// Time for an answer that was begun before the command's expiry to arrive.
const ANSWER_TIME: Duration = Duration::from_secs(120);
/// Time to cut a clip after its end has been recorded; long clips of a slow disk take minutes.
const CUTTING_TIME: Duration = Duration::from_secs(15 * 60);

/// Where a command is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandState {
    /// Stored; the edge has not been told.
    Queued,
    /// The edge has been told, and may have been more than once.
    Sent,
    /// Done.
    Succeeded,
    /// Tried and not done.
    Failed,
    /// Not tried: the edge does not know it or its arguments are wrong.
    Rejected,
    /// Not tried: it reached the edge after its expiry.
    TimedOut,
    /// Never answered.
    Expired,
    /// Taken back before the edge was told.
    Cancelled,
}

/// What can happen to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It is published to its edge, for the first time or again.
    Published,
    /// The edge has answered.
    Answered(Outcome),
    /// Somebody takes it back.
    Cancelled,
    /// The time in which an answer could come is over.
    GivenUp,
}

/// Says why something does not change a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unchanged {
    /// It has ended; the first end stays.
    #[error("the command has ended already: it is {0}")]
    Ended(CommandState),
    /// It can't be taken back any more.
    #[error("the command has been sent to the edge and can't be taken back")]
    Sent,
}

/// Says that a text is no state of a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no state of a command: {0:?}")]
pub struct StateError(String);

impl CommandState {
    /// Every state, in the order of a command's life.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Sent,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::TimedOut,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The name in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::TimedOut => "timed_out",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing will change it any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent)
    }

    /// The state after `happening`.
    ///
    /// # Errors
    /// It changes nothing: the command has ended, or is out and can't be taken back.
    pub fn after(self, happening: Happening) -> Result<Self, Unchanged> {
        match (self, happening) {
            (state, _) if state.is_final() => Err(Unchanged::Ended(state)),
            (_, Happening::Published) => Ok(Self::Sent),
            (_, Happening::Answered(outcome)) => Ok(outcome.into()),
            (Self::Queued, Happening::Cancelled) => Ok(Self::Cancelled),
            (_, Happening::Cancelled) => Err(Unchanged::Sent),
            (_, Happening::GivenUp) => Ok(Self::Expired),
        }
    }
}

impl From<Outcome> for CommandState {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed => Self::Failed,
            Outcome::Rejected => Self::Rejected,
            Outcome::TimedOut => Self::TimedOut,
        }
    }
}

impl fmt::Display for CommandState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CommandState {
    type Err = StateError;
    fn from_str(text: &str) -> Result<Self, StateError> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| StateError(text.to_owned()))
    }
}

/// Until when what is done about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// The edge does not begin after this. A command that is still queued then is given up.
    pub expires_at: UtcMillis,
    /// Until when the edge is told again. After the expiry that brings the answer an edge remembers, or `timed_out`.
    pub ask_until: UtcMillis,
    /// When a command that was sent and not answered is given up.
    pub give_up_at: UtcMillis,
}

impl Deadlines {
    /// The deadlines of `action` stored at `now`; `expires_in` is the caller's wish, at most [`MAX_EXPIRY`].
    #[must_use]
    pub fn of(action: &Action, now: UtcMillis, expires_in: Option<Duration>) -> Self {
        let ready_at = ready_at(action);
        let usual = || {
            let usual = if is_patient(action) { PATIENT_EXPIRY } else { PROMPT_EXPIRY };
            usual.max(ready_at.unwrap_or(now).since(now) + ANSWER_TIME)
        };
        let expires_at = now + expires_in.unwrap_or_else(usual).min(MAX_EXPIRY);
        match ready_at {
            None => {
                let end = expires_at + ANSWER_TIME;
                Self { expires_at, ask_until: end, give_up_at: end }
            }
            // Told again after its expiry, an edge that is at work on a clip would answer that it came too late.
            Some(ready_at) => {
                Self { expires_at, ask_until: expires_at, give_up_at: expires_at.max(ready_at) + CUTTING_TIME }
            }
        }
    }
}

/// When the footage is there that an action waits for.
fn ready_at(action: &Action) -> Option<UtcMillis> {
    match action {
        Action::RequestClip { start, duration_ms, .. } => Some(*start + Duration::from_millis(*duration_ms)),
        _ => None,
    }
}

fn is_patient(action: &Action) -> bool {
    match action {
        Action::RequestClip { .. } | Action::LockFootage { .. } | Action::UnlockFootage { .. } => true,
        Action::RequestSnapshot { at, .. } => at.is_some(),
        Action::RestartDetection { .. } | Action::UpdateZones | Action::GetStatus | Action::OpenRelay => false,
    }
}

/// The camera an action is about; `None` when it concerns the whole edge.
#[must_use]
pub fn camera(action: &Action) -> Option<&CameraId> {
    match action {
        Action::RestartDetection { camera_id } => camera_id.as_ref(),
        Action::RequestClip { camera_id, .. }
        | Action::RequestSnapshot { camera_id, .. }
        | Action::LockFootage { camera_id, .. } => Some(camera_id),
        Action::UpdateZones | Action::GetStatus | Action::UnlockFootage { .. } | Action::OpenRelay => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn happenings() -> impl Strategy<Value = Happening> {
        prop_oneof![
            Just(Happening::Published),
            Just(Happening::Cancelled),
            Just(Happening::GivenUp),
            proptest::sample::select(vec![Outcome::Succeeded, Outcome::Failed, Outcome::Rejected, Outcome::TimedOut])
                .prop_map(Happening::Answered),
        ]
    }

    fn clip(start: i64, duration_ms: u64) -> Action {
        let start = UtcMillis::from_millis(start);
        Action::RequestClip { camera_id: "gate".parse().unwrap(), start, duration_ms }
    }

    proptest! {
        #[test]
        fn a_command_ends_at_most_once_whatever_happens_in_whatever_order(
            story in proptest::collection::vec(happenings(), 0..20)
        ) {
            let (mut state, mut ends, mut published) = (CommandState::Queued, 0, false);
            for happening in story {
                match state.after(happening) {
                    Ok(next) => {
                        prop_assert!(!state.is_final());
                        prop_assert!(next != CommandState::Queued, "nothing goes back into the queue");
                        prop_assert!(next != CommandState::Cancelled || !published, "what is out is not taken back");
                        ends += u32::from(next.is_final());
                        state = next;
                    }
                    Err(Unchanged::Ended(end)) => prop_assert_eq!(end, state),
                    Err(Unchanged::Sent) => prop_assert_eq!(state, CommandState::Sent),
                }
                published |= happening == Happening::Published;
            }
            prop_assert!(ends <= 1);
        }

        #[test]
        fn deadlines_follow_each_other(
            now in 0i64..1 << 44, start in 0i64..1 << 44, duration in 0u64..1 << 21, wish in proptest::option::of(1u64..1_000_000)
        ) {
            for action in [clip(start, duration), Action::GetStatus] {
                let now = UtcMillis::from_millis(now);
                let deadlines = Deadlines::of(&action, now, wish.map(Duration::from_secs));
                prop_assert!(now < deadlines.expires_at && deadlines.expires_at <= now + MAX_EXPIRY);
                prop_assert!(deadlines.expires_at <= deadlines.ask_until && deadlines.ask_until <= deadlines.give_up_at);
            }
        }
    }

    #[test]
    fn states_print_and_read_back() {
        for state in CommandState::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert!("done".parse::<CommandState>().is_err());
    }

    #[test]
    fn a_clip_of_footage_to_come_is_waited_for_and_not_asked_for_again_while_it_is_cut() {
        let now = UtcMillis::from_millis(1_000_000_000);
        let in_an_hour = clip(1_000_000_000 + 3_600_000, 60_000);
        let hasty = Deadlines::of(&in_an_hour, now, Some(Duration::from_secs(5)));
        assert_eq!(hasty.ask_until, hasty.expires_at);
        assert!(hasty.give_up_at > now + Duration::from_secs(3_660));
        let usual = Deadlines::of(&in_an_hour, now, None);
        assert!(usual.expires_at > now + Duration::from_secs(3_660));
    }

    #[test]
    fn what_is_about_now_is_given_up_soon_and_what_is_as_good_tomorrow_is_kept() {
        let now = UtcMillis::from_millis(1_000_000_000);
        let expiry = |action: &Action| Deadlines::of(action, now, None).expires_at.since(now);
        assert_eq!(expiry(&Action::GetStatus), PROMPT_EXPIRY);
        assert_eq!(expiry(&clip(0, 10)), PATIENT_EXPIRY);
        assert_eq!(expiry(&Action::UnlockFootage { lock_id: "l".parse().unwrap() }), PATIENT_EXPIRY);
    }
}
