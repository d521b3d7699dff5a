//! What the service manager is told: started, alive, stopping (`sd_notify(3)`).
//!
//! Without a service manager that asks, nothing happens here.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::interval;

/// Says that both fronts listen, and from then on that the runtime turns, as often as the service manager wants: a
/// process that hangs is started again. Whether the database can be written is another question, which a start does
/// not answer.
pub(crate) async fn report_alive() -> std::convert::Infallible {
    tell(&[NotifyState::Ready]);
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    // Half of the limit, as systemd advises.
    let mut beats = interval((limit / 2).max(Duration::from_millis(100)));
    loop {
        beats.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

/// Says that the process ends of its own will.
pub(crate) fn report_stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}
