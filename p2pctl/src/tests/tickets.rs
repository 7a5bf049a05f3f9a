//! Tickets: `invite` and `join`.

use p2p_proto::v1::{FeedState, Invite, Peer, PeerState, PeerSync, SyncStateResponse};

use super::fake::{ALICE, BOB, OWN};
use super::*;
use crate::output::schema::tests::check;

#[tokio::test]
async fn an_invite_is_one_line_and_says_nothing_else_to_a_script() {
    let fake = Fake::start();
    let ran = run_at(&fake, &["invite", "--expires", "1h", "--uses", "3", "--address", "chat.example:80"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str(), ran.stderr.as_str()), (Exit::Ok, "p2p1abc\n", ""));
    let ran = run_at(&fake, &["invite", "-ojson"]).await;
    assert_eq!(
        ran.stdout,
        "{\"v\":1,\"type\":\"invited\",\"ticket\":\"p2p1abc\",\"id\":\"aebagbafaydqq\",\
         \"expires\":\"2026-11-22T12:00:00.000000Z\",\"addresses\":[\"127.0.0.1:8080\"]}\n"
    );
    check(&serde_json::from_str(&ran.stdout).unwrap());
    let asked = ["invite 3600000 3 false [\"chat.example:80\"]", "invite 0 0 false []"];
    assert_eq!(fake.state().requests, asked);
}

#[tokio::test]
async fn who_must_know_something_of_a_ticket_is_told() {
    let fake = Fake::start();
    let ran = run_at(&fake, &["invite"]).await;
    assert!(ran.stderr.starts_with("p2pctl: warning: 127.0.0.1:8080 is for this machine only"), "{}", ran.stderr);
    let ran = run_at(&fake, &["invite", "--offline", "--address", "[2001:db8::1]:80"]).await;
    assert_eq!(ran.stderr.lines().count(), 1);
    assert!(ran.stderr.contains("warning: this ticket holds the network's secret itself"), "{}", ran.stderr);
    for args in
        [&["invite", "--offline", "--uses", "2"][..], &["invite", "--uses", "0"], &["invite", "--list", "--offline"]]
    {
        assert_eq!(run_at(&fake, args).await.exit, Exit::Usage, "{args:?}");
    }
}

#[tokio::test]
async fn a_terminal_gets_a_picture_where_it_fits_and_the_ticket_stands_alone_on_stdout() {
    let fake = Fake::start();
    let terminals = Terminals { stdin: true, stdout: true, stderr: true };
    let at = |screen| Setting { terminals, screen, ..Setting::at(&fake) };
    let wide = at(|| Some(Screen { rows: 50, columns: 80 })).run(&["invite"]).await;
    assert_eq!(wide.stdout, "p2p1abc\n");
    assert!(wide.stderr.contains('█'), "{}", wide.stderr);
    assert!(wide.stderr.contains("p2pctl: lets in 1 peer until 2026-11-22 "), "{}", wide.stderr);
    let narrow = at(|| Some(Screen { rows: 50, columns: 20 })).run(&["invite"]).await;
    let quiet = at(|| Some(Screen { rows: 50, columns: 80 })).run(&["invite", "-q"]).await;
    assert!(!narrow.stderr.contains('█') && !quiet.stderr.contains('█'));
}

