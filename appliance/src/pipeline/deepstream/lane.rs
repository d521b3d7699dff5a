//! One camera's way through the shared pipeline, as the probes on it see it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aivms_appliance_core::detection::{ClassId, FrameDetections, Tracked};
use aivms_appliance_core::tracker::TrackerSettings;
use aivms_contract::geometry::FrameSize;
use aivms_contract::time::MediaTime;

use crate::pipeline::engine::{EngineError, EngineOutput, Watch};
use crate::pipeline::frame::FrameGate;

/// Pictures between decoder and reader that are remembered: far more than the queues on the way hold.
const UNDER_WAY: usize = 64;
/// Longest time in which pictures go into the shared pipeline and none comes out.
const STALLED_AFTER: Duration = Duration::from_secs(20);
/// Media time after which a track that is not seen any more is forgotten; the tracker gives it up long before.
const FORGET_AFTER: Duration = Duration::from_secs(120);
/// Most tracks remembered of a camera.
const MAX_TRACKS: usize = 4096;

/// What the probes know of one camera.
pub(super) struct Lane {
    watch: Watch,
    output: EngineOutput,
    decoded: AtomicU64,
    admitted: AtomicU64,
    analysed: AtomicU64,
    state: Mutex<State>,
}

struct State {
    gate: FrameGate,
    /// Size of the pictures that the decoder gives.
    size: Option<FrameSize>,
    /// Pictures given to the muxer, oldest first, each with its size.
    under_way: VecDeque<(MediaTime, FrameSize)>,
    /// When pictures last came out, or first went in.
    moved: Option<Instant>,
    /// When a picture last came out.
    arrived: Option<Instant>,
    /// Tracks that were confident once, with the time they were seen last.
    confident: BTreeMap<u64, MediaTime>,
}

/// The cameras of one pipeline by the number of their pad on the muxer.
#[derive(Default)]
pub(super) struct Lanes(RwLock<BTreeMap<u32, Arc<Lane>>>);

/// An object as it comes from the tracker, in pixels of the camera.
pub(super) struct Seen {
    pub(super) tracked: Tracked,
    /// Whether the detector saw it in this frame.
    pub(super) detected: bool,
}

impl Lane {
    pub(super) fn new(watch: Watch, output: EngineOutput) -> Self {
        let state = State {
            gate: FrameGate::new(watch.fps),
            size: None,
            under_way: VecDeque::new(),
            moved: None,
            arrived: None,
            confident: BTreeMap::new(),
        };
        let zero = AtomicU64::default;
        Self { watch, output, decoded: zero(), admitted: zero(), analysed: zero(), state: Mutex::new(state) }
    }

    /// Least confidence that the tracker is given, as on the other engine.
    pub(super) fn low_confidence(&self) -> f32 {
        TrackerSettings::for_confidence(self.watch.confidence).low_confidence
    }

    /// Whether objects of the class are looked for.
    pub(super) fn wants(&self, class: ClassId) -> bool {
        self.watch.classes.is_empty() || self.watch.classes.contains(&class)
    }

    /// Notes the size of the pictures that follow.
    pub(super) fn announce(&self, size: FrameSize) {
        self.lock().size = Some(size);
    }

