//! Logs through tracing: to the journal when there is one, to standard error otherwise.
//!
//! `AIVMS_LOG` filters as `RUST_LOG` does elsewhere, for example `info,aivms_cloud::api=debug`. Secrets are never
//! fields or messages: they live in [`crate::config::Secret`] and in types without a `Debug` of their content.
//!
//! `AIVMS_LOG_FORMAT=json` makes each line on standard error a JSON object, for collectors. Every line about a tenant
//! or edge has the fields `tenant.id` and `edge.id`, by itself or by the span it stands in (`request`, `mqtt`).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Where the filter is read from.
pub const FILTER_VARIABLE: &str = "AIVMS_LOG";

/// Where the form of lines on standard error is read from: `text` or `json`.
pub const FORMAT_VARIABLE: &str = "AIVMS_LOG_FORMAT";

/// What is logged when nothing else is asked for: ours, and of the libraries only what went wrong. rumqttd's router
/// calls ordinary ends of connections errors and makes a span of each message; the front says what matters of it.
const DEFAULT_FILTER: &str = "info,poem=warn,rumqttd=off,hyper=warn";

/// Starts logging for the rest of the process; a second call changes nothing.
pub fn init() {
    let registry = tracing_subscriber::registry().with(filter());
    match (wants_json(), journal()) {
        (true, _) => registry.with(json()).try_init(),
        (false, Some(journal)) => registry.with(journal).try_init(),
        (false, None) => registry.with(standard_error()).try_init(),
    }
    .unwrap_or_default();
}

fn filter() -> EnvFilter {
    let wanted = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    EnvFilter::builder().parse_lossy(wanted.as_deref().unwrap_or(DEFAULT_FILTER))
}

fn wants_json() -> bool {
    std::env::var(FORMAT_VARIABLE).is_ok_and(|format| format.eq_ignore_ascii_case("json"))
}

/// One object a line: the event's fields beside time, level and message, those of the span under `span`.
fn json<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
    layer.with_writer(std::io::stderr)
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
