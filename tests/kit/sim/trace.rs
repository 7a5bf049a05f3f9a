//! What happened: as a fingerprint always, as lines where somebody wants to read them.

use std::collections::VecDeque;

use p2p_mesh::id::Hash;
use p2p_mesh::time::Mono;

/// The record of one run.
#[derive(Debug)]
pub struct Trace {
    hasher: blake3::Hasher,
    lines: Option<VecDeque<String>>,
}

/// How much of the trace is kept as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Only the fingerprint.
    Fingerprint,
    /// The last lines too. The run is the same, only slower.
    Lines,
}

impl Trace {
    /// An empty trace.
    #[must_use]
    pub fn new(detail: Detail) -> Self {
        let lines = match detail {
            Detail::Fingerprint => None,
            Detail::Lines => Some(VecDeque::new()),
        };
        Self { hasher: blake3::Hasher::new(), lines }
    }

    /// Something happened: `what` identifies it, `line` says it to people.
    pub fn note(&mut self, now: Mono, what: &[&[u8]], line: impl FnOnce() -> String) {
        self.hasher.update(&now.0.to_le_bytes());
        for part in what {
            self.hasher.update(part);
        }
        let Some(lines) = &mut self.lines else { return };
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(format!("{:>4}.{:06} {}", now.0 / 1_000_000, now.0 % 1_000_000, line()));
    }

    /// A fingerprint of everything so far.
    #[must_use]
    pub fn fingerprint(&self) -> Hash {
        Hash(*self.hasher.finalize().as_bytes())
    }

    /// The last lines.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.lines.map(Vec::from).unwrap_or_default()
    }
}

const LINES_MAX: usize = 200_000;
