//! Building an engine of TensorRT: minutes of work that nothing else may start by surprise.
//!
//! NVIDIA's `trtexec` does it where it is installed; else nvinfer does, in a pipeline of its own that sees one empty
//! picture. Either way the engine is made beside its place, tried, and only then put there.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::cache::{EngineCache, EngineKey};
use super::error::DeepStreamError;
use super::settings::{DeepStreamSettings, Precision};
use super::trial;
use super::weights::Network;
use crate::health::disk_space;

/// Where JetPack puts the program.
const TRTEXEC: &str = "usr/src/tensorrt/bin/trtexec";
/// How often a builder that says nothing is spoken for.
const SPEAK_EVERY: Duration = Duration::from_secs(10);
/// Memory that must be free: less, and the kernel kills something in the middle of the work.
const MEMORY_BYTES: u64 = 1536 * 1024 * 1024;
/// Disk that must be free beside three times the model's size.
const DISK_BYTES: u64 = 256 * 1024 * 1024;
/// Last lines of a failed builder that are shown.
const SHOWN_LINES: usize = 12;

/// What there is to build.
pub(super) struct Build<'a> {
    pub(super) settings: &'a DeepStreamSettings,
    pub(super) network: &'a Network,
    pub(super) key: &'a EngineKey,
    /// Where the machine's file system begins.
    pub(super) root: &'a Path,
    /// Hears how far it is.
    pub(super) say: &'a mut dyn FnMut(&str),
}

impl Build<'_> {
    /// Builds the engine, tries it, and puts it into the cache.
    pub(super) fn run(mut self, cache: &EngineCache) -> Result<PathBuf, DeepStreamError> {
        let dir = cache.dir();
        std::fs::create_dir_all(dir).map_err(|source| DeepStreamError::io(dir, source))?;
        let lock = std::fs::File::create(dir.join("build.lock")).map_err(|source| DeepStreamError::io(dir, source))?;
        if lock.try_lock().is_err() {
            return Err(DeepStreamError::Build("another build is going on; wait for its end".to_owned()));
        }
        self.check_room(dir)?;
        let work = tempdir_in(dir, self.key)?;
        let start = Instant::now();
        let built = self.build_in(&work);
        let accepted = built.and_then(|engine| cache.accept(self.key, &engine, start.elapsed().as_secs()));
        // What is left of a failed build is of no use; a folder that stays is emptied by the next one.
        let _ = std::fs::remove_dir_all(&work);
        accepted
    }

    fn build_in(&mut self, work: &Path) -> Result<PathBuf, DeepStreamError> {
        let Some(program) = trtexec(self.root) else {
            (self.say)("trtexec is not installed; nvinfer builds the engine");
            return trial::build(self.settings, self.network, self.key, work, self.say);
        };
        let engine = work.join("model.engine");
        self.execute(&program, build_arguments(self.network, self.key, self.settings.calibration.as_deref(), &engine))?;
        if !engine.metadata().is_ok_and(|about| about.len() > 0) {
            return Err(DeepStreamError::Build("trtexec has written no engine".to_owned()));
        }
        (self.say)("the engine is built; trying it");
        self.execute(&program, trial_arguments(&engine))?;
        Ok(engine)
    }

    fn check_room(&self, dir: &Path) -> Result<(), DeepStreamError> {
        let model = self.network.size();
        let disk = disk_space(dir).map_err(|source| DeepStreamError::io(dir, source))?.free_bytes;
        let wanted = DISK_BYTES.saturating_add(model.saturating_mul(3));
        if disk < wanted {
            return Err(too_little("disk space", disk, wanted, "delete engines in it that `model list` shows"));
        }
        let memory = free_memory(self.root).unwrap_or(u64::MAX);
        if memory < MEMORY_BYTES {
            return Err(too_little("memory", memory, MEMORY_BYTES, "stop the appliance for the time of the build"));
        }
        Ok(())
    }

    fn execute(&mut self, program: &Path, arguments: Vec<String>) -> Result<(), DeepStreamError> {
        let failed = |problem: String| DeepStreamError::Build(format!("{}: {problem}", program.display()));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Killed(command.spawn().map_err(|error| failed(error.to_string()))?);
        let lines = lines_of(&mut child.0);
        let last = follow(&lines, self.say);
        let status = child.0.wait().map_err(|error| failed(error.to_string()))?;
        if status.success() { Ok(()) } else { Err(failed(format!("{status}\n{}", last.join("\n")))) }
    }
}

