//! Which engine analyses: the one that is asked for, or the best that the machine has.

use std::sync::Arc;

use serde::Deserialize;

use super::deepstream::{self, DeepStreamEngine, DeepStreamError, DeepStreamSettings};
use super::engine::Engine;
use super::infer::{Detector, DetectorError, DetectorSettings};

/// The engine that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// DeepStream where its elements and libraries are there and of a known layout, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// DeepStream; what is missing for it is an error.
    DeepStream,
}

/// What either engine is loaded with.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSettings {
    /// Which one.
    pub kind: EngineKind,
    /// For the processor.
    pub cpu: DetectorSettings,
    /// For DeepStream.
    pub deepstream: DeepStreamSettings,
}

/// Says why no engine can be used.
#[derive(Debug, thiserror::Error)]
pub enum EngineLoadError {
    /// The processor's.
    #[error(transparent)]
    Cpu(#[from] DetectorError),
    /// DeepStream's.
    #[error(transparent)]
    DeepStream(#[from] DeepStreamError),
}

/// Loads an engine and says in one line which and why. Takes about a second: call it where blocking is allowed.
///
/// A machine with DeepStream whose model has not been built for it is refused, and not analysed on its processor in
/// silence: it was bought for its accelerator.
///
/// # Errors
/// Names what is missing or does not fit, and what to do.
pub fn load_engine(settings: &EngineSettings) -> Result<Arc<dyn Engine>, EngineLoadError> {
    // Told once it is loaded: settings that are refused end the program with that one line.
    let opened = match settings.kind {
        EngineKind::Cpu => {
            let detector = Detector::load(&settings.cpu)?;
            tracing::info!("the processor analyses, as configured");
            return Ok(detector);
        }
        EngineKind::Auto | EngineKind::DeepStream => deepstream::open(&settings.deepstream.dir),
    };
    match opened {
        Ok(library) => {
            let layout = library.abi();
            let engine = DeepStreamEngine::load(settings.deepstream.clone(), library)?;
            tracing::info!(?layout, "DeepStream analyses");
            Ok(engine)
        }
        Err(reason) if settings.kind == EngineKind::Auto => {
            let detector = Detector::load(&settings.cpu)?;
            tracing::info!(%reason, "the processor analyses, because DeepStream can't be used");
            Ok(detector)
        }
        Err(reason) => Err(reason.into()),
    }
}
