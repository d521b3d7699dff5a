//! What people do with models: build the engine, list engines, check whether the present one is there.

use std::path::{Path, PathBuf};

use aivms_appliance_core::model::ModelDescription;

use super::build::Build;
use super::cache::{EngineCache, EngineKey, KnownEngine, digest_of};
use super::error::DeepStreamError;
use super::machine::Machine;
use super::nvinfer_config::Weights;
use super::settings::{DeepStreamSettings, Precision};
use super::weights::{Network, network};
use super::{check, elements};
use crate::pipeline::infer;

/// What `model build` came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Built {
    /// A new engine, tried and put in its place.
    New(PathBuf),
    /// It was there already.
    Present(PathBuf),
    /// nvinfer here runs ONNX files by itself.
    NotNeeded,
}

/// Builds the engine that the settings ask for, unless it is there. Takes minutes.
///
/// # Errors
/// Something is missing, there is too little room, or the builder failed.
pub fn build(settings: &DeepStreamSettings, say: &mut dyn FnMut(&str)) -> Result<Built, DeepStreamError> {
    check::installed(&settings.dir)?;
    if elements::runs_onnx() {
        return Ok(Built::NotNeeded);
    }
    build_on(settings, Path::new("/"), say)
}

fn build_on(settings: &DeepStreamSettings, root: &Path, say: &mut dyn FnMut(&str)) -> Result<Built, DeepStreamError> {
    let (_, network) = read(settings)?;
    network.place()?;
    let key = key(settings, &network, root)?;
    let cache = EngineCache::new(&settings.engines_dir);
    // A damaged one is built anew.
    if let Ok(Some(path)) = cache.find(&key) {
        return Ok(Built::Present(path));
    }
    say(&format!("building an engine for {} ({}); this takes minutes", settings.model.display(), key.what()));
    Build { settings, network: &network, key: &key, root, say }.run(&cache).map(Built::New)
}

/// The engines there are.
#[must_use]
pub fn list(settings: &DeepStreamSettings) -> Vec<KnownEngine> {
    EngineCache::new(&settings.engines_dir).list()
}

/// Whether the network that the settings ask for can be run now; says as what.
///
/// # Errors
/// What is missing, and what to do.
pub fn examine(settings: &DeepStreamSettings) -> Result<String, DeepStreamError> {
    check::installed(&settings.dir)?;
    let (_, network) = read(settings)?;
    Ok(match weights(settings, &network)? {
        Weights::Engine(path) => format!("TensorRT engine {}", path.display()),
        Weights::Onnx(path) => format!("{}, run by nvinfer itself", path.display()),
    })
}

/// The description and what nvinfer is given of the model.
pub(super) fn read(settings: &DeepStreamSettings) -> Result<(ModelDescription, Network), DeepStreamError> {
    if settings.precision == Precision::Int8 && settings.calibration.is_none() {
        return Err(DeepStreamError::NoCalibration);
    }
    let described = infer::description(&settings.model, settings.description.as_deref())?;
    let network = network(&settings.model, &described, &settings.work_dir)?;
    Ok((described, network))
}

/// The engine for this machine, where nvinfer needs one.
pub(super) fn weights(settings: &DeepStreamSettings, network: &Network) -> Result<Weights, DeepStreamError> {
    if elements::runs_onnx() {
        return Ok(Weights::Onnx(network.onnx.clone()));
    }
    built_engine(settings, network, Path::new("/")).map(Weights::Engine)
}

fn built_engine(settings: &DeepStreamSettings, network: &Network, root: &Path) -> Result<PathBuf, DeepStreamError> {
    let key = key(settings, network, root)?;
    let found = EngineCache::new(&settings.engines_dir).find(&key)?;
    let missing = || DeepStreamError::NoEngine { model: settings.model.display().to_string(), what: key.what() };
    found.ok_or_else(missing)
}

fn key(settings: &DeepStreamSettings, network: &Network, root: &Path) -> Result<EngineKey, DeepStreamError> {
    let input = (network.model.input.width, network.model.input.height);
    let batch = network.batch(settings.batch);
    let machine = Machine::read(root)?;
    let mut key = EngineKey::new(network.digest.clone(), input, batch, settings.precision, machine);
    if let (Precision::Int8, Some(table)) = (settings.precision, &settings.calibration) {
        key.calibration = Some(digest_of(table)?);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Writes what `--saveEngine` names.
    const TRTEXEC: &str = "#!/bin/sh\nfor argument; do case \"$argument\" in --saveEngine=*) \
        printf engine > \"${argument#--saveEngine=}\";; esac; done\n";

    /// A Jetson as far as files tell.
    fn jetson() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        put("usr/lib/aarch64-linux-gnu/libnvinfer.so.10.3.0", "");
        put("proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0");
        put("usr/src/tensorrt/bin/trtexec", TRTEXEC);
        root
    }

    #[test]
    fn a_model_is_run_once_it_was_built_for_just_these_settings_and_refused_before() {
        let root = jetson();
        let mut settings = DeepStreamSettings {
            model: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deepstream/bright.onnx"),
            description: None,
            dir: root.path().to_owned(),
            work_dir: root.path().join("work"),
            engines_dir: root.path().join("engines"),
            precision: Precision::Fp16,
            calibration: None,
            batch: 8,
            interval: 0,
        };
        let engine = |settings: &DeepStreamSettings| built_engine(settings, &read(settings)?.1, root.path());
        let refused = engine(&settings).unwrap_err().to_string();
        // The file fixes a batch of one, whatever is wished.
        assert!(refused.contains("fp16, batch 1, TensorRT 10.3.0, NVIDIA Jetson Orin Nano"), "{refused}");
        assert!(refused.contains("aivms-appliance model build"), "{refused}");
        let build = |settings: &DeepStreamSettings| build_on(settings, root.path(), &mut |_| ()).unwrap();
        let Built::New(path) = build(&settings) else { panic!("it was not there") };
        assert_eq!(engine(&settings).unwrap(), path);
        assert_eq!(build(&settings), Built::Present(path.clone()));
        settings.precision = Precision::Fp32;
        assert!(engine(&settings).unwrap_err().to_string().contains("fp32"));
        settings.precision = Precision::Fp16;
        std::fs::write(&path, "changed").unwrap();
        assert!(engine(&settings).unwrap_err().to_string().contains("was changed after it was built"));
        assert!(matches!(build(&settings), Built::New(_)), "a damaged one is built anew");
        assert_eq!(list(&settings).len(), 1);
    }
}
