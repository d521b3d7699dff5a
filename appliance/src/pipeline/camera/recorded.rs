//! The main stream of a camera whose smaller one is analysed: kept running for those who record it, never decoded.

use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::supervise::Action;
use aivms_contract::health::CameraState;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::link::Link;
use super::stream::Stream;
use crate::pipeline::access_unit::AccessUnit;
use crate::pipeline::consumer::StreamEnd;
use crate::pipeline::paced::Pace;
use crate::pipeline::source::SourceEnd;

/// How often the wall clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked whether units come: nobody here waits for a picture.
const LOOK: Duration = Duration::from_millis(250);

/// The task of a main stream; it ends when told to, by [`Recorded::stop`].
pub(super) struct Recorded {
    task: JoinHandle<()>,
    stop: CancellationToken,
    restart: Arc<Notify>,
    /// Why it does not stream, when it does not.
    trouble: watch::Receiver<Option<String>>,
}

/// What the task wakes up for.
enum Event {
    Stop,
    Restart,
    SourceEnd(SourceEnd),
    Unit(Option<AccessUnit>),
    Tick,
    Deadline,
}

impl Recorded {
    /// Starts to keep `stream` running.
    pub(super) fn start(stream: Stream) -> Self {
        let (stop, restart) = (CancellationToken::new(), Arc::new(Notify::new()));
        let (told, trouble) = watch::channel(None);
        let task = tokio::spawn(keep_running(Link::new(stream), stop.clone(), Arc::clone(&restart), told));
        Self { task, stop, restart, trouble }
    }

    /// Connects anew, at once.
    pub(super) fn restart(&self) {
        self.restart.notify_one();
    }

    /// Why it does not stream, when it does not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Stops it; its consumers know when this returns.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task of a recorded stream ended in a panic");
        }
    }
}

async fn keep_running(
    mut link: Link,
    stop: CancellationToken,
    restart: Arc<Notify>,
    trouble: watch::Sender<Option<String>>,
) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pace = Pace::new(LOOK);
    loop {
        let action = match next_event(&mut link, &stop, &restart, (&mut tick, &mut pace)).await {
            Event::Stop => break,
            Event::Restart => {
                link.close(&StreamEnd::Restarted).await;
                link.begin_anew();
                None
            }
            Event::SourceEnd(end) => link.on_source_end(&end),
            Event::Unit(unit) => {
                link.on_unit();
                let taken = unit.map_or(Ok(false), |unit| link.take(&unit));
                taken.err().and_then(|failure| link.fail(failure))
            }
            Event::Tick => {
                link.follow_wall_clock();
                None
            }
            Event::Deadline => link.on_deadline(),
        };
        carry_out(action, &mut link).await;
        let status = link.status();
        let told = if status.state == CameraState::Streaming { None } else { status.cause };
        trouble.send_if_modified(|now| std::mem::replace(now, told.clone()) != told);
    }
    link.close(&StreamEnd::Stopped).await;
}

async fn carry_out(action: Option<Action>, link: &mut Link) {
    let end = link.end();
    if matches!(action, Some(Action::Stop | Action::Replay)) {
        link.close(&end).await;
    }
    if matches!(action, Some(Action::Start | Action::Replay)) {
        link.connect().await;
    }
}

/// Waits for the next event; what has been waited for in vain is not lost.
async fn next_event(
    link: &mut Link,
    stop: &CancellationToken,
    restart: &Notify,
    (tick, pace): (&mut tokio::time::Interval, &mut Pace),
) -> Event {
    let deadline = link.deadline();
    let streaming = link.connection.is_some();
    let spoken = async {
        let Some((units, ends, _)) = link.connection.as_mut().map(Connection::parts) else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            Some(end) = ends.recv() => Event::SourceEnd(end),
            unit = pace.next(units) => match unit {
                Ok(unit) => Event::Unit(Some(unit)),
                Err(RecvError::Lagged(_)) => Event::Unit(None),
                Err(RecvError::Closed) => Event::SourceEnd(SourceEnd::EndOfStream),
            },
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Event::Stop,
        () = restart.notified() => Event::Restart,
        event = spoken, if streaming => event,
        _ = tick.tick() => Event::Tick,
        () = tokio::time::sleep_until(deadline.into()) => Event::Deadline,
    }
}
