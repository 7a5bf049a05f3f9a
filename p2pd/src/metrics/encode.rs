//! Families of figures as text.

use std::fmt;

use p2p_mesh::status::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// Figures of one name.
#[derive(Debug)]
pub(super) struct Family {
    /// Without the unit, and without the `_total` of counters.
    pub(super) name: &'static str,
    /// A sentence.
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) samples: Samples,
}

#[derive(Debug)]
pub(super) enum Samples {
    /// It only grows.
    Counter(Vec<Sample>),
    Gauge(Vec<Sample>),
    Histogram(Histogram),
}

/// One figure, with at most one label.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) label: Option<(&'static str, String)>,
    pub(super) value: Value,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Count(u64),
    Real(f64),
}

/// All families in their order.
#[derive(Debug)]
struct Families(Vec<Family>);

/// OpenMetrics 1.0.
pub(super) fn open_metrics(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::with_capacity(TEXT_BYTES);
    text::encode(&mut text, &registry).expect("writing into a String cannot fail");
    text
}

/// The same in Prometheus' older format, which has no units and no end, and calls a counter by its whole name.
pub(super) fn plain(open_metrics: &str) -> String {
    let mut plain = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.splitn(4, ' ');
        let (mark, word, name, rest) = (words.next(), words.next(), words.next(), words.next().unwrap_or_default());
        let suffix = |is_counter| if is_counter { "_total" } else { "" };
        let line = match (mark, word, name) {
            (Some("#"), Some("EOF" | "UNIT"), _) => continue,
            (Some("#"), Some("HELP"), Some(name)) => {
                let is_counter = lines.peek().is_some_and(|next| next.ends_with(" counter"));
                format!("# HELP {name}{} {rest}", suffix(is_counter))
            }
            (Some("#"), Some("TYPE"), Some(name)) => format!("# TYPE {name}{} {rest}", suffix(rest == "counter")),
            _ => line.to_owned(),
        };
        plain.push_str(&line);
        plain.push('\n');
    }
    plain
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { name, help, unit, samples } in &self.0 {
            let metric_type = match samples {
                Samples::Counter(_) => MetricType::Counter,
                Samples::Gauge(_) => MetricType::Gauge,
                Samples::Histogram(_) => MetricType::Histogram,
            };
            samples.encode(encoder.encode_descriptor(name, help, unit.as_ref(), metric_type)?)?;
        }
        Ok(())
    }
}

impl Samples {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Counter(samples) => each(samples, encoder, |mut encoder, value| match value {
                Value::Count(count) => encoder.encode_counter::<NoLabelSet, _, f64>(&count, None),
                Value::Real(real) => encoder.encode_counter::<NoLabelSet, _, f64>(&real, None),
            }),
            Self::Gauge(samples) => each(samples, encoder, |mut encoder, value| match value {
                Value::Count(count) => encoder.encode_gauge(&count),
                Value::Real(real) => encoder.encode_gauge(&real),
            }),
            Self::Histogram(histogram) => {
                let spans = histogram.spans().map(|(us, count)| (seconds(us), count));
                let buckets: Vec<(f64, u64)> = spans.chain([(f64::INFINITY, histogram.longer())]).collect();
                let sum = seconds(histogram.sum_us());
                encoder.encode_histogram::<NoLabelSet>(sum, histogram.count(), &buckets, None)
            }
        }
    }
}

fn each(
    samples: &[Sample],
    mut encoder: MetricEncoder<'_>,
    encode: impl Fn(MetricEncoder<'_>, Value) -> Result<(), fmt::Error>,
) -> Result<(), fmt::Error> {
    for Sample { label, value } in samples {
        let labels: Vec<(&str, &str)> = label.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if labels.is_empty() {
            // Nothing but this stands in the family then.
            return encode(encoder, *value);
        }
        encode(encoder.encode_family(&labels)?, *value)?;
    }
    Ok(())
}

/// Microseconds in the unit that Prometheus wants.
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// What all of it takes in a mesh of six.
const TEXT_BYTES: usize = 16 << 10;
