//! The client against a real daemon: exact output and exit codes.

#![allow(clippy::unwrap_used)]

mod errors;
mod first_run;
mod output;

use p2p_tests::daemon::TestPeer;

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
