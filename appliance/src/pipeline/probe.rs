//! A short look at a camera: does it answer, and what does it send.

use std::fmt;
use std::time::{Duration, Instant};

use aivms_appliance_core::supervise::Failure;
use aivms_contract::desired::Camera;
use aivms_contract::geometry::FrameSize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::{sleep_until, timeout};

use super::access_unit::{AccessUnit, fan_out};
use super::source::address::{Address, AddressError, CameraAddressError};
use super::source::{Source, SourceOutput};

/// Time over which the rate of pictures is measured when the camera does not say it.
const RATE_PERIOD: Duration = Duration::from_secs(2);
/// Longest wait for the look's own source to end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What a camera sends.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeReport {
    /// Name of the format, such as `H.264`.
    pub codec: String,
    /// Size of the pictures, when the stream says it.
    pub frame: Option<FrameSize>,
    /// Pictures per second, as the stream says or as measured.
    pub fps: Option<f64>,
    /// Time from the start to the first picture.
    pub first_after: Duration,
}

/// Says why a camera can't be watched, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The configuration of a camera is wrong.
    #[error(transparent)]
    Camera(#[from] CameraAddressError),
    /// The camera does not send video.
    #[error("{}", failure.explain(address))]
    Failed {
        /// The address, without credentials.
        address: String,
        /// Why.
        failure: Failure,
    },
}

/// Connects to a camera, as its task would, and tells what it sends; takes `within` at most, and as long again for
/// a source that does not end.
///
/// # Errors
/// The clear cause: a wrong URL, 401, unreachable, no video.
pub async fn probe(
    url: &str,
    username: Option<&str>,
    password: Option<&str>,
    within: Duration,
) -> Result<ProbeReport, ProbeError> {
    probe_address(Address::parse(url, username, password)?, within).await
}

/// The same for both streams of a camera, by its own client, at the same time; the second one where it has one.
///
/// # Errors
/// The first clear cause.
pub async fn probe_camera(camera: &Camera, within: Duration) -> Result<(ProbeReport, Option<ProbeReport>), ProbeError> {
    let (main, sub) = (Address::of(camera)?, Address::of_sub(camera)?);
    let sub = async {
        match sub {
            Some(address) => probe_address(address, within).await.map(Some),
            None => Ok(None),
        }
    };
    let (main, sub) = tokio::join!(probe_address(main, within), sub);
    Ok((main?, sub?))
}

async fn probe_address(address: Address, within: Duration) -> Result<ProbeReport, ProbeError> {
    let shown = address.to_string();
    look(address, within).await.map_err(|failure| ProbeError::Failed { address: shown, failure })
}

async fn look(address: Address, within: Duration) -> Result<ProbeReport, Failure> {
    let start = Instant::now();
    let (sender, mut units) = fan_out();
    let (output, mut ends) = SourceOutput::new(sender);
    let opening = timeout(within, spawn_blocking(move || Source::start(&address, output))).await;
    let source =
        opening.map_err(|_| Failure::NoVideo)?.map_err(|_| Failure::Other("its source panicked".to_owned()))??;
    let first = tokio::select! {
        biased;
        Some(end) = ends.recv() => Err(source.failure(&end)),
        unit = next(&mut units) => unit.ok_or(Failure::Ended),
        () = sleep_until((start + within).into()) => Err(source.failure(&Failure::NoVideo.into())),
    };
    let first_after = start.elapsed();
    let report = match first {
        Ok(first) => Ok(describe(&first, &mut units, first_after).await),
        Err(failure) => Err(failure),
    };
    // A source that hangs ends by itself; the report does not depend on it.
    let _ = timeout(CLOSE_WITHIN, spawn_blocking(move || source.stop())).await;
    report
}

async fn describe(
    first: &AccessUnit,
    units: &mut broadcast::Receiver<AccessUnit>,
    first_after: Duration,
) -> ProbeReport {
    let format = &first.format;
    let fps = match format.fps {
        Some(fps) => Some(fps),
        None => measure_rate(first, units).await,
    };
    ProbeReport { codec: format.codec().to_owned(), frame: format.frame, fps, first_after }
}

async fn measure_rate(first: &AccessUnit, units: &mut broadcast::Receiver<AccessUnit>) -> Option<f64> {
    let (mut last, mut pictures) = (first.at, 0_u32);
    let count = async {
        while let Some(unit) = next(units).await {
            pictures += 1;
            last = last.max(unit.at);
        }
    };
    // The end of the period is the usual end of counting.
    let _ = timeout(RATE_PERIOD, count).await;
    let span = last.since(first.at).as_secs_f64();
    (span > 0.0).then(|| f64::from(pictures) / span)
}

async fn next(units: &mut broadcast::Receiver<AccessUnit>) -> Option<AccessUnit> {
    loop {
        match units.recv().await {
            Ok(unit) => return Some(unit),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

impl fmt::Display for ProbeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.codec)?;
        if let Some(FrameSize { width, height }) = self.frame {
            write!(f, ", {width}x{height}")?;
        }
        if let Some(fps) = self.fps {
            write!(f, ", {fps:.1} pictures per second")?;
        }
        write!(f, ", the first after {:.1} s", self.first_after.as_secs_f64())
    }
}
