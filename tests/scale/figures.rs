//! What was measured of a mesh, and small arithmetic on it.

use std::collections::BTreeSet;
use std::time::Duration;

/// Of one number of peers.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Figures {
    /// From the first process until everybody had its links.
    pub(crate) formed: Duration,
    /// As soon as all were linked: nobody knew yet who hands whose posts to whom.
    pub(crate) first: Round,
    /// Seconds later, when that was known.
    pub(crate) second: Round,
    /// From the first restart until everybody held everything.
    pub(crate) healed: Duration,
    /// Of each daemon.
    pub(crate) links: Spread,
    /// Of each daemon, after all that.
    pub(crate) resident_kib: Spread,
    /// Of one core, by an idle daemon: 1 is all of it.
    pub(crate) processor_share: f64,
    /// Bytes that an idle daemon sends a second.
    pub(crate) bytes_a_second: f64,
    /// The part of the machine that others used up to the kill: 1 is all of it.
    pub(crate) others: f64,
}

/// A word from everybody at once.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Round {
    /// From the first until everybody had the last.
    pub(crate) everywhere: Duration,
    /// How often each post came to each receiver.
    pub(crate) copies: f64,
}

impl Figures {
    /// Bytes a second on an idle link, both ways together.
    pub(crate) fn bytes_a_link(&self) -> f64 {
        // Every link has two ends, and each end counts what it sends.
        2.0 * self.bytes_a_second / self.links.mean.max(f64::EPSILON)
    }
}

/// Values of all daemons.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) least: u64,
    pub(crate) most: u64,
    pub(crate) mean: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = u64>) -> Self {
        let values: Vec<u64> = values.into_iter().collect();
        let (least, most) = (values.iter().copied().min(), values.iter().copied().max());
        let mean = values.iter().sum::<u64>() as f64 / values.len().max(1) as f64;
        Self { least: least.unwrap_or(0), most: most.unwrap_or(0), mean }
    }
}

/// By how much `y` grows with each `x`: the line that lies nearest to all points. None where there is no such line.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let squares: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let products: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    (squares > 0.0).then(|| products / squares)
}

/// In how many parts a mesh is, by the neighbours of each place.
pub(crate) fn parts(neighbours: &[Vec<usize>]) -> usize {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for place in 0..neighbours.len() {
        if seen.contains(&place) {
            continue;
        }
        count += 1;
        let mut next = vec![place];
        while let Some(place) = next.pop() {
            if seen.insert(place) {
                next.extend(&neighbours[place]);
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_from_the_least_to_the_most() {
        assert_eq!(Spread::of([4, 1, 7]), Spread { least: 1, most: 7, mean: 4.0 });
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn what_both_ends_send_goes_over_one_link() {
        let figures = Figures {
            formed: Duration::ZERO,
            first: Round::default(),
            second: Round::default(),
            healed: Duration::ZERO,
            links: Spread::of([2, 2, 2]),
            resident_kib: Spread::default(),
            processor_share: 0.0,
            bytes_a_second: 10.0,
            others: 0.0,
        };
        assert!((figures.bytes_a_link() - 10.0).abs() < 1e-9, "three daemons, three links, 30 bytes");
    }

    #[test]
    fn the_cost_of_one_more_is_the_slope() {
        let line = [(1.0, 10.0), (2.0, 13.0), (4.0, 19.0)];
        assert!(slope(&line).is_some_and(|slope| (slope - 3.0).abs() < 1e-9));
        assert!(slope(&[(0.0, 0.0), (1.0, 2.0), (2.0, 2.0)]).is_some_and(|slope| (slope - 1.0).abs() < 1e-9));
        assert_eq!(slope(&[(1.0, 10.0)]), None);
        assert_eq!(slope(&[(1.0, 10.0), (1.0, 12.0)]), None);
        assert_eq!(slope(&[]), None);
    }

    #[test]
    fn a_mesh_is_in_as_many_parts_as_have_no_way_to_each_other() {
        assert_eq!(parts(&[]), 0);
        assert_eq!(parts(&[vec![1], vec![0, 2], vec![1]]), 1);
        assert_eq!(parts(&[vec![1], vec![0], vec![]]), 2);
    }
}
