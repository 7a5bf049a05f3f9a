//! What the daemon is for.

use p2p_tests::daemon::Network;
use p2p_tests::program::PATIENCE;

use super::{check_equal, lines, texts_by_author};

#[test]
fn a_line_typed_at_one_of_six_is_printed_at_the_other_five() {
    let network = Network::new();
    let peers = network.start_six();
    let watching: Vec<_> = peers[1..]
        .iter()
        .map(|peer| peer.p2pctl_start(&["watch", "--all", "--count", "1", "-o", "json"], Vec::new()))
        .collect();

    let id = peers[0].p2pctl(&["send", "hello,", "all", "five"]).ok();
    assert_eq!(id.lines().count(), 1, "the post's id is all that is printed: {id}");

    for output in watching {
        let lines = output.wait(PATIENCE).ok();
        // Where it had caught up before the post came, that is a line too.
        let post: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(post["text"], "hello, all five");
        assert_eq!(post["author"], peers[0].id());
    }
}

#[test]
fn six_peers_that_all_talk_at_once_end_with_one_history() {
    let network = Network::new();
    let peers = network.start_six();
    let names = ["b", "1", "2", "3", "4", "5"];
    let sending: Vec<_> =
        peers.iter().zip(names).map(|(peer, name)| peer.p2pctl_start(&["send", "-l"], lines(name, 200))).collect();
    for output in sending {
        assert_eq!(output.wait(PATIENCE).ok().lines().count(), 200, "one id a line");
    }
    check_equal(&peers.iter().collect::<Vec<_>>(), 1200);
    let texts = texts_by_author(&peers[3].posts());
    for (peer, name) in peers.iter().zip(names) {
        let expected: Vec<String> = (1..=200).map(|number| format!("{name} says {number}")).collect();
        assert_eq!(texts[peer.id()], expected);
    }
}

#[test]
fn texts_arrive_byte_for_byte() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    let texts =
        ["line\nbreak", "tab\tand \u{1b}[31mred", "Ünïcödé 你好 🙂‍↔️", "\u{202e}override", "trailing \n\n", "a\r\nb\r\n"];
    drop(one.p2pctl_with(&["send", "-0"], texts.join("\0").as_bytes()).ok());
    check_equal(&[&one, &two], 6);
    assert_eq!(texts_by_author(&two.posts())[one.id()], texts);
}

#[test]
fn a_new_peer_that_knows_one_address_ends_with_everything() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    let three = network.start("three", &[&two]);
    for (peer, name) in [(&one, "one"), (&two, "two"), (&three, "three")] {
        drop(peer.p2pctl_with(&["send", "-l"], &lines(name, 300)).ok());
    }
    let newcomer = network.start("newcomer", &[&three]);
    check_equal(&[&one, &two, &three, &newcomer], 900);
    // It was told of one address and has found the others.
    newcomer.wait_for_peers(3);
}

#[test]
fn a_peer_that_was_away_gets_what_it_missed() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let mut two = network.start("two", &[&one]);
    drop(one.p2pctl(&["send", "before"]).ok());
    check_equal(&[&one, &two], 1);
    assert_eq!(two.stop().code(), Some(0));
    drop(one.p2pctl_with(&["send", "-l"], &lines("one", 500)).ok());
    two.restart();
    drop(two.p2pctl(&["send", "back again"]).ok());
    check_equal(&[&one, &two], 502);
}
