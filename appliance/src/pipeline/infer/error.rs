//! What can be wrong with a detector, each with the command that puts it right.

use std::path::PathBuf;

use aivms_appliance_core::{decode, letterbox};

/// Says why a detector can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum DetectorError {
    /// ONNX Runtime is missing, too old or not a library.
    #[error(
        "ONNX Runtime {path}: {reason}; get it with `make setup`, or name another with ORT_DYLIB_PATH",
        path = path.display()
    )]
    Library {
        /// The library looked for.
        path: PathBuf,
        /// The loader's words.
        reason: String,
    },
    /// Another detector of this process uses another library.
    #[error("ONNX Runtime {}: this process has loaded {} already", wanted.display(), loaded.display())]
    SecondLibrary {
        /// The library asked for.
        wanted: PathBuf,
        /// The library in use.
        loaded: PathBuf,
    },
    /// The model file is missing or can't be opened.
    #[error("model {}: {source}; {remedy}, or name another with DETECTION_MODEL", path.display())]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
        /// How to get it.
        remedy: String,
    },
    /// Not an ONNX file: weights of a training framework, or an engine built from one.
    #[error("model {}: {problem}", path.display())]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What it is, and the command that converts it.
        problem: String,
    },
    /// No description says how to feed and read the model.
    #[error(
        "model {model}: has no description; write {beside} beside it, as docs/ref/models.md explains",
        model = model.display(), beside = beside.display()
    )]
    NoDescription {
        /// The model.
        model: PathBuf,
        /// Where its description would lie.
        beside: PathBuf,
    },
    /// The description can't be read.
    #[error("model description {}: {reason}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// The field and what is wrong with it, or the system's words.
        reason: String,
    },
    /// ONNX Runtime refuses the model.
    #[error("model {}: ONNX Runtime can't load it: {source}", path.display())]
    Session {
        /// The file.
        path: PathBuf,
        /// The library's words.
        source: ort::Error,
    },
    /// The model's input is not the described one.
    #[error("model {}: its input is {found}, the description says {expected}", path.display())]
    Input {
        /// The model.
        path: PathBuf,
        /// What the model has.
        found: String,
        /// What the description says.
        expected: String,
    },
    /// The model wants more than a picture.
    #[error(
        "model {}: wants a second input, {name}, which a camera does not give; export it without its post-processor, \
         or make that input a constant as docs/ref/models.md shows", path.display()
    )]
    SecondInput {
        /// The model.
        path: PathBuf,
        /// The second input's name.
        name: String,
    },
    /// The model's outputs are not those of the described family.
    #[error("model {}: {source}", model.display())]
    Outputs {
        /// The model.
        model: PathBuf,
        /// What does not fit.
        source: DetectError,
    },
    /// The system gives no thread.
    #[error("no thread for the detector: {0}")]
    Thread(std::io::Error),
}

/// Says why a frame was not analysed.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The picture's memory can't be mapped.
    #[error("the picture's memory can't be read")]
    Unreadable,
    /// The picture does not have the size that was asked for.
    #[error("the picture does not fit the model: {0}")]
    Picture(#[from] letterbox::ImageError),
    /// The model's run failed.
    #[error("the model failed: {0}")]
    Run(#[from] ort::Error),
    /// The outputs are not those of the described model.
    #[error("{0}")]
    Outputs(#[from] decode::DecodeError),
    /// A part of the detector failed in a way it should not; the text is in the log.
    #[error("the detector failed on this picture; this is a fault of the program")]
    Panicked,
    /// The detector is gone.
    #[error("the detector has ended")]
    Ended,
}
