//! What a camera's task wakes up for.

use std::sync::Arc;
use std::time::Instant;

use aivms_appliance_core::detection::FrameDetections;
use aivms_appliance_core::rules::CameraRules;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::outbound::{Closed, Outbound};
use crate::pipeline::access_unit::AccessUnit;
use crate::pipeline::engine::EngineError;
use crate::pipeline::source::SourceEnd;

/// What others may ask of the task.
pub(super) struct Orders {
    pub(super) stop: CancellationToken,
    pub(super) restart: Arc<Notify>,
    pub(super) rules: watch::Receiver<CameraRules>,
}

/// What the task wakes up for.
pub(super) enum Event {
    Stop,
    Restart,
    Rules(CameraRules),
    Sent(Result<(), Closed>),
    SourceEnd(SourceEnd),
    EngineEnd(EngineError),
    Frame(FrameDetections),
    Unit(Option<AccessUnit>),
    Tick,
    Deadline,
}

/// Waits for the next event; what has been waited for in vain is not lost.
pub(super) async fn next_event(
    outbound: &mut Outbound,
    orders: &mut Orders,
    connection: &mut Option<Connection>,
    tick: &mut tokio::time::Interval,
    deadline: Instant,
) -> Event {
    let has_room = outbound.has_room();
    let parts = connection.as_mut().map(Connection::parts);
    let (units, ends, results) = parts.map_or((None, None, None), |(u, e, r)| (Some(u), Some(e), r));
    let (frames, faults) = results.map_or((None, None), |r| (Some(&mut r.frames), Some(&mut r.ends)));
    tokio::select! {
        biased;
        () = orders.stop.cancelled() => Event::Stop,
        () = orders.restart.notified() => Event::Restart,
        sent = outbound.send_next() => Event::Sent(sent),
        Ok(()) = orders.rules.changed() => Event::Rules(orders.rules.borrow_and_update().clone()),
        Some(end) = next(ends) => Event::SourceEnd(end),
        Some(fault) = next(faults) => Event::EngineEnd(fault),
        Some(frame) = next(frames), if has_room => Event::Frame(frame),
        unit = next_unit(units) => match unit {
            Ok(unit) => Event::Unit(Some(unit)),
            Err(RecvError::Lagged(_)) => Event::Unit(None),
            Err(RecvError::Closed) => Event::SourceEnd(SourceEnd::EndOfStream),
        },
        _ = tick.tick() => Event::Tick,
        () = tokio::time::sleep_until(deadline.into()) => Event::Deadline,
    }
}

/// The next value, for ever waiting where there is no channel; `None` when the channel has ended.
async fn next<T>(channel: Option<&mut mpsc::Receiver<T>>) -> Option<T> {
    match channel {
        Some(channel) => channel.recv().await,
        None => std::future::pending().await,
    }
}

async fn next_unit(units: Option<&mut broadcast::Receiver<AccessUnit>>) -> Result<AccessUnit, RecvError> {
    match units {
        Some(units) => units.recv().await,
        None => std::future::pending().await,
    }
}
