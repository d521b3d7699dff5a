//! One connection of a camera: its source and, from its first access unit on, its analysis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance_core::supervise::Failure;
use aivms_contract::time::{MediaClock, MediaTime, UtcMillis};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;

use super::stream::{Stream, Taps};
use crate::pipeline::access_unit::AccessUnit;
use crate::pipeline::engine::{Engine, EngineCounters, EngineOutput, EngineResults, EngineSession, Feed, Watch};
use crate::pipeline::source::{Source, SourceEnd};

/// Longest wait for a device or a decoder to open.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for pipelines to end; a driver or a peer may hang for ever.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Longest time, beside the interval of analysed frames, in which units arrive and no picture is to be analysed: longer
/// than the distance of key pictures of any camera seen.
const PICTURE_WITHIN: Duration = Duration::from_secs(30);
/// Most that media time may stray from real time before the connection is built anew: events would be told at wrong
/// times. Jitter and late starts stay far below.
const MAX_STRAY: Duration = Duration::from_secs(10);
/// Most that the wall clock may be away from a connection's clock before that follows: far above what NTP does to a
/// clock that is right, and far below what setting a wrong one does.
const MAX_CLOCK_STEP: Duration = Duration::from_secs(1);
/// Pipelines of one camera that may be left behind. Each holds threads for as long as it hangs, of the few hundred in
/// which the whole program does what may block; with the most cameras half of those are still free.
const MAX_LEFT_BEHIND: usize = 4;

/// Pipelines that did not open or end in time and go on by themselves.
#[derive(Default)]
pub(super) struct LeftBehind(Vec<AbortHandle>);

impl LeftBehind {
    /// Whether another pipeline may be risked.
    pub(super) fn has_room(&mut self) -> bool {
        self.0.retain(|work| !work.is_finished());
        self.0.len() < MAX_LEFT_BEHIND
    }
}

/// One connection; made new for each attempt.
pub(super) struct Connection {
    source: Source,
    ends: mpsc::Receiver<SourceEnd>,
    taps: Taps,
    /// Set by the first unit.
    anchor: Option<Anchor>,
    analysis: Option<Analysis>,
}

/// What the first unit of a connection fixes.
struct Anchor {
    clock: watch::Sender<MediaClock>,
    /// The first unit's time on the media timeline.
    media: MediaTime,
    /// When it was seen.
    seen: Instant,
}

struct Analysis {
    session: Box<dyn EngineSession>,
    results: EngineResults,
    counted: EngineCounters,
    /// When the number of pictures to be analysed was last seen to grow.
    seen: Instant,
    /// Longest time without such a picture.
    picture_within: Duration,
}

/// What a connection has to say, by channel.
type Parts<'c> =
    (&'c mut broadcast::Receiver<AccessUnit>, &'c mut mpsc::Receiver<SourceEnd>, Option<&'c mut EngineResults>);

impl Connection {
    /// Starts a source for `stream`.
    pub(super) async fn open(stream: &Stream, left: &mut LeftBehind) -> Result<Self, Failure> {
        let (output, taps, ends) = stream.open_taps();
        let address = stream.address.clone();
        let source = in_time("source", left, move || Source::start(&address, output)).await??;
        Ok(Self { source, ends, taps, anchor: None, analysis: None })
    }

    /// Fixes the connection's clock by its first unit, seen at `at`, and hands its units to the stream's consumers.
    pub(super) fn anchor(&mut self, stream: &Stream, unit: &AccessUnit, at: UtcMillis) {
        let (clock, follow) = watch::channel(MediaClock::anchored(unit.at, at));
        stream.hand_over(&mut self.taps, &follow);
        self.anchor = Some(Anchor { clock, media: unit.at, seen: Instant::now() });
    }

    /// Begins the analysis; `unit` is the first one.
    pub(super) async fn analyse(
        &mut self,
        stream: &Stream,
        engine: &Arc<dyn Engine>,
        watch: &Watch,
        unit: &AccessUnit,
        left: &mut LeftBehind,
    ) -> Result<(), Failure> {
        let Some(units) = self.taps.analysis.take() else { return Ok(()) };
        let (output, results) = EngineOutput::new();
        let format = Arc::clone(&unit.format);
        let feed = Feed { camera: stream.camera.clone(), format, units, watch: watch.clone(), output };
        let engine = Arc::clone(engine);
        let session = in_time("decoder", left, move || engine.connect(feed)).await?;
        let session = session.map_err(|error| Failure::Other(error.to_string()))?;
        let interval = Duration::try_from_secs_f64(2.0 / watch.fps).unwrap_or_default();
        self.analysis = Some(Analysis {
            session,
            results,
            counted: EngineCounters::default(),
            seen: Instant::now(),
            picture_within: PICTURE_WITHIN.saturating_add(interval),
        });
        Ok(())
    }

    /// The channels on which the connection speaks.
    pub(super) fn parts(&mut self) -> Parts<'_> {
        let results = self.analysis.as_mut().map(|analysis| &mut analysis.results);
        (&mut self.taps.units, &mut self.ends, results)
    }

    /// The connection's clock, once units arrive.
    pub(super) fn clock(&self) -> Option<MediaClock> {
        self.anchor.as_ref().map(|anchor| *anchor.clock.borrow())
    }

    /// Follows the wall clock, which reads `now`, when it was set: many devices start with a wrong one, and what is
    /// seen must not be told at wrong times for as long as the connection holds.
    pub(super) fn follow_wall_clock(&mut self, stream: &Stream, now: UtcMillis) {
        let Some(anchor) = &self.anchor else { return };
        let clock = *anchor.clock.borrow();
        if let Some(set) = set_anew(clock, anchor.media, anchor.seen.elapsed(), now) {
            let (camera, role) = (&stream.camera, stream.role);
            tracing::info!(camera.id = %camera, ?role, "the wall clock was set; events are told by it from now on");
            anchor.clock.send_replace(set);
        }
    }

    /// Why the source ended, as far as it got.
    pub(super) fn failure(&self, end: &SourceEnd) -> Failure {
        self.source.failure(end)
    }

    /// What the engine did since this was last asked.
    pub(super) fn count(&mut self) -> EngineCounters {
        let Some(analysis) = &mut self.analysis else { return EngineCounters::default() };
        let now = analysis.session.counters();
        let before = std::mem::replace(&mut analysis.counted, now);
        if now.analysed + now.frames_skipped > before.analysed + before.frames_skipped {
            analysis.seen = Instant::now();
        }
        EngineCounters {
            units_dropped: now.units_dropped.saturating_sub(before.units_dropped),
            decoded: now.decoded.saturating_sub(before.decoded),
            frames_skipped: now.frames_skipped.saturating_sub(before.frames_skipped),
            analysed: now.analysed.saturating_sub(before.analysed),
            still: now.still.saturating_sub(before.still),
        }
    }

    /// Whether video arrives for long without a picture coming of it.
    pub(super) fn is_blind(&self) -> bool {
        self.analysis.as_ref().is_some_and(|analysis| analysis.seen.elapsed() > analysis.picture_within)
    }

    /// Whether a unit's time fits the time that has passed since the first one.
    pub(super) fn is_in_time(&self, unit: &AccessUnit) -> bool {
        let Some(Anchor { media, seen, .. }) = &self.anchor else { return true };
        stray(*media, unit.at, seen.elapsed()) <= MAX_STRAY
    }

    /// Takes source and analysis down; false when that does not end in time and goes on by itself.
    pub(super) async fn close(self, left: &mut LeftBehind) -> bool {
        let Self { source, analysis, .. } = self;
        let mut down = spawn_blocking(move || {
            source.stop();
            drop(analysis);
        });
        let is_down = timeout(CLOSE_WITHIN, &mut down).await.is_ok();
        if !is_down {
            left.0.push(down.abort_handle());
        }
        is_down
    }
}

