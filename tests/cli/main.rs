//! The client against a real daemon: exact output and exit codes.

#![allow(clippy::unwrap_used)]

mod benching;
mod chat;
mod completing;
mod delivery;
mod direct;
mod doctoring;
mod errors;
mod examples;
mod first_run;
mod following;
mod gone;
mod graph;
mod names;
mod output;
mod parted;
mod searching;
mod terminal;
mod top;
mod transcripts;

use p2p_tests::daemon::TestPeer;
use serde_json::Value;

/// Lines that tell which they are, as `send -l` wants them.
fn lines(name: &str, count: usize) -> Vec<u8> {
    (1..=count).map(|number| format!("{name} says {number}\n")).collect::<String>().into_bytes()
}

/// The one document that a command printed.
#[track_caller]
fn document(output: &str, kind: &str) -> Value {
    assert_eq!((output.lines().count(), output.ends_with('\n')), (1, true), "one document is one line: {output}");
    let document: Value = serde_json::from_str(output).unwrap();
    assert_eq!((&document["v"], &document["type"]), (&Value::from(1), &Value::from(kind)), "{document}");
    document
}

/// Puts words in place of what differs from run to run: ids, the characters of a key behind a name, and numbers.
fn normal(peers: &[&TestPeer], text: &str) -> String {
    let mut text = text.to_owned();
    for peer in peers {
        let id = peer.id();
        text = text.replace(id, "ID").replace(&id[..8], "SHORT").replace(&format!("~{}", &id[..4]), "~KEY");
    }
    let mut normal = String::new();
    for character in text.chars() {
        match character {
            '0'..='9' if normal.ends_with('#') => (),
            '0'..='9' => normal.push('#'),
            _ => normal.push(character),
        }
    }
    normal
}
