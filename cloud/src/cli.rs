//! The command line: run, and looking after the audit log.
//!
//! Exit codes: 0 success, 1 something does not work, 2 wrong arguments, 78 wrong settings (`EX_CONFIG`), after which
//! a service manager need not try again.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aivms_contract::id::TenantId;
use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::audit::{self, AuditCommand};
use crate::config::{Config, ConfigError};
use crate::{logging, run};

/// Exit code of wrong settings.
const EX_CONFIG: u8 = 78;

/// The AIVMS cloud: edges in over MQTT, people in over HTTP.
#[derive(Debug, Parser)]
#[command(name = "aivms-cloud", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until it is told to stop by SIGTERM or SIGINT.
    Run {
        /// Settings file in TOML; without it the defaults and the environment decide.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Shows the settings it would go by, secrets masked, and ends.
        #[arg(long)]
        print_config: bool,
    },
    /// Looks after the audit log.
    #[command(subcommand)]
    Audit(AuditCommand),
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::init();
    match cli.command {
        Command::Run { config, print_config: true } => report(print_config(config.as_deref())),
        Command::Run { config, print_config: false } => report(serve(config.as_deref())),
        Command::Audit(AuditCommand::Verify { config, tenant }) => report(verify_audit(config.as_deref(), tenant)),
    }
}

fn read_config(file: Option<&Path>) -> Result<Config> {
    Ok(Config::load(file, |name| std::env::var(name).ok())?)
}

fn print_config(config: Option<&Path>) -> Result<()> {
    let shown = read_config(config)?.to_toml().context("showing the settings")?;
    std::io::stdout().write_all(shown.as_bytes()).context("standard output")
}

fn verify_audit(config: Option<&Path>, tenant: Option<TenantId>) -> Result<()> {
    let config = read_config(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(audit::verify(&config, tenant))
}

fn serve(config: Option<&Path>) -> Result<()> {
    let config = read_config(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let result = runtime.block_on(async {
        let running = run::start(config).await?;
        run::until_told_to_stop(running).await
    });
    // Everything that must end in order has ended; what is left may be a hash of a password nobody waits for.
    runtime.shutdown_background();
    result
}

fn report(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            if error.is::<ConfigError>() { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}