/// How far media time since `first` is from the time that has really passed.
fn stray(first: MediaTime, now: MediaTime, passed: Duration) -> Duration {
    // Of the two spans one is zero: media time either went forward or back.
    now.since(first).abs_diff(passed) + first.since(now)
}

/// The clock of `first` as the wall clock, which reads `now` when `passed` has gone by, has it; `None` for the same.
fn set_anew(clock: MediaClock, first: MediaTime, passed: Duration, now: UtcMillis) -> Option<MediaClock> {
    let set = MediaClock::anchored(first, now - passed);
    // Of the two spans one is zero, as above.
    let step = set.zero_at.since(clock.zero_at) + clock.zero_at.since(set.zero_at);
    (step > MAX_CLOCK_STEP).then_some(set)
}

/// Runs what may block beside the runtime; gives it up, to end by itself, when it takes too long.
async fn in_time<T: Send + 'static>(
    what: &str,
    left: &mut LeftBehind,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let mut opening = spawn_blocking(work);
    match timeout(OPEN_WITHIN, &mut opening).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(Failure::Other(format!("its {what} panicked"))),
        Err(_) => {
            left.0.push(opening.abort_handle());
            Err(Failure::Other(format!("its {what} does not open")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_time_strays_when_it_jumps_either_way_or_stands_still() {
        let at = MediaTime::from_millis;
        let seconds = Duration::from_secs;
        assert_eq!(stray(at(500), at(60_500), seconds(60)), Duration::ZERO);
        assert_eq!(stray(at(500), at(3_660_500), seconds(60)), seconds(3600));
        assert_eq!(stray(at(500), at(500), seconds(60)), seconds(60));
        assert_eq!(stray(at(90_000), at(0), seconds(60)), seconds(150));
    }

    #[test]
    fn a_wall_clock_that_is_set_moves_what_is_told_and_a_right_one_does_not() {
        let (first, start) = (MediaTime::from_millis(700), UtcMillis::from_millis(86_400_000));
        let (clock, hour) = (MediaClock::anchored(first, start), Duration::from_secs(3600));
        assert_eq!(set_anew(clock, first, hour, start + hour), None);
        assert_eq!(set_anew(clock, first, hour, start + hour + Duration::from_millis(900)), None);
        for now in [UtcMillis::from_millis(1_795_352_700_000), start + Duration::from_secs(5)] {
            let set = set_anew(clock, first, hour, now).unwrap();
            assert_eq!(set.utc(first + hour), now);
        }
    }

    #[tokio::test]
    async fn no_further_pipeline_is_risked_while_too_many_hang() {
        let (mut left, mut hung) = (LeftBehind::default(), Vec::new());
        while left.has_room() {
            assert!(hung.len() < 100, "never enough");
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let work = spawn_blocking(move || ended.recv().is_err());
            left.0.push(work.abort_handle());
            hung.push((end, work));
        }
        let (end, work) = hung.pop().unwrap();
        drop(end);
        work.await.unwrap();
        assert!(left.has_room(), "one has ended");
    }
}
