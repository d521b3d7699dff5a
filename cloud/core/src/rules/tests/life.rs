//! The life of an alert.

use aivms_contract::alert::Severity;
use proptest::prelude::*;

use super::*;

#[test]
fn an_alert_goes_from_open_over_acknowledged_to_resolved_and_back() {
    use AlertState::{Acknowledged, Open, Resolved};
    for (state, step, expected) in [
        (Open, Step::Acknowledge, Ok(Next::Changed(Acknowledged))),
        (Open, Step::Resolve, Ok(Next::Changed(Resolved))),
        (Acknowledged, Step::Resolve, Ok(Next::Changed(Resolved))),
        (Resolved, Step::Reopen, Ok(Next::Changed(Open))),
        (Open, Step::Reopen, Ok(Next::Already)),
        (Acknowledged, Step::Acknowledge, Ok(Next::Already)),
        (Resolved, Step::Resolve, Ok(Next::Already)),
        (Resolved, Step::Acknowledge, Err(Resolved)),
        (Acknowledged, Step::Reopen, Err(Acknowledged)),
        (Resolved, Step::Comment, Ok(Next::Noted)),
        (Open, Step::Assign, Ok(Next::Noted)),
    ] {
        assert_eq!(state.after(step).map_err(|refused| refused.state), expected, "{state} {step:?}");
    }
}

#[test]
fn an_escalation_is_due_by_its_steps_and_never_calms() {
    let step = |after_minutes, severity| EscalationStep { after_minutes, severity, targets: Vec::new() };
    let steps = [step(5, None), step(15, Some(Severity::Critical)), step(30, Some(Severity::Info))];
    let due = |number| escalation_due(&steps, number, at(0));
    assert_eq!([due(0), due(1), due(2), due(3)], [Some(at(300)), Some(at(900)), Some(at(1800)), None]);
    assert_eq!(escalated(Severity::Warning, &steps[0]), Severity::Warning);
    assert_eq!(escalated(Severity::Warning, &steps[1]), Severity::Critical);
    assert_eq!(escalated(Severity::Critical, &steps[2]), Severity::Critical);
}

proptest! {
    #[test]
    fn a_step_done_twice_changes_nothing_the_second_time(steps in prop::collection::vec(0usize..3, 0..20), last in 0usize..3) {
        let step = |number| [Step::Acknowledge, Step::Resolve, Step::Reopen][number];
        let mut state = AlertState::Open;
        for number in steps {
            if let Ok(Next::Changed(next)) = state.after(step(number)) {
                state = next;
            }
        }
        if let Ok(Next::Changed(next)) = state.after(step(last)) {
            prop_assert_eq!(next.after(step(last)), Ok(Next::Already));
        }
    }
}