/// Begins the names of the folders in which engines are built.
const BUILDING: &str = "building-";

/// A child that does not outlive what waits for it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // One that has ended can't be killed, which is well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads both outputs at once, so that neither fills up and stops the child.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let outputs: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
        child.stderr.take().map(|out| Box::new(out) as Box<dyn Read + Send>),
    ];
    for output in outputs.into_iter().flatten() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
    }
    lines
}

/// Passes on what a builder says, until it has closed its outputs; gives the last lines.
fn follow(lines: &Receiver<String>, say: &mut dyn FnMut(&str)) -> Vec<String> {
    let (start, mut last) = (Instant::now(), Vec::new());
    loop {
        match lines.recv_timeout(SPEAK_EVERY) {
            Ok(line) => {
                say(&line);
                if last.len() == SHOWN_LINES {
                    last.remove(0);
                }
                last.push(line);
            }
            Err(RecvTimeoutError::Timeout) => say(&format!("building, {} s so far", start.elapsed().as_secs())),
            Err(RecvTimeoutError::Disconnected) => return last,
        }
    }
}

fn trtexec(root: &Path) -> Option<PathBuf> {
    Some(root.join(TRTEXEC)).filter(|program| program.exists())
}

/// How trtexec builds this engine.
fn build_arguments(network: &Network, key: &EngineKey, calibration: Option<&Path>, engine: &Path) -> Vec<String> {
    let mut arguments = vec![
        format!("--onnx={}", network.onnx.display()),
        format!("--saveEngine={}", engine.display()),
        "--skipInference".to_owned(),
    ];
    match key.precision {
        Precision::Fp32 => {}
        Precision::Fp16 => arguments.push("--fp16".to_owned()),
        // What has no 8-bit form is computed in 16 bits.
        Precision::Int8 => arguments.extend(["--int8".to_owned(), "--fp16".to_owned()]),
    }
    if let (Precision::Int8, Some(table)) = (key.precision, calibration) {
        arguments.push(format!("--calib={}", table.display()));
    }
    if network.input.any_batch {
        let ((width, height), name) = (key.input, &network.input.name);
        let shape = |option: &str, batch: u32| format!("--{option}Shapes={name}:{batch}x3x{height}x{width}");
        arguments.extend([shape("min", 1), shape("opt", key.batch), shape("max", key.batch)]);
    }
    arguments
}

/// How trtexec tries an engine: load it and run it once.
fn trial_arguments(engine: &Path) -> Vec<String> {
    let options = ["--iterations=1", "--warmUp=0", "--duration=0"];
    [vec![format!("--loadEngine={}", engine.display())], options.map(str::to_owned).to_vec()].concat()
}

fn too_little(what: &str, free: u64, wanted: u64, remedy: &str) -> DeepStreamError {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let (free, wanted) = (mib(free), mib(wanted));
    DeepStreamError::Build(format!("{free} MiB of {what} are free and {wanted} MiB are needed; {remedy}"))
}

/// Memory that can be had without swapping, as the kernel estimates it.
fn free_memory(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// An empty folder for the work on one key, by the one build that goes on. Removes what killed ones have left.
fn tempdir_in(dir: &Path, key: &EngineKey) -> Result<PathBuf, DeepStreamError> {
    for left in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if left.file_name().to_string_lossy().starts_with(BUILDING) {
            let _ = std::fs::remove_dir_all(left.path());
        }
    }
    // With the process in its name, so that a builder whose parent was killed does not write into it.
    let work = dir.join(format!("{BUILDING}{}-{}", key.digest(), std::process::id()));
    std::fs::create_dir_all(&work).map_err(|source| DeepStreamError::io(&work, source))?;
    Ok(work)
}

#[cfg(test)]
mod tests;
