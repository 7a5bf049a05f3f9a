//! What an author pays once for an envelope, and each receiver once.

use divan::Bencher;
use divan::counter::ItemsCount;
use p2p_mesh::envelope::Envelope;

use crate::author::{Author, SHAPES, Shape, id, key};

/// Encoding and hashing included.
#[divan::bench(args = SHAPES)]
fn sign(bencher: Bencher<'_, '_>, shape: Shape) {
    let (author, key) = (Author::new(1), key(1));
    let bencher = bencher.counter(ItemsCount::new(shape.posts));
    bencher.with_inputs(|| author.draft_of(shape)).bench_values(|draft| draft.sign(&key));
}

/// The hash was made when it was read, so the length does not matter.
#[divan::bench(args = SHAPES)]
fn verify(bencher: Bencher<'_, '_>, shape: Shape) {
    let mut author = Author::new(1);
    let (envelope, key) = (author.say(shape), author.verifier());
    let bencher = bencher.counter(ItemsCount::new(shape.posts));
    bencher
        .with_inputs(|| Envelope::clone(&envelope))
        .bench_values(|envelope| envelope.verify(&key).expect("its author signed it"));
}

/// Done once for an author.
#[divan::bench]
fn author_key(bencher: Bencher<'_, '_>) {
    let id = id(1);
    bencher.bench(|| p2p_mesh::envelope::AuthorKey::new(divan::black_box(&id)).expect("it is a good key"));
}
