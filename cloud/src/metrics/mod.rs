//! The cloud's own figures, for Prometheus.
//!
//! Each part owns its counters and offers `register`, which names them in a [`Registry`]; [`page`] shows them on a
//! listener of their own, never on the one that people and edges reach. No figure names a tenant, an edge or a person:
//! tenants only appear as a number of them, so that whoever watches the machine learns nothing about customers.

mod census;
pub mod page;
mod process;

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
pub(crate) use prometheus_client::registry::Registry;

pub(crate) use process::register as register_process;

/// Upper bounds in seconds of what people and edges wait for: from a look into a cache to the time limit of a request.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// A histogram of seconds.
pub(crate) fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// A histogram of how many things are taken at once, from one to some ten thousand.
pub(crate) fn sizes() -> Histogram {
    Histogram::new([1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0])
}

/// Shows what `read` says each time the page is asked for.
pub(crate) fn sampled(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
    read: impl Fn() -> i64 + Send + Sync + 'static,
) {
    registry.register_collector(Box::new(Sampled { name, help, kind: Kind::Gauge(Arc::new(read)) }));
}

/// Shows a number that only rises and that somebody else counts.
pub(crate) fn counted(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
    read: impl Fn() -> u64 + Send + Sync + 'static,
) {
    registry.register_collector(Box::new(Sampled { name, help, kind: Kind::Counter(Arc::new(read)) }));
}

struct Sampled {
    name: &'static str,
    help: &'static str,
    kind: Kind,
}

enum Kind {
    Gauge(Arc<dyn Fn() -> i64 + Send + Sync>),
    Counter(Arc<dyn Fn() -> u64 + Send + Sync>),
}

impl std::fmt::Debug for Sampled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sampled").field(&self.name).finish()
    }
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        // The registry ends a help text with a full stop by itself; a collector has to.
        let help = format!("{}.", self.help);
        match &self.kind {
            Kind::Gauge(read) => {
                let metric = encoder.encode_descriptor(self.name, &help, None, MetricType::Gauge)?;
                ConstGauge::new(read()).encode(metric)
            }
            Kind::Counter(read) => {
                let metric = encoder.encode_descriptor(self.name, &help, None, MetricType::Counter)?;
                ConstCounter::new(read()).encode(metric)
            }
        }
    }
}

/// What is counted of the API. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct HttpFigures {
    requests: Family<[(&'static str, String); 2], Counter>,
    seconds: Family<[(&'static str, String); 1], Histogram>,
    in_flight: Gauge,
    refused: Family<[(&'static str, &'static str); 1], Counter>,
}

/// A request that is being answered; counted when dropped without an answer as well.
pub(crate) struct InFlight(Gauge);

impl Default for HttpFigures {
    fn default() -> Self {
        let seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        Self { requests: Family::default(), seconds, in_flight: Gauge::default(), refused: Family::default() }
    }
}

impl HttpFigures {
    /// Names the figures.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Answered requests by operation of the document and status";
        registry.register("aivms_http_requests", help, self.requests.clone());
        let help = "Time from a request's head to its answer's head";
        registry.register("aivms_http_request_duration_seconds", help, self.seconds.clone());
        registry.register("aivms_http_requests_in_flight", "Requests without an answer yet", self.in_flight.clone());
        let help = "Calls refused because whoever made them had made too many";
        registry.register("aivms_http_calls_refused", help, self.refused.clone());
    }

    /// The counter of refused calls `of` one kind of caller, which is shown from then on. `of` must come from a closed list.
    pub(crate) fn refused(&self, of: &'static str) -> Counter {
        self.refused.get_or_create(&[("of", of)]).clone()
    }

    /// Notes that a request has come.
    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts an answer. `operation` must come from a closed list, as each makes a row for ever.
    pub(crate) fn answered(&self, operation: &str, status: u16, took: std::time::Duration) {
        let operation = || ("operation", operation.to_owned());
        self.requests.get_or_create(&[operation(), ("status", status.to_string())]).inc();
        self.seconds.get_or_create(&[operation()]).observe(took.as_secs_f64());
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampled_figures_are_read_at_each_look_and_have_the_form_of_registered_ones() {
        let mut registry = Registry::default();
        let value = Arc::new(std::sync::atomic::AtomicI64::new(7));
        let read = Arc::clone(&value);
        sampled(&mut registry, "aivms_things", "Things", move || read.load(std::sync::atomic::Ordering::Relaxed));
        counted(&mut registry, "aivms_done", "Done", || 3);
        let show = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        let text = show();
        assert!(text.contains("# HELP aivms_things Things.\n# TYPE aivms_things gauge\naivms_things 7\n"), "{text}");
        assert!(text.contains("# TYPE aivms_done counter\naivms_done_total 3\n"), "{text}");
        value.store(9, std::sync::atomic::Ordering::Relaxed);
        assert!(show().contains("aivms_things 9\n"));
    }

    #[test]
    fn a_request_in_flight_is_counted_until_it_ends_even_without_an_answer() {
        let figures = HttpFigures::default();
        let request = figures.begin();
        assert_eq!(figures.in_flight.get(), 1);
        drop(request);
        assert_eq!(figures.in_flight.get(), 0);
    }
}
