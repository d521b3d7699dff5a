//! The way of access units into a decoder: never waits, and never feeds a decoder with gaps.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::access_unit::{AccessUnit, StreamFormat};
use super::decode::DecodeError;
use super::engine::EngineOutput;

/// Access units that wait for the decoder: about a second of video. When the decoder is further behind, units are
/// dropped up to the next key picture, because a decoder fed with gaps gives broken pictures.
const WAITING_UNITS: u64 = 32;

/// Whatever decodes one connection's units.
pub(super) trait TakeUnits: Send + Sync + 'static {
    /// Takes a unit without waiting.
    ///
    /// # Errors
    /// It takes nothing more.
    fn take(&self, unit: &AccessUnit) -> Result<(), DecodeError>;

    /// Hears that units have been lost before they came here.
    fn skip_to_key(&self);
}

/// The appsrc in front of a decoder.
pub(super) struct UnitFeed {
    source: gst_app::AppSrc,
    format: Mutex<Arc<StreamFormat>>,
    waits_for_key: AtomicBool,
    dropped: AtomicU64,
}

impl UnitFeed {
    pub(super) fn new(format: &Arc<StreamFormat>) -> Self {
        let source = gst_app::AppSrc::builder()
            .caps(&format.caps)
            .format(gst::Format::Time)
            .stream_type(gst_app::AppStreamType::Stream)
            .max_buffers(WAITING_UNITS)
            .max_bytes(0)
            .build();
        let (format, dropped) = (Mutex::new(Arc::clone(format)), AtomicU64::default());
        Self { source, format, waits_for_key: AtomicBool::new(true), dropped }
    }

    /// The element, to be put into a pipeline.
    pub(super) fn source(&self) -> &gst_app::AppSrc {
        &self.source
    }

    /// Hands a unit over without waiting; drops it, and all up to the next key picture, when the decoder is too far
    /// behind.
    ///
    /// # Errors
    /// The camera has changed to another codec, or what `why` says of a pipeline that takes nothing more.
    pub(super) fn push(
        &self,
        unit: &AccessUnit,
        why: impl FnOnce(gst::FlowError) -> DecodeError,
    ) -> Result<(), DecodeError> {
        self.follow_format(&unit.format)?;
        let behind = self.source.current_level_buffers() >= WAITING_UNITS;
        if behind || (self.waits_for_key.load(Ordering::Relaxed) && !unit.key) {
            self.skip_to_key();
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.waits_for_key.store(false, Ordering::Relaxed);
        self.source.push_buffer(unit.buffer.clone()).map(drop).map_err(why)
    }

    /// Says that units have been lost before they came here.
    pub(super) fn skip_to_key(&self) {
        self.waits_for_key.store(true, Ordering::Relaxed);
    }

    /// Units dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A change of size or rate is passed on to the decoder; another codec needs another decoder.
    fn follow_format(&self, new: &Arc<StreamFormat>) -> Result<(), DecodeError> {
        // The only change under this lock is one assignment, so a panic can't leave it half made.
        let mut format = self.format.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&format, new) {
            return Ok(());
        }
        if format.media_type() != new.media_type() {
            return Err(DecodeError::FormatChanged);
        }
        self.source.set_caps(Some(&new.caps));
        *format = Arc::clone(new);
        Ok(())
    }
}

/// Hands a connection's units to what decodes them, until either ends.
pub(super) async fn feed(mut units: broadcast::Receiver<AccessUnit>, to: Arc<impl TakeUnits>, output: EngineOutput) {
    loop {
        match units.recv().await {
            Ok(unit) => {
                if let Err(error) = to.take(&unit) {
                    return output.end(error.into());
                }
            }
            Err(RecvError::Lagged(_)) => to.skip_to_key(),
            Err(RecvError::Closed) => return,
        }
    }
}
