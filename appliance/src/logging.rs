//! Logs through tracing: to the journal when there is one, to standard error otherwise.
//!
//! `AIVMS_LOG` filters as `RUST_LOG` does elsewhere, for example `info,aivms_appliance::uplink=debug`. Secrets are
//! never fields or messages: they live in [`crate::config::Secret`] and in types without a `Debug` of their content.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Where the filter is read from.
pub const FILTER_VARIABLE: &str = "AIVMS_LOG";

/// What is logged when nothing else is asked for. What goes wrong in sled, the state and the outbox say in words that
/// name the folder and what to do.
const DEFAULT_FILTER: &str = "info,sled=off";

/// Starts logging for the rest of the process; a second call changes nothing.
pub fn init() {
    let registry = tracing_subscriber::registry().with(filter());
    match journal() {
        Some(journal) => registry.with(journal).try_init(),
        None => registry.with(standard_error()).try_init(),
    }
    .unwrap_or_default();
}

fn filter() -> EnvFilter {
    let wanted = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let builder = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into());
    builder.parse_lossy(wanted.as_deref().unwrap_or(DEFAULT_FILTER))
}

/// The journal, when the service manager has connected standard error to it.
fn journal() -> Option<tracing_journald::Layer> {
    std::env::var_os("JOURNAL_STREAM")?;
    tracing_journald::layer().ok()
}

fn standard_error<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours)
}
