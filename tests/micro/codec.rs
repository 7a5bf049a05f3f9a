//! Bytes to envelopes, frames and messages, and back.

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use p2p_mesh::envelope::{Envelope, Post, VerifiedEnvelope};
use p2p_mesh::limits::FRAME_LEN_MAX;
use p2p_mesh::wire::frame::{PREFIX_LEN, split_frame};
use p2p_mesh::wire::message::{Envelopes, Message};

use crate::author::{Author, FULL, LONE, SHAPES, Shape};

#[divan::bench(args = SHAPES)]
fn encode_body(bencher: Bencher<'_, '_>, shape: Shape) {
    let body = Author::new(1).draft_of(shape);
    let bytes = body.encode().len();
    bencher.counter(BytesCount::new(bytes)).counter(ItemsCount::new(shape.posts)).bench(|| black_box(&body).encode());
}

#[divan::bench(args = SHAPES)]
fn parse(bencher: Bencher<'_, '_>, shape: Shape) {
    parse_again(bencher, &Author::new(1).say(shape));
}

/// Something in it has to be looked at closely, so that it takes the reader of all JSON.
#[divan::bench]
fn parse_with_escapes(bencher: Bencher<'_, '_>) {
    let mut author = Author::new(1);
    // As long as the others when it is encoded.
    let text = format!("\"quoted\"\n{}", "x".repeat(FULL.text_bytes - 12));
    let draft = author.draft((0..FULL.posts).map(|_| Post::chat("general", &text)).collect());
    parse_again(bencher, &author.sign(draft));
}

fn parse_again(bencher: Bencher<'_, '_>, envelope: &VerifiedEnvelope) {
    let (bytes, signature) = (envelope.bytes(), *envelope.signature());
    let posts = ItemsCount::new(envelope.body().posts.len());
    let bencher = bencher.counter(BytesCount::new(bytes.len())).counter(posts);
    bencher.with_inputs(|| bytes.clone()).bench_values(|bytes| Envelope::parse(bytes, signature).expect("it is valid"));
}

/// A socket brought 64 frames at once.
#[divan::bench]
fn split_frames(bencher: Bencher<'_, '_>) {
    let frames = 64;
    let bytes = message(&mut Author::new(1), 1, LONE).encode().repeat(frames);
    bencher.counter(ItemsCount::new(frames)).bench(|| {
        let mut rest = &black_box(&bytes)[..];
        while let Some(split) = split_frame(rest, FRAME_LEN_MAX).expect("the lengths are good") {
            rest = black_box(split).rest;
        }
    });
}

/// Frames of one envelope, of many that are small, and of one that is full.
#[divan::bench(args = [(1, LONE), (64, LONE), (1, FULL)].map(Frame::of))]
fn encode_message(bencher: Bencher<'_, '_>, frame: Frame) {
    let message = message(&mut Author::new(1), frame.envelopes, frame.shape);
    bencher.counter(ItemsCount::new(frame.posts())).bench(|| black_box(&message).encode());
}

#[divan::bench(args = [(1, LONE), (64, LONE), (1, FULL)].map(Frame::of))]
fn decode_message(bencher: Bencher<'_, '_>, frame: Frame) {
    let bytes: Bytes = message(&mut Author::new(1), frame.envelopes, frame.shape).encode().slice(PREFIX_LEN..);
    let bencher = bencher.counter(BytesCount::new(bytes.len())).counter(ItemsCount::new(frame.posts()));
    bencher.bench(|| Message::decode(black_box(&bytes)).expect("it is valid"));
}

/// The next envelopes of an author, as they are pushed.
pub(crate) fn message(author: &mut Author, envelopes: usize, shape: Shape) -> Message {
    let items = (0..envelopes).map(|_| Envelope::clone(&author.say(shape))).collect();
    Message::Envelopes(Envelopes { items, hop: 0, live: true, more: false })
}

/// What one frame carries.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) envelopes: usize,
    pub(crate) shape: Shape,
}

impl Frame {
    pub(crate) fn of((envelopes, shape): (usize, Shape)) -> Self {
        Self { envelopes, shape }
    }

    pub(crate) fn posts(self) -> usize {
        self.envelopes * self.shape.posts
    }
}

impl std::fmt::Display for Frame {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} of {}", self.envelopes, self.shape)
    }
}