#[tokio::test]
async fn invites_are_listed_by_what_they_are_still_good_for() {
    let fake = Fake::start();
    let base =
        Invite { made_us: 1_795_348_800_000_000, expires_us: 1_795_352_400_000_000, uses_max: 2, ..Invite::default() };
    fake.state().invites = vec![
        Invite { id: "a".into(), open: true, ..base.clone() },
        Invite { id: "b".into(), revoked: true, uses: 2, ..base.clone() },
        Invite { id: "c".into(), uses: 2, ..base.clone() },
        Invite { id: "d\n\x1b[2J".into(), uses: 1, ..base },
    ];
    let ran = run_at(&fake, &["invite", "--list"]).await;
    insta::assert_snapshot!(ran.stdout, @r"
    ID        STATE    USED    MADE                 EXPIRES
    a         open     0 of 2  2026-11-22 13:00:00  2026-11-22 14:00:00
    b         revoked  2 of 2  2026-11-22 13:00:00  2026-11-22 14:00:00
    c         used     2 of 2  2026-11-22 13:00:00  2026-11-22 14:00:00
    d^J^[[2J  expired  1 of 2  2026-11-22 13:00:00  2026-11-22 14:00:00
    ");
    let json = run_at(&fake, &["invite", "--list", "-ojson"]).await.stdout;
    assert_eq!(json.lines().count(), 1);
    check(&serde_json::from_str(&json).unwrap());
    assert_eq!(run_at(&fake, &["invite", "--revoke", "c"]).await.stdout, "took back c\n");
    assert_eq!(fake.state().requests.last().map(String::as_str), Some("revoke c"));
    fake.state().invites.clear();
    let ran = run_at(&fake, &["invite", "--list", "-v"]).await;
    assert_eq!(ran.stderr, "p2pctl: nobody was invited from here\n");
}

fn sync_state(linked: &[&str], missing_posts: u64) -> SyncStateResponse {
    let peer = |id: &&str| PeerSync { id: (*id).to_owned(), compared: true, ..PeerSync::default() };
    let feed = |author: &str, own, have| FeedState { author: author.to_owned(), own, have, ..FeedState::default() };
    SyncStateResponse {
        feeds: vec![feed(ALICE, false, 1_200), feed(BOB, false, 34), feed(OWN, true, 5)],
        peers: linked.iter().map(peer).collect(),
        missing_posts,
        synced: missing_posts == 0 && !linked.is_empty(),
        ..SyncStateResponse::default()
    }
}

fn with_syncs(states: impl IntoIterator<Item = SyncStateResponse>) -> Fake {
    let fake = Fake::start();
    fake.state().holds = true;
    fake.state().syncs.push_back(states.into_iter().map(Ok).collect());
    let alice = Peer { id: ALICE.to_owned(), name: "alice".to_owned(), state: PeerState::Up.into(), ..Peer::default() };
    fake.state().peers = vec![alice];
    fake
}

#[tokio::test]
async fn a_join_ends_when_the_issuer_is_linked_and_everything_came() {
    let states =
        || [sync_state(&[], 0), sync_state(&[BOB], 0), sync_state(&[BOB, ALICE], 7), sync_state(&[BOB, ALICE], 0)];
    let ran = run_at(&with_syncs(states()), &["join", "p2p1abc"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""));
    assert_eq!(ran.stdout, "joined network nnnnnnnn of alice~k5x3: 2 peers up, 1,234 posts of others here\n");
    let ran = run_at(&with_syncs(states()), &["join", "again", "-ojson"]).await;
    let joined: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    check(&joined);
    assert_eq!(
        (&joined["type"], &joined["posts"], &joined["repeated"]),
        (&"joined".into(), &1_234.into(), &true.into())
    );
}

#[tokio::test]
async fn a_ticket_comes_from_stdin_too_and_its_white_space_is_said_to_be_left_out() {
    let fake = with_syncs([sync_state(&[ALICE], 0)]);
    let ran = Setting::at(&fake).stdin("p2p1\n  abc\n").run(&["join", "-v"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, "p2pctl: the white space in the ticket was left out\n"));
    assert_eq!(fake.state().requests[0], "join p2p1\n  abc\n");
    let ran = Setting::at(&fake).stdin(vec![0xff, 0xfe]).run(&["join"]).await;
    assert_eq!(ran.exit, Exit::Failed, "{}", ran.stderr);
}

#[tokio::test]
async fn a_join_in_vain_is_one_clear_error() {
    let ran = run_at(&Fake::start(), &["join", "used"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Rejected, ""));
    assert_eq!(
        ran.stderr,
        "p2pctl: error: join: the ticket is already used (TICKET_REFUSED)\nhint: ask for a new one\n"
    );
    for (state, missing) in [
        (sync_state(&[BOB], 0), "k5x3abcd… is not linked"),
        (sync_state(&[ALICE], 1), "1 post is missing"),
        (sync_state(&[ALICE], 9), "9 posts are missing"),
        (SyncStateResponse { synced: false, ..sync_state(&[ALICE], 0) }, "not everybody was compared with"),
    ] {
        let ran = run_at(&with_syncs([state]), &["join", "p2p1abc", "--timeout", "500ms"]).await;
        assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Timeout, ""));
        let expected = format!(
            "p2pctl: error: join: this daemon is in network nnnnnnnn now, but after 500ms {missing} (TIMEOUT)\n\
             hint: it goes on by itself; see how it is: p2pctl peers\n"
        );
        assert_eq!(ran.stderr, expected);
    }
}