    /// Whether the decoded picture at `at` is to be analysed.
    pub(super) fn admit(&self, at: Option<MediaTime>) -> bool {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        let (Some(at), Some(size)) = (at, state.size) else { return false };
        if !state.gate.admit(at) {
            return false;
        }
        if state.under_way.len() == UNDER_WAY {
            state.under_way.pop_front();
        }
        if state.under_way.is_empty() {
            state.moved = Some(Instant::now());
        }
        state.under_way.push_back((at, size));
        self.admitted.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Whether the picture at `at` is this connection's: a pad's number may have been another camera's a moment ago.
    pub(super) fn awaits(&self, at: MediaTime) -> bool {
        self.lock().under_way.iter().any(|(awaited, _)| *awaited == at)
    }

    /// The size of the picture at `at`, which has come out; those before it, which have not, never will.
    pub(super) fn arrive(&self, at: MediaTime) -> Option<FrameSize> {
        let mut state = self.lock();
        let place = state.under_way.iter().position(|(awaited, _)| *awaited == at)?;
        let (_, size) = state.under_way.drain(..=place).next_back()?;
        state.moved = Some(Instant::now());
        state.arrived = state.moved;
        Some(size)
    }

    /// Hands over what was seen in a picture. A track counts from its first confident box on, as on the other engine.
    pub(super) fn tell(&self, pts: MediaTime, frame: FrameSize, seen: Vec<Seen>) {
        let objects = self.confident(pts, seen);
        if self.output.frame(FrameDetections { pts, frame, objects }) {
            self.analysed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn confident(&self, pts: MediaTime, seen: Vec<Seen>) -> Vec<Tracked> {
        let mut state = self.lock();
        let known = &mut state.confident;
        known.retain(|_, last| pts.since(*last) <= FORGET_AFTER && last.since(pts) <= FORGET_AFTER);
        let told = seen.into_iter().filter_map(|Seen { tracked, detected }| {
            let starts = detected && tracked.confidence >= self.watch.confidence && known.len() < MAX_TRACKS;
            if !starts && !known.contains_key(&tracked.track) {
                return None;
            }
            known.insert(tracked.track, pts);
            Some(tracked)
        });
        told.collect()
    }

    /// Says why this camera is no longer analysed.
    pub(super) fn end(&self, error: EngineError) {
        self.output.end(error);
    }

    /// Whether pictures go in and none has come out for long.
    pub(super) fn is_stalled(&self) -> bool {
        let state = self.lock();
        // A camera of few pictures waits longer for the next one, which may be lost on the way.
        let few = Duration::try_from_secs_f64(3.0 / self.watch.fps).unwrap_or(Duration::MAX);
        let limit = STALLED_AFTER.max(few);
        !state.under_way.is_empty() && state.moved.is_some_and(|moved| moved.elapsed() > limit)
    }

    fn has_arrived_lately(&self) -> bool {
        self.lock().arrived.is_some_and(|arrived| arrived.elapsed() <= STALLED_AFTER)
    }

    /// Pictures decoded, chosen and analysed.
    pub(super) fn counts(&self) -> [u64; 3] {
        [&self.decoded, &self.admitted, &self.analysed].map(|counter| counter.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No change under this lock leaves the state half made.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    pub(super) fn get(&self, number: u32) -> Option<Arc<Lane>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    /// Gives a camera the smallest free number.
    pub(super) fn enter(&self, lane: &Arc<Lane>) -> u32 {
        let mut lanes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let number = (0..u32::MAX).find(|number| !lanes.contains_key(number)).unwrap_or(u32::MAX);
        lanes.insert(number, Arc::clone(lane));
        number
    }

    pub(super) fn leave(&self, number: u32) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// Whether pictures of any camera have come out lately.
    pub(super) fn any_arrives(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().any(|lane| lane.has_arrived_lately())
    }

    /// Tells every camera why nothing is analysed any more.
    pub(super) fn end_all(&self, error: &EngineError) {
        let lanes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        lanes.values().for_each(|lane| lane.end(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::engine::EngineResults;
    use aivms_contract::geometry::PixelBox;

    const SIZE: FrameSize = FrameSize { width: 640, height: 360 };

    fn lane() -> (Lane, EngineResults) {
        let (output, results) = EngineOutput::new();
        let watch = Watch { fps: 5.0, confidence: 0.5, classes: vec![0] };
        let lane = Lane::new(watch, output);
        lane.announce(SIZE);
        (lane, results)
    }

    fn at(ms: u64) -> MediaTime {
        MediaTime::from_millis(ms)
    }

    fn seen(track: u64, confidence: f32, detected: bool) -> Seen {
        let bbox = PixelBox::new(1.0, 1.0, 9.0, 9.0).unwrap();
        Seen { tracked: Tracked { track, class: 0, confidence, bbox }, detected }
    }

    #[test]
    fn a_picture_arrives_once_with_the_size_it_had_and_those_before_it_are_given_up() {
        let (lane, _results) = lane();
        assert!(lane.admit(Some(at(0))) && lane.admit(Some(at(200))));
        lane.announce(FrameSize { width: 320, height: 180 });
        assert!(lane.admit(Some(at(400))) && !lane.admit(Some(at(440))) && !lane.admit(None));
        assert!(lane.awaits(at(0)) && !lane.awaits(at(440)));
        assert_eq!(lane.arrive(at(200)), Some(SIZE));
        assert_eq!((lane.arrive(at(200)), lane.arrive(at(0))), (None, None));
        assert_eq!(lane.arrive(at(400)).map(|size| size.width), Some(320));
        assert_eq!(lane.counts(), [5, 3, 0]);
    }

    #[test]
    fn a_track_is_told_from_its_first_confident_box_on_and_through_weak_ones() {
        let (lane, mut results) = lane();
        let mut told = |ms, seen| {
            lane.tell(at(ms), SIZE, seen);
            let frame = results.frames.try_recv().unwrap();
            frame.objects.iter().map(|object| object.track).collect::<Vec<_>>()
        };
        assert_eq!(told(0, vec![seen(1, 0.4, true), seen(2, 0.9, true)]), [2]);
        assert_eq!(told(200, vec![seen(1, 0.4, true), seen(2, 0.31, true)]), [2]);
        assert_eq!(told(400, vec![seen(1, 0.7, false), seen(2, 0.2, false)]), [2]);
        assert_eq!(told(600, vec![seen(1, 0.5, true)]), [1]);
        assert_eq!(told(200_000, vec![seen(1, 0.4, true), seen(2, 0.4, true)]), Vec::<u64>::new());
    }

    #[test]
    fn numbers_of_cameras_that_left_are_given_again() {
        let lanes = Lanes::default();
        let lane = Arc::new(lane().0);
        assert_eq!([lanes.enter(&lane), lanes.enter(&lane), lanes.enter(&lane)], [0, 1, 2]);
        lanes.leave(1);
        assert!(lanes.get(1).is_none());
        assert_eq!([lanes.enter(&lane), lanes.enter(&lane)], [1, 3]);
    }
}
