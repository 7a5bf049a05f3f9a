//! Tickets: somebody who has no key gets into the network, once, and nobody else.

use std::fs;
use std::net::TcpListener;

use ed25519_dalek::SigningKey;
use p2p_mesh::id::PeerId;
use p2p_proto::v1;
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::program::{Output, PATIENCE, eventually};
use p2pd::invite::{Pass, Ticket};

use super::check_equal;

/// A daemon that nobody gave a key: it makes one for itself.
fn fresh(network: &Network, name: &str, env: &[(&str, &str)]) -> TestPeer {
    let none = [("P2P_NETWORK_SECRET_FILE", "")];
    let env = none.iter().chain(env).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    network.start_with(Options { name: name.into(), env, ..Options::default() })
}

/// A member that comes back at the same place.
fn lasting(network: &Network, name: &str) -> TestPeer {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    network.start_with(Options { name: name.into(), listen: Some(free.to_string()), ..Options::default() })
}

fn invite(issuer: &TestPeer, args: &[&str]) -> String {
    issuer.p2pctl(&[&["invite"], args].concat()).ok().trim().to_owned()
}

fn join(joiner: &TestPeer, ticket: &str) -> Output {
    joiner.p2pctl(&["join", ticket, "--timeout", "30s"])
}

#[track_caller]
fn check_refused(output: &Output, code: i32, why: &str) {
    assert_eq!((output.code, output.stdout.as_str()), (Some(code), ""), "{output:?}");
    assert!(output.stderr.lines().next().is_some_and(|line| line.contains(why)), "{output:?}");
    assert!(output.stderr.lines().count() <= 2, "{output:?}");
}

fn key_of(peer: &TestPeer) -> String {
    fs::read_to_string(peer.data_dir().join("network.key")).unwrap()
}

#[test]
fn who_has_a_ticket_is_in_without_a_restart_gets_the_history_and_stays_in() {
    let network = Network::new();
    let [one, two, three] = network.start_three();
    drop(one.p2pctl(&["send", "said before"]).ok());
    drop(two.p2pctl(&["send", "this too"]).ok());
    let mut joiner = fresh(&network, "joiner", &[]);
    drop(joiner.p2pctl(&["send", "said alone"]).ok());
    assert_ne!(joiner.status().network, one.status().network);

    let ticket = invite(&one, &[]);
    // As it comes out of a mail.
    let broken: String =
        ticket.as_bytes().chunks(60).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect();
    let joined = join(&joiner, &broken).ok();
    let short = &one.status().network[..8];
    assert!(
        joined.starts_with(&format!("joined network {short} of one~")) && joined.contains(" 2 posts of others here"),
        "{joined}"
    );
    assert_eq!(joiner.status().network, one.status().network);
    joiner.wait_for_peers(3);
    drop(joiner.p2pctl(&["send", "-w", "everyone", "here I am"]).ok());
    check_equal(&[&one, &two, &three, &joiner], 4);

    let again = join(&joiner, &ticket).ok();
    assert!(again.starts_with("already in network "), "{again}");
    joiner.kill_9();
    joiner.restart();
    joiner.wait_for_peers(1);
    check_equal(&[&one, &joiner], 4);
}

#[test]
fn h_12_a_damaged_ticket_is_told_in_one_line_and_changes_nothing() {
    let network = Network::new();
    let (one, joiner) = (network.start("one", &[]), fresh(&network, "joiner", &[]));
    let (ticket, key) = (invite(&one, &[]), key_of(&joiner));
    let mut mistyped = ticket.clone();
    let other = if &ticket[30..31] == "x" { "y" } else { "x" };
    mistyped.replace_range(30..31, other);
    for (text, why) in [
        (mistyped.as_str(), "mistyped near character 31"),
        (&ticket[..120], "cut off: its end is missing behind character 120"),
        (&ticket.to_uppercase(), "in lower case, and character 1 "),
        (&format!("{ticket}aaa"), "3 characters too many"),
        ("hello", "a ticket begins with p2p1"),
    ] {
        let output = join(&joiner, text);
        check_refused(&output, 6, why);
        assert!(output.stderr.contains("(TICKET_INVALID)"), "{output:?}");
    }
    assert_eq!(key_of(&joiner), key);
    let files = || fs::read_dir(joiner.data_dir()).unwrap().count();
    let before = files();
    check_refused(&join(&joiner, &mistyped), 6, "mistyped");
    assert_eq!(files(), before);
    // None of it cost the ticket anything.
    drop(join(&joiner, &ticket).ok());
}

