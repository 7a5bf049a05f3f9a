//! Figures as scrapers read them: both formats, and no mercy for anything that one of them forbids.

use std::collections::{BTreeMap, BTreeSet};

/// Everything of one scrape, by the name of the family as Prometheus knows it: with `_total` for counters.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// Each with its samples.
    pub families: BTreeMap<String, Family>,
}

/// Figures of one name.
#[derive(Clone, Debug)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// In their order.
    pub samples: Vec<Sample>,
}

/// One figure.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// The family's name, or that with `_bucket`, `_sum` or `_count`.
    pub name: String,
    /// By name.
    pub labels: BTreeMap<String, String>,
    /// What it says.
    pub value: f64,
}

impl Exposition {
    /// Reads Prometheus' text format 0.0.4.
    ///
    /// # Panics
    ///
    /// Something of it is not as the format wants it, or not as we promise.
    #[must_use]
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        Self::read(text, false)
    }

    /// Reads OpenMetrics 1.0.
    ///
    /// # Panics
    ///
    /// As above.
    #[must_use]
    #[track_caller]
    pub fn parse_open_metrics(text: &str) -> Self {
        let text = text.strip_suffix("# EOF\n").expect("the end is marked");
        Self::read(text, true)
    }

    /// The sum of all samples with this label, or of all where it is empty: `("p2p_dials_total", "result=opened")`.
    ///
    /// # Panics
    ///
    /// There is no such sample.
    #[must_use]
    #[track_caller]
    pub fn value(&self, name: &str, label: &str) -> f64 {
        let family = self.families.get(name).unwrap_or_else(|| panic!("there is no {name}"));
        let is_meant = |sample: &&Sample| {
            label.is_empty() || sample.labels.iter().any(|(name, value)| label == format!("{name}={value}"))
        };
        let mut samples = family.samples.iter().filter(is_meant).peekable();
        assert!(samples.peek().is_some(), "{name} has no sample with {label}");
        samples.map(|sample| sample.value).sum()
    }

    /// Whether there is a family or a sample of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.families.contains_key(name)
            || self.families.values().flat_map(|family| &family.samples).any(|sample| sample.name == name)
    }

    #[track_caller]
    fn read(text: &str, is_open: bool) -> Self {
        assert!(text.ends_with('\n') && !text.contains("\r"), "lines end in a newline");
        let (mut families, mut seen) = (BTreeMap::new(), BTreeSet::new());
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let (name, help) = words(line, "HELP");
            assert!(help.ends_with('.') && help.len() > 5, "no sentence: {line}");
            let (typed, kind) = words(lines.next().unwrap_or_default(), "TYPE");
            assert_eq!(typed, name, "the type belongs to the help before it");
            if is_open && let Some(line) = lines.next_if(|line| line.starts_with("# UNIT")) {
                let (_, unit) = words(line, "UNIT");
                assert!(name.ends_with(&format!("_{unit}")), "{line}");
            }
            let full = if is_open && kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            let mut samples = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let sample = sample(line);
                assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "there twice: {line}");
                samples.push(sample);
            }
            let family = Family { kind: kind.to_owned(), samples };
            family.check(&full);
            assert!(families.insert(full, family).is_none(), "{name} is there twice");
        }
        Self { families }
    }
}

impl Family {
    #[track_caller]
    fn check(&self, name: &str) {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
        assert_eq!(self.kind == "counter", name.ends_with("_total"), "{name} is a {}", self.kind);
        match self.kind.as_str() {
            "histogram" => self.check_histogram(name),
            "counter" | "gauge" => {
                for sample in &self.samples {
                    assert_eq!(sample.name, name);
                    assert!(sample.value.is_finite() && (self.kind == "gauge" || sample.value >= 0.0), "{sample:?}");
                }
            }
            other => panic!("{name} is a {other}"),
        }
    }

    #[track_caller]
    fn check_histogram(&self, name: &str) {
        let of = |suffix: &'static str| {
            self.samples.iter().filter(move |sample| sample.name.strip_prefix(name) == Some(suffix))
        };
        let one = |suffix: &'static str| {
            let values: Vec<f64> = of(suffix).map(|sample| sample.value).collect();
            assert_eq!(values.len(), 1, "{name}{suffix}");
            values[0]
        };
        let bound = |sample: &Sample| number(&sample.labels["le"]);
        let buckets: Vec<(f64, f64)> = of("_bucket").map(|sample| (bound(sample), sample.value)).collect();
        assert_eq!(buckets.len() + 2, self.samples.len(), "{name} has nothing else");
        assert!(buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{name}: {buckets:?}");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, one("_count"))), "{name}");
        assert!(one("_sum") >= 0.0);
    }
}

/// `# WORD name rest`
#[track_caller]
fn words<'a>(line: &'a str, word: &str) -> (&'a str, &'a str) {
    let rest = line.strip_prefix(&format!("# {word} ")).unwrap_or_else(|| panic!("no {word}: {line}"));
    rest.split_once(' ').unwrap_or_else(|| panic!("{line}"))
}

#[track_caller]
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let (name, labels) = match series.split_once('{') {
        None => (series, BTreeMap::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}")))),
    };
    Sample { name: name.to_owned(), labels, value: number(value) }
}

/// `a="x",b="y"`
#[track_caller]
fn labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        let (mut value, mut rest) = (String::new(), rest.chars());
        loop {
            match rest.next() {
                Some('"') => break,
                Some('\\') => match rest.next() {
                    Some('n') => value.push('\n'),
                    Some(escaped @ ('"' | '\\')) => value.push(escaped),
                    other => panic!("{text}: \\{other:?}"),
                },
                Some('\n') | None => panic!("{text}"),
                Some(character) => value.push(character),
            }
        }
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} is there twice");
        let rest = rest.as_str();
        assert!(rest.is_empty() || rest.starts_with(','), "{text}");
        text = rest.trim_start_matches(',');
    }
    labels
}

#[track_caller]
fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        _ => text.parse().unwrap_or_else(|error| panic!("{text}: {error}")),
    }
}
