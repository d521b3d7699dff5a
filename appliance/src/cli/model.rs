//! `model build`, `model list`, `model check`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;

use super::say;
use crate::config::Config;
use crate::doctor::engine_settings;
use crate::pipeline::deepstream::model::{self, Built};
use crate::pipeline::deepstream::{DeepStreamSettings, KnownEngine};
use crate::status::in_bytes;

/// What is to be done.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum Command {
    /// Build the engine for the configured model, batch and precision; takes minutes, does nothing when it is there
    Build,
    /// List the engines there are
    List,
    /// Say whether the engine for the configured model is there and whole
    Check,
}

pub(super) async fn carry_out(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    let settings = engine_settings(config).deepstream;
    let work = move || match command {
        Command::Build => build(&settings),
        Command::List => Ok(list(&settings)),
        Command::Check => Ok(format!("{}\n", model::examine(&settings)?)),
    };
    let text = tokio::task::spawn_blocking(work).await.context("the work on the model panicked")??;
    say(&text)
}

fn build(settings: &DeepStreamSettings) -> anyhow::Result<String> {
    let mut tell = |line: &str| {
        // Progress that nobody reads does not stop the build.
        let _ = say(&format!("{line}\n"));
    };
    Ok(match model::build(settings, &mut tell)? {
        Built::New(path) => format!("built {}\n", path.display()),
        Built::Present(path) => format!("{} is there already\n", path.display()),
        Built::NotNeeded => "nvinfer here runs ONNX files by itself; nothing is to be built\n".to_owned(),
    })
}

fn list(settings: &DeepStreamSettings) -> String {
    let engines = model::list(settings);
    if engines.is_empty() {
        return format!("no engines in {}\n", settings.engines_dir.display());
    }
    let line = |engine: &KnownEngine| {
        let size = engine.bytes.map_or_else(|| "gone".to_owned(), in_bytes);
        format!("{}  {size}  {}\n", engine.path.display(), engine.what)
    };
    engines.iter().map(line).collect()
}