#[test]
fn h_12_a_ticket_that_is_used_over_or_taken_back_lets_nobody_in() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let (first, second) = (fresh(&network, "first", &[]), fresh(&network, "second", &[]));
    let ticket = invite(&one, &[]);
    drop(join(&first, &ticket).ok());
    check_refused(&join(&second, &ticket), 6, "the ticket is already used (TICKET_REFUSED)");

    let brief = invite(&one, &["--expires", "1s"]);
    let is_over = || one.p2pctl(&["invite", "--list"]).ok().lines().any(|line| line.contains(" expired "));
    eventually(PATIENCE, "a second went by", is_over);
    check_refused(&join(&second, &brief), 6, "the ticket has expired");

    let taken = invite(&one, &["--uses", "3"]);
    let list: serde_json::Value = serde_json::from_str(&one.p2pctl(&["invite", "--list", "-ojson"]).ok()).unwrap();
    let open = list["invites"].as_array().unwrap().iter().find(|invite| invite["open"] == true).unwrap();
    drop(one.p2pctl(&["invite", "--revoke", open["id"].as_str().unwrap()]).ok());
    check_refused(&join(&second, &taken), 6, "the ticket was taken back");
    check_refused(&one.p2pctl(&["invite", "--revoke", "nonsense"]), 5, "no invite");
    assert_ne!(second.status().network, one.status().network);
    assert!(second.p2pctl(&["peers", "-a"]).ok().lines().count() <= 1, "it knows nobody");
}

#[test]
fn h_12_a_ticket_that_ended_long_ago_is_refused_without_asking_its_issuer() {
    let network = Network::new();
    let (one, joiner) = (network.start("one", &[]), fresh(&network, "joiner", &[]));
    let mut ticket = Ticket::parse(&invite(&one, &[])).unwrap();
    let key = SigningKey::from_bytes(&[7; 32]);
    ticket.issuer = PeerId(key.verifying_key().to_bytes());
    if let Pass::Invite { expires_s, .. } = &mut ticket.pass {
        *expires_s = 1_000_000_000;
    }
    check_refused(&join(&joiner, &ticket.to_text(&key)), 6, "the ticket expired at 2001-09-09T01:46:40Z");
    assert_eq!(one.status().counters["links_refused_total"], 0);
}

#[test]
fn h_12_a_ticket_whose_issuer_is_gone_or_does_not_know_it_says_which() {
    let network = Network::new();
    let mut one = lasting(&network, "one");
    let joiner = fresh(&network, "joiner", &[]);
    let ticket = invite(&one, &[]);
    one.stop();
    check_refused(&join(&joiner, &ticket), 6, "(PEER_OFFLINE)");
    // It comes back without its history, and so without its invites.
    for name in ["history.db", "history.db-wal", "history.db-shm"] {
        drop(fs::remove_file(one.data_dir().join(name)));
    }
    one.restart();
    check_refused(&join(&joiner, &ticket), 6, "its issuer does not know the ticket, or not any more");
}

