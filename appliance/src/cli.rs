//! The command line: run, enroll, doctor, status, model, why, replay, verify.
//!
//! Exit codes: 0 success, 1 something does not work, 2 wrong arguments or nothing to verify, 78 wrong settings (`EX_CONFIG`), after which
//! a service manager need not try again.

mod model;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use aivms_appliance_core::schedule::SiteZone;
use aivms_contract::id::CameraId;
use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

use crate::cloud::Cloud;
use crate::config::{Config, ConfigError, Environment};
use crate::doctor::{self, Verdict};
use crate::enroll::enroll;
use crate::identity::{self, Identity, in_words};
use crate::run::{self, Misconfigured};
use crate::status::StatusFile;
use crate::tracks_file::{self, Rules};
use crate::why::{self, Ask};
use crate::{clock, logging};

/// Exit code of wrong settings.
const EX_CONFIG: u8 = 78;

/// Watches cameras, judges what they see, and tells the cloud.
#[derive(Debug, Parser)]
#[command(name = "aivms-appliance", version, about)]
struct Arguments {
    /// The settings file [default: /etc/aivms/appliance.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until SIGTERM or SIGINT; enrols first when EDGE_ID and EDGE_SECRET are set and that was not done yet
    Run,
    /// Turn the one-time secret (edge.secret, EDGE_SECRET) into a certificate
    Enroll {
        /// Enrol although there is a certificate already
        #[arg(long)]
        again: bool,
    },
    /// Check cameras, disk, clock, cloud, certificate and detector, and say what to do
    Doctor,
    /// Build, list and check what DeepStream runs: engines of TensorRT for this very machine
    Model {
        #[command(subcommand)]
        command: model::Command,
    },
    /// Print what the running appliance says of itself
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print why there was an event, or none, in the last hours
    Why(Ask),
    /// Check clips and recordings against their signed chain, as `aivms-verify` does on a machine without an appliance
    Verify(aivms_verify::Ask),
    /// Judge recorded tracks again and print the events as lines of JSON, the same bytes each time
    Replay {
        /// Files that `run` wrote with detection.record_tracks, in order of time; `-` for standard input
        #[arg(required = true, value_name = "TRACKS")]
        tracks: Vec<PathBuf>,
        /// Judge by the rules in this file of the form of cameras.json instead of those recorded
        #[arg(long, value_name = "FILE")]
        cameras: Option<PathBuf>,
        /// The camera in that file whose rules are meant [default: the recorded one's id]
        #[arg(long, value_name = "ID", requires = "cameras")]
        camera: Option<CameraId>,
        /// Print what was stopped, too, and by what
        #[arg(long)]
        why: bool,
    },
}

/// Carries out the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::from(error).context("threads can't be started")),
    };
    let result = runtime.block_on(carry_out(arguments));
    // A blocking call that hangs on a broken disk must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result.unwrap_or_else(|error| fail(&error))
}

async fn carry_out(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    let load = || Config::load(arguments.config.as_deref(), &environment);
    match arguments.command {
        Command::Run => {
            logging::init();
            run::run(load()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Enroll { again } => {
            logging::init();
            say(&enroll_edge(&load()?, again).await?)
        }
        Command::Doctor => {
            let (text, worst) = doctor::render(&doctor::examine(arguments.config.as_deref(), &environment).await);
            say(&text)?;
            Ok(if worst == Verdict::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Command::Model { command } => {
            logging::init();
            model::carry_out(command, &load()?).await
        }
        Command::Status { json } => print_status(&load()?, json),
        Command::Why(ask) => print_reasons(&load()?, &ask),
        Command::Verify(ask) => {
            tokio::task::spawn_blocking(move || aivms_verify::main(&ask)).await.context("the check panicked")
        }
        Command::Replay { tracks, cameras, camera, why } => {
            let rules = Rules { cameras, camera };
            tokio::task::spawn_blocking(move || replay(&tracks, &rules, why)).await.context("the replay panicked")?
        }
    }
}

async fn enroll_edge(config: &Config, again: bool) -> anyhow::Result<String> {
    let settings = config.cloud.as_ref().context("no cloud is configured; set cloud.url (CLOUD_URL)")?;
    let edge =
        config.edge_id.as_ref().context("no edge is configured; set edge.id (EDGE_ID) as shown at registration")?;
    if let Some(identity) = Identity::load(&config.data_dir).ok().flatten()
        && identity.enrollment().edge_id == *edge
        && !again
    {
        let until = identity.validity().not_after;
        return Ok(format!("{edge} is enrolled already, until {until}; `enroll --again` replaces the certificate\n"));
    }
    let secret = config.edge_secret.as_ref();
    let secret = secret.context("no secret is configured; set EDGE_SECRET (edge.secret) as shown at registration")?;
    let cloud = Cloud::new(settings)?;
    let identity = enroll(&cloud, edge, secret, &config.data_dir).await?;
    let (tenant, now) = (&identity.enrollment().tenant_id, clock::now());
    let left = in_words(identity.validity().not_after.since(now));
    let folder = identity::current(&config.data_dir);
    let mut text = format!(
        "{edge} of tenant {tenant} is enrolled; its certificate in {} ends in {left} and renews itself\n",
        folder.display()
    );
    if let Some(problem) = identity.validity().problem_at(now).or_else(|| cloud.clock_problem()) {
        text.push_str(&format!("but it can't be used yet: {problem}\n"));
    }
    Ok(text)
}

fn print_status(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let Some(status) = StatusFile::read(&config.data_dir).context("the status file can't be read")? else {
        bail!("no appliance runs with the data folder {}", config.data_dir.display());
    };
    let now = clock::now();
    let text = if json { serde_json::to_string_pretty(&status)? + "\n" } else { status.render(now) };
    say(&text)?;
    Ok(if status.is_fresh(now) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_reasons(config: &Config, ask: &Ask) -> anyhow::Result<ExitCode> {
    // The one the running appliance uses may be the cloud's.
    let running = StatusFile::read(&config.data_dir).ok().flatten().and_then(|status| status.time_zone);
    let zone = running.and_then(|name| SiteZone::of(Some(&name)).ok()).unwrap_or_else(|| config.time_zone.clone());
    say(&why::answer(&config.data_dir, ask, &zone, clock::now())?)
}

fn replay(tracks: &[PathBuf], rules: &Rules, why: bool) -> anyhow::Result<ExitCode> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let warn = |text: &str| {
        // Events are what was asked for; a warning that nobody reads is none.
        let _ = writeln!(std::io::stderr(), "warning: {text}");
    };
    let replayed = tracks_file::replay(tracks, rules, why, &mut out, warn);
    out.flush().context("standard output is closed")?;
    replayed?;
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output is closed")?;
    Ok(ExitCode::SUCCESS)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    // Nobody is left to tell when even this can't be written.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    let is_configuration = error.is::<ConfigError>() || error.is::<Misconfigured>();
    if is_configuration { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
}
