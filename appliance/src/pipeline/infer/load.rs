//! Finding and checking a detector's three parts: library, description, model.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aivms_appliance_core::model::{ModelDescription, ModelInput};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{Outlet, TensorElementType, ValueType};

use super::{DetectorError, DetectorSettings, built_in};

/// ONNX Runtime allows one environment per process, for ever; the path it was loaded from stands beside it.
static ENVIRONMENT: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The model's description: the one that is named, else the one beside the model, else a built-in one.
pub(super) fn description(settings: &DetectorSettings) -> Result<ModelDescription, DetectorError> {
    let beside = settings.model.with_extension("toml");
    let path = match &settings.description {
        Some(path) => path,
        None if beside.exists() => &beside,
        None => {
            let Some(built_in) = built_in::description(&settings.model) else {
                // Of a model that is not there or not ONNX, that is what to say first.
                check_form(&settings.model)?;
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

/// The model, loaded and with the described input.
pub(super) fn session(settings: &DetectorSettings, model: &ModelDescription) -> Result<Session, DetectorError> {
    let path = &settings.model;
    check_form(path)?;
    check_there(path)?;
    let environment = environment(settings.library.as_deref())?;
    let session =
        build(&environment, settings).map_err(|source| DetectorError::Session { path: path.clone(), source })?;
    check_input(session.inputs(), &model.input).map_err(|misfit| match misfit {
        Misfit::Second(name) => DetectorError::SecondInput { path: path.clone(), name },
        Misfit::Other { found, expected } => DetectorError::Input { path: path.clone(), found, expected },
    })?;
    Ok(session)
}

fn check_form(model: &Path) -> Result<(), DetectorError> {
    let problem = match built_in::refuse_other_form(model) {
        None if model.extension().is_some_and(|extension| extension == "onnx") => return Ok(()),
        Some(problem) => problem,
        None => "is not an .onnx file; export it to ONNX first, as docs/ref/models.md shows".to_owned(),
    };
    Err(DetectorError::NotOnnx { path: model.to_owned(), problem })
}

fn check_there(model: &Path) -> Result<(), DetectorError> {
    let refuse = |source| DetectorError::ModelFile {
        path: model.to_owned(),
        source,
        remedy: built_in::how_to_make(model).map_or_else(
            || "get the demo model with `make setup`".to_owned(),
            |command| format!("make it with `{command}`"),
        ),
    };
    std::fs::File::open(model).map(drop).map_err(refuse)
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
    let mut shared = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let (Some((_, environment)), None) = (&*shared, library) {
        return Ok(environment.clone());
    }
    let wanted = path_of(library);
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

/// How a model's inputs differ from the description.
enum Misfit {
    /// Besides the picture the model wants something else.
    Second(String),
    /// The input is another, both sides as text.
    Other { found: String, expected: String },
}

/// A dimension of -1 is left open by the model.
fn check_input(inputs: &[Outlet], input: &ModelInput) -> Result<(), Misfit> {
    let wanted = [1, 3, i64::from(input.height), i64::from(input.width)];
    let fits = |outlet: &Outlet| match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
            shape.len() == wanted.len() && shape.iter().zip(wanted).all(|(&has, wants)| has == -1 || has == wants)
        }
        _ => false,
    };
    let second = inputs.iter().find(|outlet| !fits(outlet));
    match (inputs, second) {
        ([_], None) => Ok(()),
        ([_, _, ..], Some(second)) if inputs.iter().any(fits) => Err(Misfit::Second(second.name().to_owned())),
        _ => {
            let found: Vec<_> = inputs.iter().map(|outlet| format!("{} {}", outlet.name(), outlet.dtype())).collect();
            Err(Misfit::Other { found: found.join(", "), expected: format!("one tensor of f32 {wanted:?}") })
        }
    }
}
