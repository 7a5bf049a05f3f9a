//! What was measured so far: each figure of each system, once a round. What counts in the end are the medians.

use serde::{Deserialize, Serialize};

use crate::figures::{grouped, median};

/// What can be measured side by side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum System {
    /// The mesh alone, the program inside.
    Raw,
    /// The mesh behind gRPC.
    Grpc,
    P2pd,
}

/// In what a figure is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "us")]
    Microseconds,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "/s")]
    PerSecond,
    #[serde(rename = "B")]
    Bytes,
    #[serde(rename = "MiB")]
    Mebibytes,
    #[serde(rename = "kB/s")]
    KilobytesPerSecond,
    #[serde(rename = "%")]
    Percent,
    #[serde(rename = "copies")]
    Copies,
}

/// One line of the table: what is measured, and what is wanted of p2pd.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// For machines; stays the same when the words change.
    pub(crate) key: String,
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// Empty where nothing is.
    pub(crate) goal: String,
}

/// The medians of one line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    #[serde(flatten)]
    pub(crate) spec: Spec,
    pub(crate) p2pd: Option<f64>,
    pub(crate) grpc: Option<f64>,
    pub(crate) raw: Option<f64>,
    /// The part of the machine that others used while p2pd was measured.
    pub(crate) others_percent: Option<f64>,
}

/// All rounds of all lines, in the order in which they came first.
#[derive(Debug, Default)]
pub(crate) struct Book {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    spec: Spec,
    values: Vec<(System, f64)>,
    others_percent: Vec<f64>,
}

impl Spec {
    pub(crate) fn new(key: impl Into<String>, what: impl Into<String>, unit: Unit, goal: &str) -> Self {
        Self { key: key.into(), what: what.into(), unit, goal: goal.into() }
    }
}

impl Unit {
    /// `230,000/s`, `0.66 ms`, `1.000`: as many digits as mean something.
    pub(crate) fn render(self, value: f64) -> String {
        match self {
            Self::Milliseconds => format!("{} ms", short(value)),
            Self::Microseconds => format!("{} µs", short(value)),
            Self::Seconds => format!("{} s", short(value)),
            Self::PerSecond => format!("{}/s", grouped(value)),
            Self::Bytes => format!("{} B", grouped(value)),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::KilobytesPerSecond => format!("{value:.2} kB/s"),
            Self::Percent => format!("{value:.3} %"),
            Self::Copies => format!("{value:.3}"),
        }
    }
}

fn short(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        grouped(value)
    }
}

impl Book {
    /// One more value of a line, and how much of the machine others used meanwhile, in percent.
    pub(crate) fn note(&mut self, spec: Spec, system: System, value: f64, others_percent: Option<f64>) {
        eprintln!("{system:?}: {}: {}", spec.what, spec.unit.render(value));
        let at = self.lines.iter().position(|line| line.spec.key == spec.key).unwrap_or_else(|| {
            self.lines.push(Line { spec, values: Vec::new(), others_percent: Vec::new() });
            self.lines.len() - 1
        });
        self.lines[at].values.push((system, value));
        if system == System::P2pd {
            self.lines[at].others_percent.extend(others_percent);
        }
    }

    /// The medians.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        self.lines.iter().map(Line::figure).collect()
    }
}

impl Line {
    fn figure(&self) -> Figure {
        let of = |wanted| {
            let values = self.values.iter().filter(|(system, _)| *system == wanted);
            median(values.map(|(_, value)| *value).collect()).map(rounded)
        };
        Figure {
            spec: self.spec.clone(),
            p2pd: of(System::P2pd),
            grpc: of(System::Grpc),
            raw: of(System::Raw),
            others_percent: median(self.others_percent.clone()).map(rounded),
        }
    }
}

/// To five digits: more say nothing, and make records hard to read.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of a measuring that nobody did.
    pub(crate) fn example_figures() -> Vec<Figure> {
        let figure = |key: &str, unit, p2pd, grpc, raw| {
            let spec = Spec::new(key, format!("what {key} is"), unit, "1 & <2>");
            Figure { spec, p2pd: Some(p2pd), grpc, raw, others_percent: Some(2.0) }
        };
        vec![
            figure("flood_64_rate", Unit::PerSecond, 100_000.0, Some(200_000.0), Some(400_000.0)),
            figure("calm_100_64_p50", Unit::Milliseconds, 1.0, Some(0.5), Some(0.25)),
            figure("idle_cpu", Unit::Percent, 0.02, None, None),
        ]
    }

    #[test]
    fn a_figure_is_the_median_of_its_rounds() {
        let mut book = Book::default();
        let spec = Spec::new("flood", "a flood", Unit::PerSecond, "");
        for (system, value) in [(System::P2pd, 5.0), (System::Raw, 50.0), (System::P2pd, 1.0), (System::P2pd, 3.0)] {
            book.note(spec.clone(), system, value, Some(value));
        }
        book.note(Spec::new("idle", "idle", Unit::Percent, ""), System::P2pd, 0.5, None);
        let [flood, idle] = book.figures().try_into().unwrap();
        let others_percent = Some(3.0);
        assert_eq!(flood, Figure { spec, p2pd: Some(3.0), grpc: None, raw: Some(50.0), others_percent });
        assert_eq!((idle.p2pd, idle.others_percent), (Some(0.5), None));
    }

    #[test]
    fn five_digits_are_kept() {
        assert_eq!([99_517.49, 0.016_666_6, 0.0, 3.0].map(rounded), [99_517.0, 0.016_667, 0.0, 3.0]);
    }

    #[test]
    fn values_are_shown_with_their_units() {
        let shown = [
            (Unit::Milliseconds, 0.664, "0.66 ms"),
            (Unit::Milliseconds, 26.04, "26.0 ms"),
            (Unit::Milliseconds, 1_234.5, "1,234 ms"),
            (Unit::Microseconds, 1.6, "1.60 µs"),
            (Unit::Seconds, 0.22, "0.22 s"),
            (Unit::PerSecond, 230_000.4, "230,000/s"),
            (Unit::Bytes, 108.4, "108 B"),
            (Unit::Mebibytes, 8.64, "8.6 MiB"),
            (Unit::KilobytesPerSecond, 0.094, "0.09 kB/s"),
            (Unit::Percent, 0.0204, "0.020 %"),
            (Unit::Copies, 1.0, "1.000"),
        ];
        for (unit, value, text) in shown {
            assert_eq!(unit.render(value), text);
        }
    }
}
