//! Every frame of the protocol as a file: what is sent stays as it is, and what was ever sent is read for ever.

use std::path::Path;

use bytes::Bytes;
use ed25519_dalek::SigningKey;

use super::*;
use crate::envelope::{Body, Post, Stamp};
use crate::id::{Hash, PeerId, PostId};
use crate::wire::frame::PREFIX_LEN;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn author() -> Instance {
    Instance { id: PeerId(key().verifying_key().to_bytes()), epoch: Epoch(1_849_513_500_000_001) }
}

fn record() -> Record {
    let addrs = ["10.0.0.7:8080".parse().unwrap(), "[fd00::7]:8080".parse().unwrap()];
    Record::sign(&key(), 1_849_513_500_000_002, &addrs, "älice", author().epoch)
}

fn envelope(first: u64) -> Envelope {
    let mut post = Post::chat("general", "hello \u{202e} \"quoted\"\n");
    post.re = Some(Box::new(PostId { feed: author(), seq: Seq(9) }));
    post.key = Some("k/1".into());
    let prev = (first > 1).then_some(Hash([3; 32]));
    let posts = vec![post, Post::chat("ops.db-1", "two")];
    let at = Stamp { ms: 1_763_792_485_123, counter: 4 };
    Envelope::clone(&Body { feed: author(), first: Seq(first), prev, at, posts }.sign(&key()))
}

fn hello() -> Hello {
    Hello {
        proto: (1, 1),
        epoch: author().epoch,
        agent: "p2pd/0.1.0".into(),
        observed: "192.0.2.1:50000".into(),
        caps: vec!["x".into()],
        dial: 3,
        role: Role::Peer,
        time: 1_763_792_485_123,
        record: record(),
    }
}

/// What a file of this name says; nothing for a name that this version only reads.
fn message(name: &str) -> Message {
    let (feed, digest) = (author().feed_id(), Digest { fingerprint: [5; 16], feeds: 12, holes: 0 });
    let holed = Digest { holes: 34, ..digest };
    match name {
        "hello" => Message::Hello(Box::new(hello())),
        "hello_feeler" => Message::Hello(Box::new(Hello { role: Role::Feeler, caps: Vec::new(), ..hello() })),
        "bye" => Message::Bye(Bye {
            code: ByeCode::Leaving,
            why: "the daemon stops".into(),
            retry_ms: None,
            records: Vec::new(),
        }),
        "bye_full" => Message::Bye(Bye {
            code: ByeCode::Full,
            why: "all links are taken".into(),
            retry_ms: Some(60_000),
            records: vec![record()],
        }),
        "ping" => Message::Ping(Ping { n: 7, t: 1_763_792_485_123, digest }),
        "pong" => Message::Pong(Pong { n: 7, t: 1_763_792_485_123, r: 1_763_792_485_125, digest }),
        "ping_holes" => Message::Ping(Ping { n: 7, t: 1_763_792_485_123, digest: holed }),
        "pong_holes" => Message::Pong(Pong { n: 7, t: 1_763_792_485_123, r: 1_763_792_485_125, digest: holed }),
        "suspect" => Message::Suspect(author()),
        "peers" => Message::Peers(vec![record()]),
        "view" => Message::View(View { full: true, neighbors: vec!["abcdefghijkl".into()], estimate: 6 }),
        "view_partial" => Message::View(View { full: false, neighbors: Vec::new(), estimate: 600 }),
        "envelopes_live" => Message::Envelopes(Envelopes { items: vec![envelope(1)], hop: 0, live: true, more: false }),
        "envelopes_repair" => {
            Message::Envelopes(Envelopes { items: vec![envelope(1), envelope(3)], hop: 2, live: false, more: true })
        }
        "have" => Message::Have(vec![
            Have { feed, head: Seq(42), floor: Seq(1) },
            Have { feed, head: Seq(42), floor: Seq(7) },
        ]),
        "want" => Message::Want(Want { feed, ranges: vec![(Seq(3), Some(Seq(9))), (Seq(12), None)], push: true }),
        "prune" => Message::Prune(vec![feed]),
        "gone" => Message::Gone { feed, floor: Seq(7) },
        "heads" => {
            let head = Head { feed: author(), floor: Seq(1), head: Seq(42), hash: [9; 8] };
            Message::Heads(Heads { part: 0, of: 2, heads: vec![head] })
        }
        "range" => Message::Reserved(Reserved::Range),
        "join" => Message::Reserved(Reserved::Join),
        "forward_join" => Message::Reserved(Reserved::ForwardJoin),
        "neighbor" => Message::Reserved(Reserved::Neighbor),
        "neighbor_reply" => Message::Reserved(Reserved::NeighborReply),
        "shuffle" => Message::Reserved(Reserved::Shuffle),
        "shuffle_reply" => Message::Reserved(Reserved::ShuffleReply),
        "fork" => {
            let (a, mut other) = (envelope(3), envelope(3).body().clone());
            other.posts.truncate(1);
            let b = Envelope::clone(&other.sign(&key()));
            Message::Fork(Box::new(Fork { a, b }))
        }
        "later" => Message::Unknown,
        other => panic!("{other} is no golden frame"),
    }
}

