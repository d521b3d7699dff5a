//! The command line: run, check, backup, restore, and looking after the audit log.
//!
//! Exit codes: 0 success, 1 something does not work, 2 wrong arguments, 78 wrong settings (`EX_CONFIG`), after which
//! a service manager need not try again.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aivms_contract::id::TenantId;
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use crate::audit::{self, AuditCommand};
use crate::check::Verdict;
use crate::config::{Config, ConfigError};
use crate::{backup, check, logging, run};

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
    /// Checks settings, database, keys, certificates, disk and mail server, and says what to do. Changes nothing.
    Check {
        /// Settings file in TOML.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Copies database, keys and secrets into a new folder, while the cloud runs or not.
    Backup {
        /// Settings file in TOML.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The folder to make; others must not see it, it holds keys.
        folder: PathBuf,
    },
    /// Puts a backup back to where the settings say the cloud is. Overwrites nothing.
    Restore {
        /// Settings file in TOML.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The folder of the backup.
        folder: PathBuf,
    },
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
        Command::Check { config } => report(check(config.as_deref())),
        Command::Backup { config, folder } => report(back_up(config.as_deref(), &folder)),
        Command::Restore { config, folder } => report(restore(config.as_deref(), &folder)),
    }
}

fn read_config(file: Option<&Path>) -> Result<Config> {
    Ok(Config::load(file, |name| std::env::var(name).ok())?)
}

fn print_config(config: Option<&Path>) -> Result<()> {
    print(&read_config(config)?.to_toml().context("showing the settings")?)
}

fn check(config: Option<&Path>) -> Result<()> {
    run::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let (shown, worst) = check::render(&runtime.block_on(check::examine(config, |name| std::env::var(name).ok())));
    print(&shown)?;
    if worst == Verdict::Fail { bail!("not everything works") } else { Ok(()) }
}

fn back_up(config: Option<&Path>, folder: &Path) -> Result<()> {
    let backup::Summary { folder, files, bytes } = backup::backup(&read_config(config)?, folder)?;
    print(&format!("{}: {files} files, {bytes} bytes; clips and snapshots are not in it\n", folder.display()))
}

fn restore(config: Option<&Path>, folder: &Path) -> Result<()> {
    let config = read_config(config)?;
    let made_at = backup::restore(&config, folder)?;
    print(&format!("{} is as it was at {made_at}\n", config.database_path.display()))
}

fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("standard output")
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
