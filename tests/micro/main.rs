//! What the inner steps cost, one at a time: reading and writing envelopes, signatures, the store, the mesh.
//!
//! `cargo bench -p p2p-tests` runs all of it, `cargo bench -p p2p-tests -- verify` what has that in its name. It shows,
//! and judges nothing: which figures are good is said for whole daemons, in `bench`.

#![allow(missing_docs)]

mod append;
mod author;
mod codec;
mod peer;
mod signing;
mod spread;

fn main() {
    divan::main();
}
