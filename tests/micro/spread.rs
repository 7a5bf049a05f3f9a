//! What the mesh makes of a frame with posts, of one that it knows already, and of what its own user says. Reading,
//! verifying and signing are part of it; the network and the disk are not.

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use p2p_mesh::wire::frame::PREFIX_LEN;

use crate::author::{Author, FULL, LONE};
use crate::codec::{Frame, message};
use crate::peer::Peer;

#[divan::bench(args = FRAMES.map(Frame::of))]
fn take_new(bencher: Bencher<'_, '_>, frame: Frame) {
    let (peer, bytes) = (Peer::linked_to(2), bytes(frame));
    hear(bencher, frame, &peer, &bytes, frame.envelopes);
}

#[divan::bench(args = FRAMES.map(Frame::of))]
fn drop_known(bencher: Bencher<'_, '_>, frame: Frame) {
    let (mut peer, bytes) = (Peer::linked_to(2), bytes(frame));
    peer.hear(bytes.clone());
    hear(bencher, frame, &peer, &bytes, frame.envelopes);
}

/// Each time from the same state. Afterwards so many envelopes have been delivered.
fn hear(bencher: Bencher<'_, '_>, frame: Frame, peer: &Peer, bytes: &Bytes, delivered: usize) {
    let bencher = bencher.counter(ItemsCount::new(frame.envelopes));
    bencher.with_inputs(|| peer.clone()).bench_values(|mut peer| {
        peer.hear(black_box(bytes).clone());
        assert_eq!(peer.delivered, delivered);
        // The mesh goes away behind the measurement.
        peer
    });
}

/// One post of our own, from the command to the bytes for each link.
#[divan::bench(args = [1, 8, 32])]
fn push_own(bencher: Bencher<'_, '_>, links: u8) {
    let peer = Peer::linked_to(links);
    let text = "x".repeat(LONE.text_bytes);
    let bencher = bencher.counter(ItemsCount::new(links));
    bencher.with_inputs(|| peer.clone()).bench_values(|mut peer| {
        peer.say(&text);
        assert!(peer.sent >= usize::from(links), "{} of {links} links were told", peer.sent);
        peer
    });
}

fn bytes(frame: Frame) -> Bytes {
    message(&mut Author::new(9), frame.envelopes, frame.shape).encode().slice(PREFIX_LEN..)
}

const FRAMES: [(usize, crate::author::Shape); 3] = [(1, LONE), (64, LONE), (1, FULL)];
