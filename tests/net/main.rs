//! What networks do to daemons, with the kernel's own network: each peer in a namespace, behind a bridge. Where these
//! cannot be made (root, iproute2 and iptables are needed), the tests say so and do nothing.

#![allow(clippy::unwrap_used)]

mod cut;
mod flood;
mod interface;
mod lan;
mod lossy;
mod partition;
mod sniff;
mod together;

use p2p_proto::v1::PeerState;
use p2p_tests::chaos::netns::Netns;
use p2p_tests::chaos::ways::Ways;
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};
use p2p_tests::skip::or_skip;

/// Peers in namespaces. Daemons go before their network, and that before their folder.
struct Field {
    peers: Vec<TestPeer>,
    netns: Netns,
    network: Network,
}

impl Field {
    /// An empty field; none where this machine has no namespaces for us.
    fn open() -> Option<Self> {
        let netns = or_skip(Netns::open())?;
        Some(Self { peers: Vec::new(), netns, network: Network::new() })
    }

    /// The same with some peers that are linked, each dialing all before it.
    fn with(count: usize) -> Option<Self> {
        let mut field = Self::open()?;
        for place in 0..count {
            field.add((0..place).map(Netns::addr).collect(), "0.0.0.0:8080", &[]);
        }
        field.wait_for_links();
        Some(field)
    }

    /// Starts one more, in the next place.
    fn add(&mut self, dials: Vec<String>, listen: &str, env: &[(&str, &str)]) {
        let options = self.options(self.peers.len(), dials, listen, env);
        self.peers.push(self.network.start_with(options));
    }

    fn options(&self, place: usize, dials: Vec<String>, listen: &str, env: &[(&str, &str)]) -> Options {
        Options {
            name: format!("peer-{place}"),
            dials,
            under: self.netns.under(place),
            listen: Some(listen.to_owned()),
            env: env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            ..Options::default()
        }
    }

    #[track_caller]
    fn wait_for_links(&self) {
        for peer in &self.peers {
            peer.wait_for_peers(self.peers.len() as u32 - 1);
        }
    }

    #[track_caller]
    fn apply(&mut self, ways: &Ways) {
        self.netns.apply(ways).unwrap();
    }

    /// Runs a program of the system where a peer lives.
    #[track_caller]
    fn run(&self, place: usize, line: &str) -> String {
        self.netns.run(place, &line.split(' ').collect::<Vec<_>>()).unwrap()
    }

    #[track_caller]
    fn say(&self, place: usize, text: &str) {
        drop(self.peers[place].p2pctl(&["send", text]).ok());
    }

    /// How one sees another.
    fn state(&self, one: usize, two: usize) -> PeerState {
        self.peers[one].state_of(&self.peers[two])
    }

    /// When the link between two came up, as the one says; none while there is none.
    fn link(&self, one: usize, two: usize) -> Option<i64> {
        let peers = self.peers[one].peers();
        let peer = peers.into_iter().find(|peer| peer.id == self.peers[two].id())?;
        (peer.state() == PeerState::Up).then_some(peer.since_us)
    }

    /// All are linked, and all hold the same so many posts, each once.
    #[track_caller]
    fn check_equal(&self, count: usize) {
        self.wait_for_links();
        eventually(PATIENCE, "all histories are equal", || {
            let statuses: Vec<_> = self.peers.iter().map(TestPeer::status).collect();
            statuses.iter().all(|status| status.posts == count as u64 && status.digest == statuses[0].digest)
        });
        for peer in &self.peers {
            let mut ids: Vec<String> = peer.posts().iter().map(|post| format!("{:?}", post.id)).collect();
            assert_eq!(ids.len(), count);
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), count, "each is there once");
        }
    }
}
