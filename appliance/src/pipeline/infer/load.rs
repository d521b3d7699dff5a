//! Finding and checking a detector's three parts: library, description, model.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aivms_appliance_core::model::{ModelDescription, ModelInput};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{Outlet, TensorElementType, ValueType};

use super::{DetectorError, DetectorSettings};

/// Descriptions that need no file, by the model's file name without ending, with `-` for `_`.
const BUILT_IN: [(&str, &str); 2] = [
    ("nanodet-g-416", include_str!("../../../models/nanodet-g-416.toml")),
    ("yolox-nano-416", include_str!("../../../models/yolox-nano-416.toml")),
];

/// ONNX Runtime allows one environment per process, for ever; the path it was loaded from stands beside it.
static ENVIRONMENT: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The model's description: the one that is named, else the one beside the model, else a built-in one.
pub(super) fn description(settings: &DetectorSettings) -> Result<ModelDescription, DetectorError> {
    let beside = settings.model.with_extension("toml");
    let path = match &settings.description {
        Some(path) => path,
        None if beside.exists() => &beside,
        None => {
            let Some(built_in) = built_in(&settings.model) else {
                // Of a model that is not there, that is what to say first.
                check_there(&settings.model)?;
                return Err(DetectorError::NoDescription { model: settings.model.clone(), beside });
            };
            return Ok(built_in);
        }
    };
    let refuse = |reason| DetectorError::Description { path: path.clone(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    toml::from_str(&text).map_err(|error| refuse(error.message().to_owned()))
}

fn built_in(model: &Path) -> Option<ModelDescription> {
    let name = model.file_stem()?.to_str()?.replace('_', "-");
    let (_, text) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name)?;
    toml::from_str(text).ok()
}

/// The model, loaded and with the described input.
pub(super) fn session(settings: &DetectorSettings, model: &ModelDescription) -> Result<Session, DetectorError> {
    let path = &settings.model;
    check_there(path)?;
    if path.extension().is_none_or(|extension| extension != "onnx") {
        return Err(DetectorError::NotOnnx { path: path.clone() });
    }
    let environment = environment(settings.library.as_deref())?;
    let session =
        build(&environment, settings).map_err(|source| DetectorError::Session { path: path.clone(), source })?;
    check_input(session.inputs(), &model.input).map_err(|(found, expected)| DetectorError::Input {
        path: path.clone(),
        found,
        expected,
    })?;
    Ok(session)
}

fn check_there(model: &Path) -> Result<(), DetectorError> {
    let opened = std::fs::File::open(model);
    opened.map(drop).map_err(|source| DetectorError::ModelFile { path: model.to_owned(), source })
}

fn build(environment: &Environment, settings: &DetectorSettings) -> Result<Session, ort::Error> {
    let threads = match settings.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        // Waiting threads that spin would take the processor from the decoders.
        .with_intra_op_spinning(false)?
        .commit_from_file(&settings.model)
}

/// ONNX Runtime, when this process has loaded it.
pub(super) fn loaded() -> Option<Environment> {
    let shared = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    shared.as_ref().map(|(_, environment)| environment.clone())
}

/// ONNX Runtime as this process uses it; see [`super::runtime`].
pub(super) fn environment(library: Option<&Path>) -> Result<Environment, DetectorError> {
    let wanted = path_of(library);
    let mut shared = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((loaded, environment)) = &*shared {
        return if *loaded == wanted {
            Ok(environment.clone())
        } else {
            Err(DetectorError::SecondLibrary { wanted, loaded: loaded.clone() })
        };
    }
    let refuse = |reason| DetectorError::Library { path: wanted.clone(), reason };
    let builder = ort::init_from(&wanted).map_err(|error| refuse(error.to_string()))?;
    let built = builder.with_name("aivms").with_telemetry(false).build().map_err(|error| refuse(error.to_string()))?;
    let (_, environment) = shared.insert((wanted, built));
    Ok(environment.clone())
}

fn path_of(library: Option<&Path>) -> PathBuf {
    let from_environment = || std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    library.map(Path::to_owned).or_else(from_environment).unwrap_or_else(|| PathBuf::from("libonnxruntime.so"))
}

/// Both sides as text when they differ. A dimension of -1 is left open by the model.
fn check_input(inputs: &[Outlet], input: &ModelInput) -> Result<(), (String, String)> {
    let wanted = [1, 3, i64::from(input.height), i64::from(input.width)];
    let fits = |outlet: &Outlet| match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
            shape.len() == wanted.len() && shape.iter().zip(wanted).all(|(&has, wants)| has == -1 || has == wants)
        }
        _ => false,
    };
    if let [only] = inputs
        && fits(only)
    {
        return Ok(());
    }
    let found: Vec<_> = inputs.iter().map(|outlet| format!("{} {}", outlet.name(), outlet.dtype())).collect();
    Err((found.join(", "), format!("one tensor of f32 {wanted:?}")))
}
