//! What waits for the next batch, and when it goes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use gstreamer as gst;

/// Pictures of one input that wait; an input with as many is held up.
const WAITING_PICTURES: usize = 4;

/// A picture, scaled, on its way into a batch.
pub(super) struct Picture {
    pub(super) pixels: gst::Buffer,
    pub(super) pts: Option<gst::ClockTime>,
    pub(super) source_size: (u32, u32),
    /// Number of the input.
    pub(super) source: u32,
    /// How many pictures of the input came before.
    pub(super) number: i32,
}

/// What is to be done next.
pub(super) enum Step {
    /// Push these.
    Batch(Vec<Picture>),
    /// Tell the elements behind of an input, by the name of the event.
    Tell(&'static str, u32),
    /// All inputs have ended.
    End,
    /// Nothing before something changes, or this moment comes.
    Wait(Option<Instant>),
}

/// All inputs of the muxer.
#[derive(Default)]
pub(super) struct Inputs {
    inputs: BTreeMap<u32, Input>,
    /// The input whose turn it is.
    turn: u32,
    /// Since when the oldest picture waits.
    since: Option<Instant>,
    to_tell: VecDeque<(&'static str, u32)>,
    ended: bool,
}

#[derive(Default)]
struct Input {
    waiting: VecDeque<Picture>,
    seen: i32,
    flushing: bool,
    ended: bool,
    /// Whether the end has been told.
    told: bool,
}

/// Whether an input may give a picture now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Now,
    Later,
    /// It flushes, has ended or is no more.
    Never(gst::FlowError),
}

impl Inputs {
    /// The smallest number that no input has.
    pub(super) fn free_number(&self) -> u32 {
        (0..).find(|number| !self.inputs.contains_key(number)).unwrap_or(u32::MAX)
    }

    /// False when there is such an input.
    pub(super) fn add(&mut self, number: u32) -> bool {
        if self.inputs.contains_key(&number) {
            return false;
        }
        self.inputs.insert(number, Input::default());
        self.to_tell.push_back((super::news::PAD_ADDED, number));
        true
    }

    /// Forgets an input and what waits of it.
    pub(super) fn remove(&mut self, number: u32) {
        if self.inputs.remove(&number).is_some() {
            self.to_tell.push_back((super::news::PAD_DELETED, number));
            self.rest();
        }
    }

    pub(super) fn flush(&mut self, number: u32, flushing: bool) {
        if let Some(input) = self.inputs.get_mut(&number) {
            input.waiting.clear();
            *input = Input { seen: input.seen, flushing, ..Input::default() };
            self.rest();
        }
    }

    pub(super) fn end(&mut self, number: u32) {
        if let Some(input) = self.inputs.get_mut(&number) {
            input.ended = true;
        }
    }

    pub(super) fn admit(&self, number: u32) -> Admission {
        match self.inputs.get(&number) {
            None => Admission::Never(gst::FlowError::Flushing),
            Some(input) if input.flushing => Admission::Never(gst::FlowError::Flushing),
            Some(input) if input.ended => Admission::Never(gst::FlowError::Eos),
            Some(input) if input.waiting.len() >= WAITING_PICTURES => Admission::Later,
            Some(_) => Admission::Now,
        }
    }

    /// Takes a picture of an input that was admitted.
    pub(super) fn push(&mut self, mut picture: Picture, now: Instant) {
        let Some(input) = self.inputs.get_mut(&picture.source) else { return };
        picture.number = input.seen;
        input.seen = input.seen.saturating_add(1);
        input.waiting.push_back(picture);
        self.since.get_or_insert(now);
    }

    /// Says what to do at `now`, for batches of `size`; without a time-out a batch waits until it is full.
    pub(super) fn next(&mut self, size: usize, timeout: Option<Duration>, now: Instant) -> Step {
        if let Some((event, number)) = self.to_tell.pop_front() {
            return Step::Tell(event, number);
        }
        let drained = self.inputs.iter_mut().find(|(_, input)| input.ended && !input.told && input.waiting.is_empty());
        if let Some((number, input)) = drained {
            input.told = true;
            return Step::Tell(super::news::STREAM_EOS, *number);
        }
        let all_ended = !self.inputs.is_empty() && self.inputs.values().all(|input| input.ended);
        let waiting = self.waiting();
        let due = self.since.zip(timeout).map(|(since, timeout)| since + timeout);
        if waiting > 0 && (waiting >= size || all_ended || due.is_some_and(|due| due <= now)) {
            return Step::Batch(self.take(size, now));
        }
        if all_ended && waiting == 0 && !self.ended {
            self.ended = true;
            return Step::End;
        }
        Step::Wait(due)
    }

