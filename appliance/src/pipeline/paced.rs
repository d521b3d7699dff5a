//! Takes units in batches: who need not see each picture at once sleeps between them, because waking up for a picture
//! costs more than looking at it.

use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// When the next batch is taken.
#[derive(Debug)]
pub struct Pace {
    pause: Duration,
    /// When the next batch is taken, unless this one has not been taken to its end.
    next: Option<Instant>,
}

impl Pace {
    /// Takes the first unit at once, and then what has gathered after each `pause`.
    #[must_use]
    pub fn new(pause: Duration) -> Self {
        Self { pause, next: None }
    }

    /// The next unit. What has been waited for in vain is not lost.
    ///
    /// # Errors
    /// Units were lost, or there will be none.
    pub async fn next<T: Clone>(&mut self, units: &mut Receiver<T>) -> Result<T, RecvError> {
        if let Some(next) = self.next {
            tokio::time::sleep_until(next).await;
        }
        let unit = units.recv().await;
        self.next = units.is_empty().then(|| Instant::now() + self.pause);
        unit
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test]
    async fn the_first_unit_is_taken_and_what_follows_together_after_the_pause() {
        let (units, mut feed) = broadcast::channel(8);
        let mut pace = Pace::new(Duration::from_millis(250));
        assert!(units.send(1).is_ok());
        assert_eq!(pace.next(&mut feed).await, Ok(1));
        let taken = Instant::now();
        assert!(units.send(2).is_ok() && units.send(3).is_ok());
        // Somebody else may have something to do meanwhile.
        let interrupted = tokio::time::timeout(Duration::from_millis(20), pace.next(&mut feed)).await;
        assert!(interrupted.is_err());
        assert_eq!((pace.next(&mut feed).await, pace.next(&mut feed).await), (Ok(2), Ok(3)));
        assert!(taken.elapsed() >= Duration::from_millis(249), "{:?}", taken.elapsed());
    }

    #[tokio::test]
    async fn lost_units_and_the_end_are_told() {
        let (units, mut feed) = broadcast::channel(2);
        let mut pace = Pace::new(Duration::from_millis(250));
        (0..5).for_each(|unit| assert!(units.send(unit).is_ok()));
        assert_eq!(pace.next(&mut feed).await, Err(RecvError::Lagged(3)));
        assert_eq!((pace.next(&mut feed).await, pace.next(&mut feed).await), (Ok(3), Ok(4)));
        drop(units);
        assert_eq!(pace.next(&mut feed).await, Err(RecvError::Closed));
    }
}
