//! The network's secret: `network` and `network rotate`.

use p2p_proto::v1::{NetworkKey, NetworkMember, NetworkMemberState, NetworkResponse, Peer, Rotation};

use super::fake::{ALICE, BOB, OWN};
use super::*;
use crate::output::schema::tests::check;

const AT_US: i64 = 1_795_348_800_000_000;

fn member(id: &str, name: &str, state: NetworkMemberState) -> NetworkMember {
    NetworkMember {
        id: id.to_owned(),
        name: name.to_owned(),
        state: state.into(),
        last_seen_us: AT_US - 240_000_000,
        ..NetworkMember::default()
    }
}

fn rotated() -> NetworkResponse {
    let key = |name: &str, dialed, until_us| NetworkKey { name: name.repeat(26), dialed, until_us };
    let rotation = Rotation {
        author: ALICE.to_owned(),
        author_name: "alice".to_owned(),
        at_us: AT_US,
        taken_us: AT_US + 1_000_000,
        members: vec![
            member(OWN, "own", NetworkMemberState::Taken),
            member(ALICE, "alice", NetworkMemberState::Linked),
            member(BOB, "bob\n\x1b[2J", NetworkMemberState::Away),
        ],
        out: vec![member(&"e".repeat(52), "eve", NetworkMemberState::Out)],
        ..Rotation::default()
    };
    NetworkResponse {
        network: "n".repeat(26),
        keys: vec![key("q", true, 0), key("p", false, AT_US)],
        rotation: Some(rotation),
        ..NetworkResponse::default()
    }
}

fn with_network(network: NetworkResponse) -> Fake {
    let fake = Fake::start();
    fake.state().network = network;
    fake.state().peers = vec![
        Peer { id: ALICE.to_owned(), name: "alice".to_owned(), ..Peer::default() },
        Peer { id: BOB.to_owned(), name: "bob".to_owned(), ..Peer::default() },
    ];
    fake
}

#[tokio::test]
async fn the_keys_and_who_has_the_new_one_are_shown_without_a_secret() {
    let fake = with_network(rotated());
    let ran = run_at(&fake, &["network"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""));
    let wide = run_at(&fake, &["network", "show", "-owide"]).await.stdout;
    let yaml = run_at(&fake, &["network", "-oyaml"]).await.stdout;
    let json = run_at(&fake, &["network", "-ojson"]).await.stdout;
    check(&serde_json::from_str(&json).unwrap());
    insta::assert_snapshot!([ran.stdout, wide, json, yaml].join("\n"));
}

#[tokio::test]
async fn a_network_whose_secret_was_never_changed_and_an_open_one_say_so() {
    let plain = NetworkResponse { rotation: None, keys: rotated().keys[..1].to_vec(), ..rotated() };
    let ran = run_at(&with_network(plain.clone()), &["network", "-v"]).await;
    assert_eq!(ran.stdout, "network nnnnnnnn: 1 key\nKEY       USE     UNTIL\nqqqqqqqq  dialed  -\n");
    assert_eq!(ran.stderr, "p2pctl: the secret was never changed; change it: p2pctl network rotate\n");
    let json = run_at(&with_network(plain), &["network", "-ojson"]).await.stdout;
    check(&serde_json::from_str(&json).unwrap());
    let open = NetworkResponse { open: true, keys: Vec::new(), rotation: None, ..rotated() };
    let ran = run_at(&with_network(open), &["network", "-v"]).await;
    assert_eq!(ran.stdout, "network nnnnnnnn: open, without a secret\n");
    assert!(ran.stderr.contains("whoever reaches this daemon may join"), "{}", ran.stderr);
}

#[tokio::test]
async fn who_is_out_is_told_so_whoever_looks() {
    for (network, said) in [
        (NetworkResponse { shut_out: true, ..rotated() }, "warning: this daemon was shut out"),
        (NetworkResponse { left_out: true, ..rotated() }, "warning: this daemon was not given the new secret"),
    ] {
        let ran = run_at(&with_network(network), &["network", "-q"]).await;
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_rotation_says_what_happens_to_the_old_secret_and_who_is_away() {
    let fake = with_network(rotated());
    let ran = run_at(&fake, &["network", "rotate", "--grace", "1h", "--readmit", "bob", "-v"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Ok, "new key qqqqqqqq for 3 members\n"));
    let said = "p2pctl: the old secret is accepted until 2026-11-22 13:00:00; who is away gets the new one later too\n\
                p2pctl: 1 member is away: p2pctl network\n\
                p2pctl: who is a member again comes back with its next dial; at once, there: p2pctl peers reconnect\n";
    assert_eq!(ran.stderr, said);
    let ticket = |open| p2p_proto::v1::Invite { open, ..p2p_proto::v1::Invite::default() };
    fake.state().invites = vec![ticket(true), ticket(false), ticket(true)];
    let ran = run_at(&fake, &["network", "rotate", "--without", "alice", "--without", "bob", "-v"]).await;
    assert_eq!(ran.stdout, "new key qqqqqqqq for 3 members, 2 peers out\n");
    assert!(ran.stderr.contains("the old secret is not accepted any more"), "{}", ran.stderr);
    let warning = "p2pctl: warning: 2 tickets of this daemon are open to whoever has seen them: p2pctl invite --list\n";
    assert!(ran.stderr.ends_with(warning), "{}", ran.stderr);
    let json = run_at(&fake, &["network", "rotate", "-ojson"]).await;
    check(&serde_json::from_str(&json.stdout).unwrap());
    assert_eq!(json.stderr, "");
    let asked: Vec<String> =
        fake.state().requests.iter().filter(|asked| asked.starts_with("rotate")).cloned().collect();
    let (bob, both) =
        (format!("rotate [] [\"{BOB}\"] Some(3600000)"), format!("rotate [\"{ALICE}\", \"{BOB}\"] [] None"));
    assert_eq!(asked, [bob, both, "rotate [] [] None".to_owned()]);
}

#[tokio::test]
async fn a_rotation_that_makes_no_sense_is_refused() {
    let fake = with_network(rotated());
    let ran = run_at(&fake, &["network", "rotate", "--without", "alice", "--grace", "1h"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Usage, ""));
    assert_eq!(run_at(&fake, &["network", "rotate", "--without", "nobody"]).await.exit, Exit::NotFound);
    let ran = run_at(&fake, &["network", "rotate", "--without", OWN]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Rejected, ""));
    assert_eq!(ran.stderr, "p2pctl: error: network rotate: this daemon cannot shut out itself (INVALID_ARGUMENT)\n");
}
