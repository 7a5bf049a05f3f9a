//! What a benchmark measured.

use std::io::{self, Write};
use std::time::Duration;

use super::document::{Document, Fields};
use super::words::{counted, grouped};
use super::{Shape, Style};

/// Messages, and how long each took.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Measured {
    /// What was measured.
    what: &'static str,
    /// Of each message; 0 where they differ.
    size: usize,
    /// Of all texts.
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    times_us: Vec<u64>,
}

impl Measured {
    pub(crate) fn new(what: &'static str, size: usize) -> Self {
        Self { what, size, bytes: 0, elapsed: Duration::ZERO, times_us: Vec::new() }
    }

    pub(crate) fn add(&mut self, time: Duration) {
        self.bytes += self.size as u64;
        self.times_us.push(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn count(&self) -> u64 {
        self.times_us.len() as u64
    }

    fn per_second(&self, count: u64) -> u64 {
        (count as f64 / self.elapsed.as_secs_f64().max(1e-6)) as u64
    }

    /// Up to which power of two of microseconds how many took, from the first to the last that any took.
    fn buckets(&self) -> Vec<(u64, u64)> {
        let power = |us: &u64| us.max(&1).next_power_of_two();
        let (Some(first), Some(last)) = (self.times_us.iter().map(power).min(), self.times_us.iter().map(power).max())
        else {
            return Vec::new();
        };
        let powers =
            std::iter::successors(Some(first), |power| power.checked_mul(2)).take_while(|power| *power <= last);
        powers.map(|end| (end, self.times_us.iter().filter(|us| power(us) == end).count() as u64)).collect()
    }
}

/// The time within which so many of a thousand are; the times are sorted.
fn quantile(sorted: &[u64], thousandths: usize) -> u64 {
    let at = (sorted.len() * thousandths).div_ceil(1_000).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0)
}

/// Writes rates, times, and how they are spread.
pub(crate) fn render_bench(measured: &Measured, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let mut sorted = measured.times_us.clone();
    sorted.sort_unstable();
    let [least, half, most_of, nearly_all, all] = [0, 500, 900, 990, 1_000].map(|share| quantile(&sorted, share));
    let (posts, bytes) = (measured.count(), measured.bytes);
    let (posts_per_second, bytes_per_second) = (measured.per_second(posts), measured.per_second(bytes));
    let document = || {
        let buckets = measured
            .buckets()
            .into_iter()
            .map(|(end, count)| Fields::new().add("to_us", end).add("posts", count).done());
        Fields::document("bench")
            .add("what", measured.what)
            .add("posts", posts)
            .add("bytes", bytes)
            .add("elapsed_us", u64::try_from(measured.elapsed.as_micros()).unwrap_or(u64::MAX))
            .add("posts_per_second", posts_per_second)
            .add("bytes_per_second", bytes_per_second)
            .add("min_us", least)
            .add("p50_us", half)
            .add("p90_us", most_of)
            .add("p99_us", nearly_all)
            .add("max_us", all)
            .add("buckets", Document::List(buckets.collect()))
            .done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => {
            let (count, seconds) = (counted(posts, "post"), measured.elapsed.as_secs_f64());
            let rates = format!("{} posts/s, {} B/s", grouped(posts_per_second), grouped(bytes_per_second));
            writeln!(out, "{count}, {} B, in {seconds:.3} s: {rates}", grouped(bytes))?;
            let [least, half, most_of, nearly_all, all] = [least, half, most_of, nearly_all, all].map(spell);
            writeln!(out, "min {least}, half {half}, 90 % {most_of}, 99 % {nearly_all}, max {all}")?;
            write_histogram(&measured.buckets(), out)
        }
    }
}

fn write_histogram(buckets: &[(u64, u64)], out: &mut dyn Write) -> io::Result<()> {
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    for (end, count) in buckets {
        // Whatever is there has a sign.
        let len = (count * BAR_COLUMNS).div_ceil(most);
        let bar: String = (0..len).map(|_| '#').collect();
        writeln!(out, "up to {:>8}  {:>9}  {bar}", spell(*end), grouped(*count))?;
    }
    Ok(())
}

/// `870us`, `2.05ms`, `1.20s`
fn spell(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..1_000_000 => format!("{:.2}ms", us as f64 / 1e3),
        _ => format!("{:.2}s", us as f64 / 1e6),
    }
}

const BAR_COLUMNS: u64 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed_up_by_their_places_and_powers_of_two() {
        let mut measured = Measured::new("send", 10);
        [1, 2, 3, 4, 1_000].into_iter().for_each(|us| measured.add(Duration::from_micros(us)));
        assert_eq!(measured.buckets()[..3], [(1, 1), (2, 1), (4, 2)]);
        assert_eq!(measured.buckets().last(), Some(&(1_024, 1)));
        assert_eq!((measured.buckets().len(), measured.bytes), (11, 50));
        let sorted: Vec<u64> = (1..=100).collect();
        assert_eq!([0, 500, 990, 1_000].map(|share| quantile(&sorted, share)), [1, 50, 99, 100]);
        assert_eq!((quantile(&[], 500), Measured::new("send", 1).buckets()), (0, Vec::new()));
        assert_eq!([870, 2_048, 1_200_000].map(spell), ["870us", "2.05ms", "1.20s"]);
    }
}