#[test]
fn a_hundred_invites_are_open_at_most_and_one_taken_back_makes_room() {
    let network = Network::new();
    let one = network.start("one", &[]);
    one.ask(async |client| {
        for _ in 0..100 {
            let made = client.mesh().invite(v1::InviteRequest::default()).await.expect("an invite").into_inner();
            assert!(made.ticket.starts_with("p2p1") && !made.id.is_empty());
        }
    });
    check_refused(&one.p2pctl(&["invite"]), 11, "100 invites are open, the limit is 100");
    let list = one.p2pctl(&["invite", "--list"]).ok();
    assert_eq!(list.lines().count(), 101);
    let id = list.lines().nth(7).unwrap().split_whitespace().next().unwrap().to_owned();
    drop(one.p2pctl(&["invite", "--revoke", &id]).ok());
    drop(invite(&one, &[]));
}

#[test]
fn who_listens_everywhere_puts_an_address_of_this_machine_into_the_ticket_or_asks_for_one() {
    let network = Network::new();
    let one =
        network.start_with(Options { name: "one".into(), listen: Some("0.0.0.0:0".into()), ..Options::default() });
    let made = one.p2pctl(&["invite"]);
    if made.code == Some(0) {
        let port = one.addr().rsplit_once(':').unwrap().1.to_owned();
        for addr in Ticket::parse(&made.stdout).unwrap().addrs.iter().map(ToString::to_string) {
            assert!(
                addr.ends_with(&format!(":{port}")) && !addr.starts_with("0.0.0.0") && !addr.starts_with("127."),
                "{addr}"
            );
        }
    } else {
        check_refused(&made, 6, "it is not known where others reach this daemon");
    }
    check_refused(&one.p2pctl(&["invite", "--address", "chat.example"]), 6, "a port is missing");
    let five = ["--address", "a:1"].repeat(5);
    check_refused(&one.p2pctl(&[&["invite"], &five[..]].concat()), 6, "5 addresses are over the limit of 4");
}

#[test]
fn an_open_network_needs_no_tickets_and_takes_none() {
    let network = Network::new();
    let open = fresh(&network, "open", &[("P2P_OPEN_NETWORK", "true")]);
    let one = network.start("one", &[]);
    check_refused(&open.p2pctl(&["invite"]), 6, "nobody needs a ticket");
    check_refused(&join(&open, &invite(&one, &[])), 6, "the configuration sets open_network");
}

#[test]
fn h_06_who_is_not_the_issuer_is_told_apart_by_both_ids() {
    let network = Network::new();
    let (one, joiner) = (network.start("one", &[]), fresh(&network, "joiner", &[]));
    let mut ticket = Ticket::parse(&invite(&one, &[])).unwrap();
    let key = SigningKey::from_bytes(&[7; 32]);
    ticket.issuer = PeerId(key.verifying_key().to_bytes());
    let output = join(&joiner, &ticket.to_text(&key));
    let ids = format!("expected {}…, got {}…", ticket.issuer.short(), &one.id()[..8]);
    check_refused(&output, 10, &ids);
    assert!(one.p2pctl(&["invite", "--list"]).ok().contains("0 of 1"), "it is not used up");
}

#[test]
fn who_is_in_a_network_with_others_does_not_leave_it_for_a_ticket() {
    let network = Network::new();
    let [one, ..] = network.start_three();
    let (mut other, guest) = (fresh(&network, "other", &[]), fresh(&network, "guest", &[]));
    drop(join(&guest, &invite(&other, &[])).ok());
    let ticket = invite(&one, &[]);
    check_refused(&join(&other, &ticket), 6, "is in network");
    // A key that the configuration names is not ours to replace.
    other.set_env(Vec::new());
    check_refused(&join(&one, &invite(&other, &[])), 6, "the configuration sets network_secret_file");
    assert!(one.p2pctl(&["invite", "--list"]).ok().contains("0 of 1"), "it is not used up");
}

