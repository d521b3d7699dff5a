//! Commands: exactly one final answer for each id, also over restarts.

use std::collections::VecDeque;

use aivms_contract::command::{Action, Command, CommandResult, Outcome};
use aivms_contract::id::CommandId;
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Answers remembered. The cloud repeats a command only until it has the answer, so a handful would do.
const MAX_ANSWERS: usize = 64;
/// Bytes of answers remembered: what the state database keeps safely in one value, with room to spare.
const MAX_ANSWER_BYTES: usize = 40 * 1024;

/// The latest answers, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Answers(VecDeque<CommandResult>);

/// What to do about a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// It was answered before: say the same again.
    Repeat(CommandResult),
    /// It is not to be tried: remember and say this.
    Answer(CommandResult),
    /// Carry it out, then answer.
    Do(Action),
}

impl Answers {
    /// Decides about a command that arrived at `now`.
    #[must_use]
    pub fn judge(&self, command: &Command, now: UtcMillis) -> Judgement {
        if let Some(answer) = self.find(&command.id) {
            return Judgement::Repeat(answer.clone());
        }
        if now > command.expires_at {
            let late = format!("it expired at {} and arrived at {now}", command.expires_at);
            return Judgement::Answer(answer(command.id.clone(), now, Outcome::TimedOut, late));
        }
        match command.action() {
            Ok(action) => Judgement::Do(action),
            Err(error) => Judgement::Answer(answer(command.id.clone(), now, Outcome::Rejected, error.to_string())),
        }
    }

    /// Remembers an answer, forgetting the oldest when there are too many.
    pub fn remember(&mut self, answer: CommandResult) {
        self.0.push_back(answer);
        while self.0.len() > 1 && (self.0.len() > MAX_ANSWERS || self.bytes() > MAX_ANSWER_BYTES) {
            self.0.pop_front();
        }
    }

    fn find(&self, id: &CommandId) -> Option<&CommandResult> {
        self.0.iter().find(|answer| answer.id == *id)
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|answer| serde_json::to_vec(answer).map_or(0, |json| json.len())).sum()
    }
}

/// The answer of a command that was carried out.
#[must_use]
pub fn succeeded(id: CommandId, at: UtcMillis, data: Map<String, Value>) -> CommandResult {
    CommandResult { id, at, outcome: Outcome::Succeeded, reason: None, data }
}

/// The answer of a command that was tried in vain.
#[must_use]
pub fn failed(id: CommandId, at: UtcMillis, reason: String) -> CommandResult {
    answer(id, at, Outcome::Failed, reason)
}

fn answer(id: CommandId, at: UtcMillis, outcome: Outcome, reason: String) -> CommandResult {
    CommandResult { id, at, outcome, reason: Some(reason), data: Map::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn command(id: &str, name: &str, payload: &Value) -> Command {
        let issued_at = UtcMillis::from_millis(1_795_352_700_000);
        serde_json::from_value(serde_json::json!({
            "id": id, "issued_at": issued_at, "expires_at": issued_at + Duration::from_secs(60),
            "command": name, "payload": payload,
        }))
        .unwrap()
    }

    fn soon(command: &Command) -> UtcMillis {
        command.issued_at + Duration::from_secs(1)
    }

    #[test]
    fn a_repeated_command_gets_the_same_answer_and_is_not_done_again() {
        let get_status = command("c1", "get_status", &serde_json::json!({}));
        let mut answers = Answers::default();
        assert_eq!(answers.judge(&get_status, soon(&get_status)), Judgement::Do(Action::GetStatus));
        let answer = succeeded(get_status.id.clone(), soon(&get_status), Map::new());
        answers.remember(answer.clone());
        // Even after its expiry: the answer is the one given first.
        let late = get_status.expires_at + Duration::from_secs(1);
        assert_eq!(answers.judge(&get_status, late), Judgement::Repeat(answer));
    }

    #[test]
    fn a_late_unknown_or_wrong_command_is_answered_and_not_done() {
        let outcome = |command: &Command, now| match Answers::default().judge(command, now) {
            Judgement::Answer(answer) => (answer.outcome, answer.reason.unwrap()),
            other => panic!("{other:?}"),
        };
        let late = command("c1", "get_status", &serde_json::json!({}));
        assert_eq!(outcome(&late, late.expires_at + Duration::from_millis(1)).0, Outcome::TimedOut);
        let unknown = command("c1", "self_destruct", &serde_json::json!({}));
        assert_eq!(outcome(&unknown, soon(&unknown)).0, Outcome::Rejected);
        let wrong = command("c1", "restart_detection", &serde_json::json!({"camera": "a"}));
        let (rejected, reason) = outcome(&wrong, soon(&wrong));
        assert_eq!(rejected, Outcome::Rejected);
        assert!(reason.contains("camera"), "{reason}");
    }

    #[test]
    fn the_newest_answers_are_kept_within_bounds() {
        let mut answers = Answers::default();
        let at = UtcMillis::from_millis(0);
        for number in 0..200 {
            answers.remember(failed(format!("c{number}").parse().unwrap(), at, "x".repeat(2000)));
        }
        assert!(answers.bytes() <= MAX_ANSWER_BYTES && answers.0.len() > 10);
        assert!(answers.find(&"c199".parse().unwrap()).is_some());
        let read: Answers = serde_json::from_str(&serde_json::to_string(&answers).unwrap()).unwrap();
        assert_eq!(read, answers);
    }
}
