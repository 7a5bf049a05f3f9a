//! What is shown: the last that the daemon told, and how it was in the last minute.

use std::collections::{BTreeMap, VecDeque};

use p2p_proto::v1::{Peer, PeerState, PeersResponse, StatusResponse};

/// Everything that is drawn.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) status: Option<StatusResponse>,
    /// Why nothing comes.
    pub(super) gone: Option<String>,
    /// By id, or by address where nobody answered yet.
    rows: BTreeMap<String, Row>,
}

/// One peer and its last minute.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) peer: Peer,
    pub(super) rtt_us: History,
    /// Bytes a second.
    pub(super) received: History,
    pub(super) sent: History,
    pub(super) behind: History,
    /// Bytes in both directions at the last tick; none before the first.
    counted: Option<(u64, u64)>,
}

/// A sample a second, the newest last.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<u64>);

impl Board {
    pub(super) fn take_status(&mut self, status: Result<StatusResponse, String>) {
        match status {
            Ok(status) => (self.status, self.gone) = (Some(status), None),
            Err(why) => self.gone = Some(why),
        }
    }

    pub(super) fn take_peers(&mut self, peers: Result<PeersResponse, String>) {
        let Ok(peers) = peers else { return };
        let mut known = std::mem::take(&mut self.rows);
        for peer in peers.peers {
            let key = if peer.id.is_empty() { peer.address.clone() } else { peer.id.clone() };
            let row = known.remove(&key).unwrap_or_default();
            self.rows.insert(key, Row { peer, ..row });
        }
    }

    /// A second has passed.
    pub(super) fn tick(&mut self) {
        self.rows.values_mut().for_each(Row::tick);
    }

    /// Those that are linked first, then by name.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.values().collect();
        rows.sort_by_key(|row| (!row.is_linked(), row.peer.state(), &row.peer.name, &row.peer.id));
        rows
    }
}

impl Row {
    pub(super) fn is_linked(&self) -> bool {
        matches!(self.peer.state(), PeerState::Up | PeerState::Suspect)
    }

    fn tick(&mut self) {
        let counted = (self.peer.bytes_received, self.peer.bytes_sent);
        // A new link counts from 0 again.
        let (received, sent) = self.counted.map_or((0, 0), |before| {
            let is_new = counted.0 < before.0 || counted.1 < before.1;
            if is_new { counted } else { (counted.0 - before.0, counted.1 - before.1) }
        });
        self.counted = Some(counted);
        self.received.push(received);
        self.sent.push(sent);
        self.rtt_us.push(if self.is_linked() { self.peer.rtt_us.into() } else { 0 });
        self.behind.push(self.peer.behind);
    }
}

impl History {
    fn push(&mut self, sample: u64) {
        if self.0.len() >= SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The newest sample.
    pub(super) fn last(&self) -> u64 {
        self.0.back().copied().unwrap_or(0)
    }

    /// The newest samples, as heights against the highest of them.
    pub(super) fn sparkline(&self, columns: usize) -> String {
        let shown: Vec<u64> = self.0.iter().skip(self.0.len().saturating_sub(columns)).copied().collect();
        let top = shown.iter().max().copied().unwrap_or(0);
        let height = |sample: u64| match (u128::from(sample) * (BARS.len() as u128 - 1)).checked_div(u128::from(top)) {
            Some(0) | None if sample == 0 => ' ',
            Some(height) => BARS[height as usize],
            None => ' ',
        };
        shown.into_iter().map(height).collect()
    }
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Of each history: a minute.
const SAMPLES_MAX: usize = 60;
