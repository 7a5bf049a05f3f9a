//! Authors that sign two histories: every daemon ends with the same one, and says what became of the other.

use ed25519_dalek::SigningKey;
use p2p_mesh::envelope::Envelope;
use p2p_mesh::wire::message::Message;
use p2p_tests::daemon::{Network, TestPeer};
use p2p_tests::member::Member;
use p2p_tests::program::{PATIENCE, eventually};
use p2pd::network;

/// The same author on a link to this peer, which has heard all of this.
#[track_caller]
fn tell(network: &Network, peer: &TestPeer, key: &SigningKey, said: &[Envelope]) {
    let secret = network::load(&network.dir().join("network.key")).unwrap().remove(0);
    let mut member = Member::knock(&peer.addr(), &secret, key.clone());
    member.send(&Message::Hello(Box::new(member.hello())));
    assert!(member.is_heard());
    member.send_envelopes(said.to_vec());
    assert!(member.is_heard());
    eventually(PATIENCE, "it is stored", || peer.status().posts == said.len() as u64);
}

/// Who writes in this test, and its branches: the one that wins first.
fn branches(network: &Network, peer: &TestPeer) -> (SigningKey, Vec<Envelope>, Vec<Envelope>) {
    let secret = network::load(&network.dir().join("network.key")).unwrap().remove(0);
    let key = SigningKey::from_bytes(&rand::random());
    let author = Member::knock(&peer.addr(), &secret, key.clone());
    let first = author.write("common", None);
    let branch = |name: &str, count: usize| {
        let mut chain = vec![first.clone()];
        for number in 0..count {
            chain.push(author.write(&format!("{name} {number}"), chain.last()));
        }
        chain
    };
    let (left, right) = (branch("left", 3), branch("right", 5));
    if left[1].hash() < right[1].hash() { (key, left, right) } else { (key, right, left) }
}

fn texts(peer: &TestPeer, forked: bool) -> Vec<String> {
    let mut posts = peer.posts();
    posts.retain(|post| post.forked == forked);
    posts.into_iter().map(|post| post.text).collect()
}

fn said(branch: &[Envelope]) -> Vec<String> {
    branch.iter().flat_map(|envelope| &envelope.body().posts).map(|post| post.text.clone()).collect()
}

#[test]
fn w_14_two_histories_become_one_everywhere_and_the_other_is_marked() {
    let network = Network::new();
    let (one, mut two) = (network.start("one", &[]), network.start("two", &[]));
    let (key, winner, loser) = branches(&network, &one);
    tell(&network, &one, &key, &winner);
    tell(&network, &two, &key, &loser);
    drop(two.p2pctl(&["peers", "add", &one.addr()]).ok());
    eventually(PATIENCE, "both hold the same", || one.status().digest == two.status().digest);
    eventually(PATIENCE, "nothing is missing", || texts(&two, false) == said(&winner));
    assert_eq!(texts(&one, false), said(&winner));
    assert_eq!(texts(&two, true), said(&loser[1..]), "what lost is still there");
    for peer in [&one, &two] {
        let problems = peer.status().problems;
        assert!(problems.iter().any(|problem| problem.contains("signed two histories")), "{problems:?}");
    }
    // A restart knows all of it.
    two.restart();
    two.wait_for_peers(1);
    eventually(PATIENCE, "both hold the same", || one.status().digest == two.status().digest);
    assert_eq!((texts(&two, false), texts(&two, true)), (said(&winner), said(&loser[1..])));
    assert!(two.status().problems.iter().any(|problem| problem.contains("signed two histories")));
}