    fn waiting(&self) -> usize {
        self.inputs.values().map(|input| input.waiting.len()).sum()
    }

    /// Takes pictures of the inputs in turn.
    fn take(&mut self, size: usize, now: Instant) -> Vec<Picture> {
        let mut batch = Vec::new();
        while batch.len() < size {
            let turn = self.turn;
            let mut after = self.inputs.range_mut(turn..).filter(|(_, input)| !input.waiting.is_empty());
            let next = after.next().map(|(number, _)| *number);
            let first = || self.inputs.iter().find(|(_, input)| !input.waiting.is_empty()).map(|(number, _)| *number);
            let Some(number) = next.or_else(first) else { break };
            self.turn = number.wrapping_add(1);
            batch.extend(self.inputs.get_mut(&number).and_then(|input| input.waiting.pop_front()));
        }
        self.since = (self.waiting() > 0).then_some(now);
        batch
    }

    /// Nothing waits when nothing is left.
    fn rest(&mut self) {
        if self.waiting() == 0 {
            self.since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(numbers: &[u32]) -> Inputs {
        gst::init().unwrap();
        let mut inputs = Inputs::default();
        for number in numbers {
            assert!(inputs.add(*number));
        }
        inputs.to_tell.clear();
        inputs
    }

    fn push(inputs: &mut Inputs, source: u32, now: Instant) {
        let picture = Picture { pixels: gst::Buffer::new(), pts: None, source_size: (1, 1), source, number: 0 };
        assert_eq!(inputs.admit(source), Admission::Now);
        inputs.push(picture, now);
    }

    /// Inputs and numbers of the pictures in the batch that goes now.
    fn batch(inputs: &mut Inputs, size: usize, now: Instant) -> Vec<(u32, i32)> {
        match inputs.next(size, Some(Duration::from_millis(33)), now) {
            Step::Batch(batch) => batch.iter().map(|picture| (picture.source, picture.number)).collect(),
            _ => vec![],
        }
    }

    #[test]
    fn inputs_take_turns_and_the_turn_goes_on_in_the_next_batch() {
        let (mut inputs, now) = (inputs(&[0, 1, 5]), Instant::now());
        for source in [0, 0, 0, 1, 5, 5] {
            push(&mut inputs, source, now);
        }
        assert_eq!(batch(&mut inputs, 2, now), [(0, 0), (1, 0)]);
        assert_eq!(batch(&mut inputs, 2, now), [(5, 0), (0, 1)]);
        assert_eq!(batch(&mut inputs, 2, now), [(5, 1), (0, 2)]);
    }

    #[test]
    fn a_batch_that_is_not_full_goes_when_its_first_picture_has_waited_long_enough() {
        let (mut inputs, now) = (inputs(&[0, 1]), Instant::now());
        push(&mut inputs, 0, now);
        push(&mut inputs, 1, now + Duration::from_millis(30));
        assert_eq!(batch(&mut inputs, 3, now + Duration::from_millis(32)), []);
        assert_eq!(batch(&mut inputs, 3, now + Duration::from_millis(33)), [(0, 0), (1, 0)]);
        assert!(matches!(inputs.next(3, Some(Duration::from_millis(33)), now), Step::Wait(None)));
    }

    #[test]
    fn an_input_that_is_ahead_is_held_up_until_a_picture_of_it_has_gone() {
        let (mut inputs, now) = (inputs(&[0]), Instant::now());
        for _ in 0..WAITING_PICTURES {
            push(&mut inputs, 0, now);
        }
        assert_eq!(inputs.admit(0), Admission::Later);
        assert_eq!(batch(&mut inputs, 1, now), [(0, 0)]);
        assert_eq!(inputs.admit(0), Admission::Now);
    }

    #[test]
    fn what_waits_of_a_removed_or_flushed_input_is_gone() {
        let (mut inputs, now) = (inputs(&[0, 1]), Instant::now());
        push(&mut inputs, 0, now);
        push(&mut inputs, 1, now);
        inputs.flush(1, true);
        assert_eq!(inputs.admit(1), Admission::Never(gst::FlowError::Flushing));
        inputs.remove(0);
        assert!(matches!(inputs.next(9, None, now), Step::Tell(super::super::news::PAD_DELETED, 0)));
        assert!(matches!(inputs.next(9, Some(Duration::ZERO), now), Step::Wait(None)));
        inputs.flush(1, false);
        push(&mut inputs, 1, now);
        assert_eq!(batch(&mut inputs, 1, now), [(1, 1)]);
    }
}
