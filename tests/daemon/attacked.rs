//! Two honest peers that are linked, and what must still be so after each attack on one of them.

use std::fs;

use p2p_proto::v1::{PeerState, Post};
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::member::Member;
use p2p_tests::program::{PATIENCE, eventually};
use p2pd::network::{self, NetworkKey};

/// Two honest peers. The first one is attacked.
pub(crate) struct Attacked {
    network: Network,
    pub(crate) one: TestPeer,
    pub(crate) two: TestPeer,
    key: NetworkKey,
    /// When their link came up, in microseconds since 1970.
    since_us: i64,
    /// Resident bytes of the first one before the attack.
    rss_bytes: u64,
    said: u32,
}

impl Attacked {
    /// Two peers that have talked, so that what they need for it is already in memory.
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// The same; the first one gets more flags.
    #[track_caller]
    pub(crate) fn with(flags: &[&str]) -> Self {
        let network = Network::new();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let one = network.start_with(Options { name: "one".into(), flags, ..Options::default() });
        let two = network.start("two", &[&one]);
        one.wait_for_peers(1);
        let key = network::load(&network.dir().join("network.key")).unwrap().remove(0);
        let mut attacked = Self { network, one, two, key, since_us: 0, rss_bytes: 0, said: 0 };
        attacked.check_chat();
        attacked.since_us = attacked.link_since_us();
        attacked.rss_bytes = rss_bytes(&attacked.one);
        attacked
    }

    /// One more peer of the network.
    #[track_caller]
    pub(crate) fn start(&self, name: &str) -> TestPeer {
        self.network.start(name, &[&self.one])
    }

    /// A malicious member with a link to the first peer.
    #[track_caller]
    pub(crate) fn member(&self) -> Member {
        Member::join(&self.one.addr(), &self.key)
    }

    /// The same before its hello.
    #[track_caller]
    pub(crate) fn silent_member(&self) -> Member {
        let key = ed25519_dalek::SigningKey::from_bytes(&rand::random());
        Member::knock(&self.one.addr(), &self.key, key)
    }

    /// A new link of a member that was here before, before its hello.
    #[track_caller]
    pub(crate) fn member_again(&self, before: &Member) -> Member {
        Member::knock(&self.one.addr(), &self.key, before.key().clone())
    }

    /// From now on the first peer's memory counts, and not before.
    #[track_caller]
    pub(crate) fn measure(&mut self) {
        self.rss_bytes = rss_bytes(&self.one);
    }

    /// The daemon lives, nothing in it panicked, the two still chat over the link that they had, and what the attack
    /// cost in memory is bounded.
    #[track_caller]
    pub(crate) fn check_unharmed(&mut self) {
        self.check_chat();
        assert_eq!(self.link_since_us(), self.since_us, "the honest link was not lost");
        for peer in [&self.one, &self.two] {
            let log = peer.log();
            assert!(!log.contains("panicked at") && !log.contains("link_task_failed"), "something panicked");
        }
        let grown = rss_bytes(&self.one).saturating_sub(self.rss_bytes);
        assert!(grown < GROWTH_BYTES_MAX, "it grew by {grown} bytes");
    }

    /// What one says arrives at the other, both ways.
    #[track_caller]
    fn check_chat(&mut self) {
        self.said += 1;
        for (from, to) in [(&self.one, &self.two), (&self.two, &self.one)] {
            let text = format!("still here {}", self.said);
            drop(from.p2pctl(&["send", &text]).ok());
            let said = (from.id().to_owned(), text);
            let is_there = || to.posts().into_iter().map(author_and_text).any(|post| post == said);
            eventually(PATIENCE, "what one peer says arrives at the other", is_there);
        }
    }

    /// Every post in both histories was said by one of these; both hold each once, and nothing else.
    #[track_caller]
    pub(crate) fn check_nothing_but(&self, foreign: &[(&str, &str)]) {
        let mut expected: Vec<(String, String)> =
            foreign.iter().map(|(author, text)| ((*author).to_owned(), (*text).to_owned())).collect();
        for peer in [&self.one, &self.two] {
            expected.extend((1..=self.said).map(|number| (peer.id().to_owned(), format!("still here {number}"))));
        }
        expected.sort();
        for peer in [&self.one, &self.two] {
            eventually(PATIENCE, "every post is there", || peer.status().posts >= expected.len() as u64);
            let mut held: Vec<(String, String)> = peer.posts().into_iter().map(author_and_text).collect();
            held.sort();
            assert_eq!(held, expected, "in the history of {}", peer.id());
        }
    }

    /// Author and text of what the first peer holds and neither of the two said, in order.
    #[track_caller]
    pub(crate) fn foreign_posts(&self) -> Vec<(String, String)> {
        let own = [self.one.id(), self.two.id()];
        let posts = self.one.posts().into_iter().map(author_and_text);
        posts.filter(|(author, _)| !own.contains(&author.as_str())).collect()
    }

    #[track_caller]
    fn link_since_us(&self) -> i64 {
        let peers = self.one.peers();
        let link = peers.iter().find(|peer| peer.id == self.two.id()).unwrap();
        assert_eq!(link.state(), PeerState::Up);
        link.since_us
    }
}

fn author_and_text(post: Post) -> (String, String) {
    (post.id.map(|id| id.author).unwrap_or_default(), post.text)
}

/// Bytes of a peer that are in memory now.
#[track_caller]
pub(crate) fn rss_bytes(peer: &TestPeer) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", peer.pid())).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the system counts memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    kib * 1_024
}

/// What one attacker may cost.
pub(crate) const GROWTH_BYTES_MAX: u64 = 8 << 20;
