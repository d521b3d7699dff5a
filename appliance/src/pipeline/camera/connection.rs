//! One connection of a camera: its source and, from its first access unit on, its analysis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance_core::supervise::Failure;
use aivms_contract::id::CameraId;
use aivms_contract::time::{MediaClock, UtcMillis};
use tokio::sync::{broadcast, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::pipeline::access_unit::{AccessUnit, fan_out};
use crate::pipeline::engine::{Engine, EngineCounters, EngineOutput, EngineResults, EngineSession, Feed, Watch};
use crate::pipeline::source::address::Address;
use crate::pipeline::source::{Source, SourceEnd, SourceOutput};

/// Longest wait for a device or a decoder to open.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for pipelines to end; a driver or a peer may hang for ever.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// Longest time in which units arrive and no picture comes out of the decoder: longer than the distance of key
/// pictures of any camera seen.
const PICTURE_WITHIN: Duration = Duration::from_secs(30);

/// One connection; made new for each attempt.
pub(super) struct Connection {
    source: Source,
    units: broadcast::Receiver<AccessUnit>,
    ends: mpsc::Receiver<SourceEnd>,
    /// Holds the units that arrive until the analysis begins.
    first_units: Option<broadcast::Receiver<AccessUnit>>,
    analysis: Option<Analysis>,
}

struct Analysis {
    session: Box<dyn EngineSession>,
    results: EngineResults,
    clock: MediaClock,
    counted: EngineCounters,
    /// When the number of decoded pictures was last seen to grow.
    seen: Instant,
}

/// What a connection has to say, by channel.
type Parts<'c> =
    (&'c mut broadcast::Receiver<AccessUnit>, &'c mut mpsc::Receiver<SourceEnd>, Option<&'c mut EngineResults>);

impl Connection {
    /// Starts a source for `address`.
    pub(super) async fn open(address: &Address) -> Result<Self, Failure> {
        let (sender, units) = fan_out();
        let first_units = Some(sender.subscribe());
        let (output, ends) = SourceOutput::new(sender);
        let address = address.clone();
        let source = in_time("source", move || Source::start(&address, output)).await??;
        Ok(Self { source, units, ends, first_units, analysis: None })
    }

    /// Fixes the connection's clock by its first unit, seen at `at`, and begins the analysis.
    pub(super) async fn begin(
        &mut self,
        camera: &CameraId,
        engine: &Arc<dyn Engine>,
        watch: &Watch,
        unit: &AccessUnit,
        at: UtcMillis,
    ) -> Result<(), Failure> {
        let Some(units) = self.first_units.take() else { return Ok(()) };
        let (output, results) = EngineOutput::new();
        let format = Arc::clone(&unit.format);
        let feed = Feed { camera: camera.clone(), format, units, watch: watch.clone(), output };
        let engine = Arc::clone(engine);
        let session = in_time("decoder", move || engine.connect(feed)).await?;
        let session = session.map_err(|error| Failure::Other(error.to_string()))?;
        let clock = MediaClock::anchored(unit.at, at);
        let (counted, seen) = (EngineCounters::default(), Instant::now());
        self.analysis = Some(Analysis { session, results, clock, counted, seen });
        Ok(())
    }

    /// The channels on which the connection speaks.
    pub(super) fn parts(&mut self) -> Parts<'_> {
        (&mut self.units, &mut self.ends, self.analysis.as_mut().map(|analysis| &mut analysis.results))
    }

    /// The connection's clock, once units arrive.
    pub(super) fn clock(&self) -> Option<MediaClock> {
        self.analysis.as_ref().map(|analysis| analysis.clock)
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
        if now.decoded > before.decoded {
            analysis.seen = Instant::now();
        }
        EngineCounters {
            units_dropped: now.units_dropped.saturating_sub(before.units_dropped),
            decoded: now.decoded.saturating_sub(before.decoded),
            frames_skipped: now.frames_skipped.saturating_sub(before.frames_skipped),
            analysed: now.analysed.saturating_sub(before.analysed),
        }
    }

    /// Whether video arrives for long without a picture coming of it.
    pub(super) fn is_blind(&self) -> bool {
        self.analysis.as_ref().is_some_and(|analysis| analysis.seen.elapsed() > PICTURE_WITHIN)
    }

    /// Takes source and analysis down; false when that does not end in time and goes on by itself.
    pub(super) async fn close(self) -> bool {
        let Self { source, analysis, .. } = self;
        let down = spawn_blocking(move || {
            source.stop();
            drop(analysis);
        });
        timeout(CLOSE_WITHIN, down).await.is_ok()
    }
}

/// Runs what may block beside the runtime; gives it up, to end by itself, when it takes too long.
async fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    match timeout(OPEN_WITHIN, spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(Failure::Other(format!("its {what} panicked"))),
        Err(_) => Err(Failure::Other(format!("its {what} does not open"))),
    }
}
