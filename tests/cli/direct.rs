//! What two peers say to each other alone, with real daemons: who can read it, who holds it, and who cannot tell it.

use std::fs;
use std::path::Path;

use p2p_mesh::envelope::{Body, Envelope, Post, Stamp};
use p2p_mesh::id::Seq;
use p2p_mesh::wire::message::Message;
use p2p_tests::daemon::{AT_ONCE, Network, TestPeer};
use p2p_tests::member::Member;
use p2p_tests::program::{PATIENCE, eventually};
use p2pd::network;
use serde_json::Value;

/// What a peer shows of the history, without the times.
fn said(peer: &TestPeer, args: &[&str]) -> Vec<String> {
    let shown = peer.p2pctl(&[&["history"], args].concat()).ok();
    shown.lines().map(|line| line.splitn(3, ' ').nth(2).unwrap().to_owned()).collect()
}

fn tag(peer: &TestPeer) -> &str {
    &peer.id()[..4]
}

/// Whether any file below a directory holds these bytes.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .any(|path| if path.is_dir() { holds(&path, bytes) } else { find(&fs::read(&path).unwrap_or_default(), bytes) })
}

fn find(text: &[u8], bytes: &[u8]) -> bool {
    text.windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn a_direct_message_is_held_by_all_and_read_by_two_also_over_restarts() {
    let network = Network::new();
    let [mut one, two, mut three] = network.start_three();
    one.wait_for_peers(2);
    drop(one.p2pctl(&["send", "-t", "two", "-w", "everyone", "meet me at the harbour"]).ok());
    drop(two.p2pctl(&["send", "-t", "one", "--key", "k", "which harbour"]).ok());
    drop(two.p2pctl(&["send", "-t", "one", "--key", "k", "which harbour"]).ok());
    drop(two.p2pctl(&["send", "-w", "everyone", "hello everybody"]).ok());
    eventually(AT_ONCE, "all hold the same", || three.status().digest == one.status().digest);
    let (t1, t2) = (tag(&one).to_owned(), tag(&two).to_owned());
    let here = [format!("one~{t1} → two~{t2}: meet me at the harbour"), format!("two~{t2} → you: which harbour")];
    let there = [format!("one~{t1} → you: meet me at the harbour"), format!("two~{t2} → one~{t1}: which harbour")];
    let open = format!("[general] two~{t2}: hello everybody");
    for _ in 0..2 {
        assert_eq!(said(&one, &[]), [here[0].clone(), here[1].clone(), open.clone()]);
        assert_eq!(said(&two, &[]), [there[0].clone(), there[1].clone(), open.clone()]);
        assert_eq!(said(&one, &["-t", "two"]), here);
        // The third holds three posts, and knows one.
        assert_eq!((three.status().posts, three.status().missing_posts), (3, 0));
        assert_eq!(said(&three, &[]), std::slice::from_ref(&open));
        let watched = three.p2pctl(&["watch", "--all", "--until-caught-up", "-o", "json"]);
        assert_eq!(watched.stdout.lines().filter(|line| line.contains(r#""type":"post""#)).count(), 1);
        assert!(!watched.stdout.contains("gap") && !watched.stderr.contains("gap"), "{watched:?}");
        one.kill_9();
        three.kill_9();
        one.restart();
        three.restart();
        one.wait_for_peers(2);
    }
    assert_eq!(said(&one, &["-n", "2"]), [here[1].clone(), open.clone()]);
    assert!(!one.p2pctl(&["search", "harbour"]).ok().contains("harbour"));
    let rooms = one.p2pctl(&["rooms"]).ok();
    let names: Vec<&str> = rooms.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["general", &format!("@two~{t2}")]);
    let rooms = three.p2pctl(&["rooms", "-o", "json"]).ok();
    assert!(rooms.contains(r#""conversations":[]"#), "{rooms}");
    for peer in [&one, &two, &three] {
        assert!(holds(&peer.data_dir(), b"hello everybody"), "the look finds what is there");
        assert!(!holds(&peer.data_dir(), b"harbour"), "{} holds it in the clear", peer.data_dir().display());
        assert!(!peer.log().contains("harbour"));
    }
}

#[test]
fn a_direct_message_is_marked_for_programs_and_its_answer_finds_it() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    let sent = one.p2pctl(&["send", "-t", "two", "hi"]).ok();
    eventually(AT_ONCE, "it is heard", || two.posts().len() == 1);
    drop(two.p2pctl(&["send", "-t", "one", "--re", sent.trim(), "hi yourself"]).ok());
    let document: Value = serde_json::from_str(&two.p2pctl(&["history", "-o", "json"]).ok()).unwrap();
    let [first, second] = &document["posts"].as_array().unwrap()[..] else { panic!("{document}") };
    assert_eq!((&first["direct"], &first["kind"], &first["room"]), (&true.into(), &"direct".into(), &"".into()));
    assert_eq!((first["to"].as_str(), first["to_name"].as_str()), (Some(two.id()), Some("two")));
    assert_eq!((&second["re"], &second["text"]), (&first["id"], &"hi yourself".into()));
    let line = two.p2pctl(&["history", "-F", "{name}>{to}: {text}", "-n", "1"]).ok();
    assert_eq!(line, format!("two~{}>one~{}: hi yourself\n", tag(&two), tag(&one)));
    let exec = "printf '%s %s\\n' \"$P2P_TO\" \"$P2P_TEXT\"";
    let ran = two.p2pctl(&["watch", "--all", "--count", "1", "--exec", exec]).ok();
    assert_eq!(ran, format!("{} hi\n", two.id()));
}

#[test]
fn nobody_gets_a_direct_message_whom_we_do_not_know_or_do_not_want() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    let code = |to: &str| one.p2pctl(&["send", "-t", to, "psst"]).code;
    assert_eq!(code("nobody"), Some(5));
    assert_eq!(code(&two.id().replace(&two.id()[4..10], "aaaaaa")), Some(5));
    assert_eq!(code("one"), Some(6));
    drop(one.p2pctl(&["peers", "block", "two"]).ok());
    let refused = one.p2pctl(&["send", "-t", "two", "psst"]);
    assert_eq!(refused.code, Some(10), "{refused:?}");
    assert!(refused.stderr.contains("p2pctl peers unblock"), "{refused:?}");
    assert_eq!(one.status().posts, 0);
}

#[test]
fn what_a_member_steals_of_others_is_not_their_word_and_not_readable() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    let secret = network::load(&network.dir().join("network.key")).unwrap().remove(0);
    let mut mallory = Member::join(&one.addr(), &secret);
    drop(one.p2pctl(&["send", "-t", "two", "the safe is open"]).ok());
    let stolen = loop {
        let Some(Message::Envelopes(envelopes)) = mallory.receive() else { continue };
        let mut posts = envelopes.items.iter().flat_map(|envelope| envelope.body().posts.clone());
        if let Some(post) = posts.find(|post| post.direct.is_some()) {
            break post;
        }
    };
    let letter = stolen.direct.clone().unwrap();
    assert_eq!((letter.to.to_string().as_str(), &*stolen.text), (two.id(), ""));
    // As his own word, once more to its recipient, and back to its author.
    let back = Post::direct(one.id().parse().unwrap(), &letter.sealed);
    mallory.send_envelopes(vec![said_by(&mallory, vec![stolen, back])]);
    eventually(PATIENCE, "both hold it", || one.status().posts == 3 && two.status().posts == 3);
    for (peer, real) in [(&one, "the safe is open"), (&two, "the safe is open")] {
        let shown = said(peer, &[]);
        assert_eq!(shown.iter().filter(|line| line.contains(real)).count(), 1, "{shown:?}");
        assert_eq!(shown.iter().filter(|line| line.contains("→ you (cannot be read): ")).count(), 1, "{shown:?}");
        assert_eq!(shown.len(), 2, "{shown:?}");
    }
}

fn said_by(member: &Member, posts: Vec<Post>) -> Envelope {
    let at = Stamp { ms: 1_795_442_400_000, counter: 0 };
    let body = Body { feed: member.instance(), first: Seq(1), prev: None, at, posts };
    member.sign(&body.encode())
}
