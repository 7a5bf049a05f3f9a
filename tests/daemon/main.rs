//! Real daemons on loopback: starting, chatting, dying, coming back, and what strangers may do to them.

#![allow(clippy::unwrap_used)]

mod attacked;
mod backpressure;
mod chat;
mod clocks;
mod crash;
mod demo;
mod floods;
mod forks;
mod group;
mod health;
mod install;
mod joining;
mod mangled;
mod members;
mod metrics;
mod receipts;
mod reload;
mod resources;
mod retention;
mod rotating;
mod scaling;
mod service;
mod start;
mod stop;
mod strangers;

use std::collections::BTreeMap;

use p2p_proto::v1::Post;
use p2p_tests::daemon::TestPeer;
use p2p_tests::program::{PATIENCE, eventually};

/// What one author said, in the order of its numbers.
fn texts_by_author(posts: &[Post]) -> BTreeMap<String, Vec<String>> {
    let mut feeds: BTreeMap<(String, u64, u64), String> = BTreeMap::new();
    for post in posts {
        let id = post.id.clone().expect("every post has an id");
        let text = feeds.insert((id.author.clone(), id.epoch, id.seq), post.text.clone());
        assert_eq!(text, None, "{id:?} is there twice");
    }
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((author, ..), text) in feeds {
        texts.entry(author).or_default().push(text);
    }
    texts
}

/// What is not late stands in its author's order, run by run of the author.
#[track_caller]
fn check_order(posts: &[Post]) {
    let mut last: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for post in posts.iter().filter(|post| !post.late) {
        let id = post.id.clone().expect("every post has an id");
        let before = last.insert((id.author.clone(), id.epoch), id.seq);
        assert!(before < Some(id.seq), "{id:?} came behind {before:?}");
    }
}

/// Waits until all hold this many posts, then checks that all hold the same, each once and in order.
#[track_caller]
fn check_equal(peers: &[&TestPeer], count: u64) {
    for peer in peers {
        eventually(PATIENCE, "every post is there", || peer.status().posts >= count);
    }
    let first = peers[0].posts();
    let texts = texts_by_author(&first);
    for peer in peers {
        let posts = peer.posts();
        check_order(&posts);
        assert_eq!(posts.len() as u64, count, "each is there once");
        assert_eq!(texts_by_author(&posts), texts, "all histories are equal");
    }
    let digest = peers[0].status().digest;
    for peer in peers {
        assert_eq!(peer.status().digest, digest, "equal histories have equal fingerprints");
    }
}

/// Lines that tell which they are, as `p2pctl send -l` wants them.
fn lines(name: &str, count: usize) -> Vec<u8> {
    (1..=count).map(|number| format!("{name} says {number}\n")).collect::<String>().into_bytes()
}
