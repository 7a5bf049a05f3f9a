//! Every load that is measured, with its place in the table and what is wanted of it.

use std::time::Duration;

use crate::book::{Book, Spec, System, Unit};
use crate::figures::{Latency, millis, rate};
use crate::load::{Enough, Load};
use crate::parts::Part;
use crate::stage::Outcome;

/// One load, put on each system in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) part: Part,
    key: &'static str,
    what: &'static str,
    pub(crate) text_bytes: usize,
    senders: usize,
    shape: Shape,
}

/// What its senders do, and what is wanted; empty where nothing is.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// So many a second each.
    Pace { rate: u32, p50_goal: &'static str, p99_goal: &'static str },
    /// As fast as it is accepted. What counts are the posts of one sender.
    FloodPosts { goal: &'static str },
    /// What counts are the deliveries of all.
    FloodDeliveries { goal: &'static str },
}

impl Shape {
    /// Nothing is wanted.
    const fn pace(rate: u32) -> Self {
        Self::Pace { rate, p50_goal: "", p99_goal: "" }
    }
}

impl Case {
    pub(crate) fn load(&self, time: Duration) -> Load {
        let senders = self.senders;
        match self.shape {
            Shape::Pace { rate, .. } => Load::Pace { senders, rate, time },
            Shape::FloodPosts { .. } | Shape::FloodDeliveries { .. } => {
                Load::Flood { senders, enough: Enough { time, posts: FLOOD_POSTS_MAX } }
            }
        }
    }

    /// Writes down what a run came to.
    pub(crate) fn note(&self, system: System, outcome: &Outcome, book: &mut Book) {
        let tally = &outcome.tally;
        let mut note = |key: &str, what: &str, unit, goal: &str, value| {
            let spec = Spec::new(format!("{}_{key}", self.key), format!("{}: {what}", self.what), unit, goal);
            book.note(spec, system, value, Some(outcome.others));
        };
        match self.shape {
            Shape::Pace { p50_goal, p99_goal, .. } => {
                if let Some(Latency { p50, p99 }) = Latency::of(tally.latencies_us.clone()) {
                    note("p50", "median", Unit::Milliseconds, p50_goal, millis(p50));
                    note("p99", "99 of 100", Unit::Milliseconds, p99_goal, millis(p99));
                }
            }
            Shape::FloodPosts { goal } => note("rate", "posts", Unit::PerSecond, goal, rate(tally.posts, tally.time)),
            Shape::FloodDeliveries { goal } => {
                note("rate", "deliveries", Unit::PerSecond, goal, rate(tally.deliveries, tally.time));
            }
        }
        let deliveries = tally.deliveries.max(1) as f64;
        let cpu_us = outcome.processor_time.as_secs_f64() * 1e6 / deliveries;
        note("cpu", "CPU a delivery", Unit::Microseconds, self.flood_goal("3 µs"), cpu_us);
        let bytes = outcome.mesh_bytes as f64 / deliveries;
        note("bytes", "bytes a delivery", Unit::Bytes, self.flood_goal("1.35 × raw"), bytes);
        if system == System::P2pd {
            let copies = 1.0 + outcome.duplicates as f64 / deliveries;
            note("copies", "copies a receiver", Unit::Copies, "1.000", copies);
        }
    }

    fn flood_goal(&self, goal: &'static str) -> &'static str {
        match self.shape {
            Shape::Pace { .. } => "",
            Shape::FloodPosts { .. } | Shape::FloodDeliveries { .. } => goal,
        }
    }
}

/// The goals are the further ones of the design.
pub(crate) const CASES: [Case; 8] = [
    Case {
        part: Part::Latency,
        key: "calm_100_64",
        what: "one sender at 100/s, 64 B",
        text_bytes: 64,
        senders: 1,
        shape: Shape::Pace { rate: 100, p50_goal: "1.25 × gRPC", p99_goal: "1.3 × gRPC" },
    },
    Case {
        part: Part::Latency,
        key: "calm_200_64",
        what: "one sender at 200/s, 64 B",
        text_bytes: 64,
        senders: 1,
        shape: Shape::pace(200),
    },
    Case {
        part: Part::Latency,
        key: "calm_200_1024",
        what: "one sender at 200/s, 1 KiB",
        text_bytes: 1_024,
        senders: 1,
        shape: Shape::pace(200),
    },
    Case {
        part: Part::Latency,
        key: "calm_1000_64",
        what: "one sender at 1,000/s, 64 B",
        text_bytes: 64,
        senders: 1,
        shape: Shape::pace(1_000),
    },
    Case {
        part: Part::Flood64,
        key: "flood_64",
        what: "one sender in a flood, 64 B",
        text_bytes: 64,
        senders: 1,
        shape: Shape::FloodPosts { goal: "192,000/s" },
    },
    Case {
        part: Part::Flood1024,
        key: "flood_1024",
        what: "one sender in a flood, 1 KiB",
        text_bytes: 1_024,
        senders: 1,
        shape: Shape::FloodPosts { goal: "58,000/s" },
    },
    Case {
        part: Part::Six,
        key: "six_64",
        what: "six senders in a flood, 64 B",
        text_bytes: 64,
        senders: 6,
        shape: Shape::FloodDeliveries { goal: "500,000/s" },
    },
    Case {
        part: Part::Paced,
        key: "paced_64",
        what: "six senders at 1,000/s each, 64 B",
        text_bytes: 64,
        senders: 6,
        shape: Shape::pace(1_000),
    },
];
/// Posts of a sender in a flood, however fast it is: their stamps are kept in memory.
const FLOOD_POSTS_MAX: u64 = 4_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Tally;

    fn lines(case: &Case, system: System) -> Vec<(String, Option<f64>)> {
        let time = Duration::from_secs(2);
        let tally = Tally { posts: 1_000, deliveries: 5_000, time, latencies_us: vec![500, 1_500] };
        let processor_time = Duration::from_millis(20);
        let outcome = Outcome { tally, processor_time, mesh_bytes: 500_000, duplicates: 50, others: 1.0 };
        let mut book = Book::default();
        case.note(system, &outcome, &mut book);
        let figures = book.figures().into_iter();
        figures.map(|figure| (figure.spec.key, figure.p2pd.or(figure.grpc))).collect()
    }

    fn case(key: &str) -> Case {
        *CASES.iter().find(|case| case.key == key).unwrap()
    }

    #[test]
    fn a_paced_run_is_known_by_its_latency_and_a_flood_by_its_rate() {
        let line = |key: &str, value| (key.to_owned(), Some(value));
        let costs = |key| [line(&format!("{key}_cpu"), 4.0), line(&format!("{key}_bytes"), 100.0)];
        let mut expected = vec![line("calm_100_64_p50", 0.5), line("calm_100_64_p99", 1.5)];
        expected.extend(costs("calm_100_64"));
        assert_eq!(lines(&case("calm_100_64"), System::Grpc), expected);
        let mut expected = vec![line("flood_64_rate", 500.0)];
        expected.extend(costs("flood_64"));
        expected.push(line("flood_64_copies", 1.01));
        assert_eq!(lines(&case("flood_64"), System::P2pd), expected);
        assert_eq!(lines(&case("six_64"), System::Grpc)[0], line("six_64_rate", 2_500.0));
    }

    #[test]
    fn a_load_lasts_as_long_as_it_is_told() {
        let time = Duration::from_secs(7);
        assert_eq!(case("paced_64").load(time), Load::Pace { senders: 6, rate: 1_000, time });
        let enough = Enough { time, posts: FLOOD_POSTS_MAX };
        assert_eq!(case("flood_1024").load(time), Load::Flood { senders: 1, enough });
    }
}
