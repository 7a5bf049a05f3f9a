//! Authors that sign two histories: every daemon ends with the same one, and says what became of the other.

use ed25519_dalek::SigningKey;
use p2p_mesh::envelope::{Body, Envelope, Post, Stamp};
use p2p_mesh::id::{Epoch, Instance, Seq, from_base32};
use p2p_mesh::wire::message::{Message, Want};
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
    branch.iter().flat_map(|envelope| &envelope.body().posts).map(|post| post.text.to_string()).collect()
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

/// The envelope that holds a number, as a peer gives it to who asks.
#[track_caller]
fn ask(member: &mut Member, feed: Instance, seq: Seq) -> Envelope {
    member.send(&Message::Want(Want { feed: feed.feed_id(), ranges: vec![(seq, Some(seq))], push: false }));
    loop {
        if let Some(Message::Envelopes(mut envelopes)) = member.receive() {
            return envelopes.items.remove(0);
        }
    }
}

/// The identity of a peer, as somebody has it who copied the machine.
fn identity(peer: &TestPeer) -> SigningKey {
    let text = std::fs::read_to_string(peer.data_dir().join("identity.key")).unwrap();
    let secret = text.split_whitespace().last().unwrap();
    SigningKey::from_bytes(&from_base32(secret).unwrap())
}

#[test]
fn a_daemon_whose_machine_was_resumed_twice_takes_a_new_epoch_and_loses_no_post() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    two.wait_for_peers(1);
    let before = one.status().epoch;
    drop(one.p2pctl(&["send", "--key", "k", "ours"]).ok());
    eventually(PATIENCE, "it is there", || texts(&two, false) == ["ours"]);
    // Its other self says something else with the same number, to the one that has not heard of both, and that is what
    // everybody takes.
    let feed = Instance { id: one.id().parse().unwrap(), epoch: Epoch(before) };
    let secret = network::load(&network.dir().join("network.key")).unwrap().remove(0);
    let mut member = Member::join(&two.addr(), &secret);
    let ours = ask(&mut member, feed, Seq(1));
    let key = identity(&one);
    let says = |number: u64| {
        let at = Stamp { ms: 1_763_792_485_123, counter: number };
        let posts = vec![Post::chat("general", "the other's")];
        Body { feed, first: Seq(1), prev: None, at, posts }.sign(&key)
    };
    let theirs = (0..).map(says).find(|theirs| theirs.hash() < ours.hash()).unwrap();
    member.send_envelopes(vec![Envelope::clone(&theirs)]);
    assert!(member.is_heard());
    eventually(PATIENCE, "it goes on under another epoch", || one.status().epoch > before);
    for peer in [&one, &two] {
        let both = || {
            let mut kept = texts(peer, false);
            kept.sort();
            kept == ["ours", "the other's"]
        };
        eventually(PATIENCE, "both posts are there, each once", both);
    }
    one.wait_for_peers(1);
    eventually(PATIENCE, "both hold the same", || one.status().digest == two.status().digest);
    // Whoever sends it again gets the post that stands for it now.
    drop(one.p2pctl(&["send", "--key", "k", "ours"]).ok());
    drop(one.p2pctl(&["send", "and on"]).ok());
    eventually(PATIENCE, "it goes on", || texts(&two, false).len() == 3);
    let kept: Vec<_> = one.posts().into_iter().filter(|post| !post.forked && post.text == "ours").collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].was.as_ref().map(|was| (was.epoch, was.seq)), Some((before, 1)));
}