const SENT: &[&str] = &[
    "hello",
    "hello_feeler",
    "bye",
    "bye_full",
    "ping",
    "pong",
    "ping_holes",
    "pong_holes",
    "suspect",
    "peers",
    "view",
    "view_partial",
    "envelopes_live",
    "envelopes_repair",
    "have",
    "want",
    "prune",
    "gone",
    "heads",
    "fork",
];
const READ_ONLY: &[&str] =
    &["range", "join", "forward_join", "neighbor", "neighbor_reply", "shuffle", "shuffle_reply", "later"];

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/golden").join(format!("{name}.json"))
}

fn golden(name: &str) -> Bytes {
    let text = std::fs::read(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Bytes::from(text.trim_ascii_end().to_vec())
}

#[test]
fn every_frame_is_sent_as_its_golden_file_says() {
    for name in SENT {
        let frame = message(name).encode().slice(PREFIX_LEN..);
        if std::env::var_os("WRITE_GOLDEN").is_some() {
            std::fs::write(file(name), [&frame[..], b"\n"].concat()).unwrap();
        }
        assert_eq!(String::from_utf8_lossy(&frame), String::from_utf8_lossy(&golden(name)), "{name}");
    }
}

#[test]
fn every_golden_frame_is_read_for_what_it_says() {
    for name in SENT.iter().chain(READ_ONLY) {
        assert_eq!(Message::decode(&golden(name)), Ok(message(name)), "{name}");
    }
    let files = std::fs::read_dir(file("x").parent().unwrap()).unwrap().count();
    assert_eq!(files, SENT.len() + READ_ONLY.len(), "every golden file is tested");
}

#[test]
fn w_10_a_field_that_is_not_known_changes_nothing() {
    for name in SENT {
        let text = String::from_utf8(golden(name).to_vec()).unwrap();
        let more = text.replacen('{', r#"{"later":{"deep":[1,null,{"x":"y"}]},"#, 1);
        assert_eq!(Message::decode(&Bytes::from(more)), Ok(message(name)), "{name}");
    }
}

#[test]
fn w_02_a_frame_cut_at_any_byte_is_refused_and_breaks_nothing() {
    for name in SENT {
        let frame = golden(name);
        for cut in 0..frame.len() {
            assert!(Message::decode(&frame.slice(..cut)).is_err(), "{name} cut at {cut}");
        }
    }
}

#[test]
fn w_25_a_goodbye_with_an_odd_code_and_a_long_reason_is_understood() {
    let text = format!(r#"{{"type":"bye","code":"odd","why":"{}"}}"#, "é".repeat(10_000));
    let Ok(Message::Bye(bye)) = Message::decode(&Bytes::from(text)) else { panic!("it is a bye") };
    assert_eq!((bye.code, bye.why), (ByeCode::Unknown, "é".repeat(200)));
}

#[test]
fn w_05_w_17_lists_over_their_limit_and_odd_shapes_are_refused() {
    let feed = author().feed_id();
    let feeds = vec![format!("\"{feed}\""); 257].join(",");
    let cases = [
        (format!(r#"{{"type":"prune","feeds":[{feeds}]}}"#), "257 entries in feeds are over the limit of 256"),
        (r#"{"type":"ping","n":1,"t":1}"#.into(), "digest is missing"),
        (r#"{"type":"have","h":[["x",1]]}"#.into(), "h is not a feed id"),
        (r#"{"type":"have","h":[{"feed":1}]}"#.into(), "h is not a list"),
        (r#"{"type":"envelopes","hop":0,"live":1,"items":[]}"#.into(), "live is not true or false"),
        (r#"{"n":1}"#.into(), "type is missing"),
    ];
    for (text, expected) in cases {
        assert_eq!(Message::decode(&Bytes::from(text)).unwrap_err().to_string(), expected);
    }
}

proptest::proptest! {
    #[test]
    fn w_05_no_bytes_break_the_reader(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = Message::decode(&Bytes::from(bytes));
    }

    #[test]
    fn w_12_a_golden_frame_with_one_byte_changed_is_read_or_refused(name in proptest::sample::select(SENT), at in 0usize..4_000, byte: u8) {
        let mut frame = golden(name).to_vec();
        let at = at % frame.len();
        frame[at] = byte;
        let _ = Message::decode(&Bytes::from(frame));
    }
}