#[test]
fn an_offline_ticket_works_without_who_made_it_and_warns() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    drop(one.p2pctl(&["send", "-w", "1", "before"]).ok());
    let made = one.p2pctl(&["invite", "--offline", "--address", &two.addr()]);
    assert!(made.stderr.contains("warning: this ticket holds the network's secret itself"), "{made:?}");
    one.stop();
    for name in ["first", "second"] {
        let joiner = fresh(&network, name, &[]);
        let joined = join(&joiner, made.stdout.trim()).ok();
        assert!(joined.contains(" 1 post of others here"), "{joined}");
    }
}

#[test]
fn a_first_start_with_a_ticket_waits_for_its_issuer_and_a_later_one_is_no_error() {
    let network = Network::new();
    let mut one = lasting(&network, "one");
    let (ticket, home) = (invite(&one, &[]), one.status().network);
    one.stop();
    let mut joiner = fresh(&network, "joiner", &[("P2P_JOIN", &ticket)]);
    eventually(PATIENCE, "it says what it waits for", || {
        joiner.status().problems.iter().any(|why| why.starts_with("join: "))
    });
    one.restart();
    joiner.wait_for_peers(1);
    assert_eq!((joiner.status().network, joiner.status().problems), (home.clone(), Vec::new()));
    joiner.kill_9();
    joiner.restart();
    joiner.wait_for_peers(1);
    assert_eq!(joiner.status().problems, Vec::<String>::new());
    assert!(!joiner.log().contains("not_joined "), "{}", joiner.log());

    let late = fresh(&network, "late", &[("P2P_JOIN", &ticket)]);
    let problems = || late.status().problems.concat();
    eventually(PATIENCE, "a ticket that is used is said to be so", || {
        problems().contains("the ticket is already used")
    });
    assert_ne!(late.status().network, home);
}

#[test]
fn h_12_a_start_with_a_damaged_ticket_ends_at_once_and_writes_nothing() {
    let network = Network::new();
    let data = network.dir().join("data");
    let mut command = network.p2pd();
    command.args(["--join", "p2p1abc", "--data-dir"]).arg(&data);
    let output = p2p_tests::program::run(&mut command, b"");
    assert_eq!(output.code, Some(78), "{output:?}");
    assert!(output.stderr.contains("--join: the ticket is cut off"), "{output:?}");
    assert!(!data.exists());
}

/// Two ask at once, and the issuer is killed somewhere in between; both ask again until they know.
#[test]
fn h_13_of_two_with_one_ticket_one_gets_in_also_when_the_issuer_is_killed_between() {
    let network = Network::new();
    let mut one = lasting(&network, "one");
    let home = one.status().network;
    for round in 0..6_u32 {
        let noted_before = one.log().matches("invite_used").count();
        let joiners = ["a", "b"].map(|name| fresh(&network, &format!("{name}{round}"), &[]));
        let ticket = invite(&one, &[]);
        let asking =
            joiners.each_ref().map(|joiner| joiner.p2pctl_start(&["join", &ticket, "--timeout", "30s"], Vec::new()));
        // In every other round the use is on disk by then, and its answer may not be on its way.
        if round % 2 == 1 {
            eventually(PATIENCE, "a use is noted", || one.log().matches("invite_used").count() > noted_before);
        }
        one.kill_9();
        one.restart();
        drop(asking);
        let is_refused = |joiner: &TestPeer| join(joiner, &ticket).stderr.contains("already used");
        let mut outcomes = [None; 2];
        eventually(PATIENCE, "both know", || {
            for (outcome, joiner) in outcomes.iter_mut().zip(&joiners) {
                if outcome.is_none() && is_refused(joiner) {
                    *outcome = Some(false);
                } else if joiner.status().network == home {
                    *outcome = Some(true);
                }
            }
            outcomes.iter().all(Option::is_some)
        });
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Some(true)).count(), 1, "round {round}: {outcomes:?}");
        let list = one.p2pctl(&["invite", "--list"]).ok();
        assert!(!list.contains("2 of 1"), "{list}");
    }
}
