//! Who holds what: `receipts`, `send -w`, `sync`, `wait --synced`, `wait --delivered`.

use p2p_proto::error::{Code, Error};
use p2p_proto::v1::{
    Health, Holder, HolderState, Peer, PeerSync, Receipt, ReceiptsResponse, StatusResponse, SyncStateResponse,
};
use tonic::Status;

use super::fake::{ALICE, BOB, OWN};
use super::*;

use HolderState::{Away, Holds, Linked, Sent};

const SEEN_US: i64 = 1_795_348_800_000_000 - 240_000_000;

fn receipt(seq: u64, alice: HolderState, bob: HolderState) -> Receipt {
    let holder = |peer: &str, name: &str, state: HolderState| Holder {
        peer: peer.to_owned(),
        name: name.to_owned(),
        state: state.into(),
        last_seen_us: SEEN_US,
        ..Holder::default()
    };
    let id = Some(PostId { author: OWN.to_owned(), epoch: 1_863, seq });
    Receipt { id, held: true, holders: vec![holder(BOB, "bob\n\x1b[2J", bob), holder(ALICE, "alice", alice)] }
}

fn answer(receipts: &[Receipt]) -> Result<ReceiptsResponse, Status> {
    Ok(ReceiptsResponse { receipts: receipts.to_vec() })
}

/// A daemon whose streams of receipts give these answers, one stream after the other, and stay open.
fn with_receipts(streams: impl IntoIterator<Item = Vec<Result<ReceiptsResponse, Status>>>) -> Fake {
    let fake = Fake::start();
    fake.state().receipts.extend(streams);
    fake.state().holds = true;
    fake
}

fn one(alice: HolderState, bob: HolderState) -> Result<ReceiptsResponse, Status> {
    answer(&[receipt(1, alice, bob)])
}

#[tokio::test]
async fn receipts_say_how_many_hold_a_post_and_who_does_not() {
    let fake = with_receipts([vec![one(Holds, Away)]]);
    let ran = run_at(&fake, &["receipts", "mmmmabcd-1863-1"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""));
    assert_eq!(
        ran.stdout,
        "held by 1 of 2\nNAME             STATE  SINCE\nalice~k5x3       holds  -\nbob^J^[[2J~7qfd  away   4m\n"
    );
    let request = fake.state().receipted.pop().unwrap();
    assert_eq!((request.ids[0].author.as_str(), request.ids[0].seq, request.follow), (OWN, 1, false));
}

#[tokio::test]
async fn receipts_follow_a_post_as_it_gets_around() {
    let fake = with_receipts([vec![one(Sent, Away), one(Holds, Away)], vec![one(Holds, Holds)]]);
    fake.state().holds = false;
    fake.state().streams_max = Some(2);
    let ran = run_at(&fake, &["receipts", "-f", "mmmmabcd-1863-1", "-ojson"]).await;
    assert_eq!(ran.exit, Exit::Denied, "a third stream was refused");
    let counts: Vec<u64> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["held_by"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [0, 1, 2]);
}

#[tokio::test]
async fn a_post_that_nobody_holds_is_not_found() {
    let nobody = || Receipt { held: false, ..receipt(9, Away, Linked) };
    let fake = with_receipts([vec![answer(&[nobody()])]]);
    let ran = run_at(&fake, &["receipts", "mmmmabcd-1863-9"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::NotFound, ""));
    insta::assert_snapshot!(ran.stderr, @r"
    p2pctl: error: receipts: nobody is known to hold mmmmabcd-1863-9 (NOT_FOUND)
    hint: see what is here: p2pctl history -o wide
    ");
    for (id, exit) in [("zzzzzzzz-1863-9", Exit::NotFound), ("42", Exit::Usage)] {
        assert_eq!(run_at(&fake, &["receipts", id]).await.exit, exit, "{id}");
    }
}

#[tokio::test]
async fn a_send_that_waits_gives_the_id_first_and_says_who_has_it() {
    let fake = with_receipts([vec![one(Sent, Away), one(Holds, Linked), one(Holds, Holds)]]);
    let terminals = Terminals { stderr: true, ..Terminals::default() };
    let setting = || Setting { terminals, ..Setting::at(&fake) };
    let ran = setting().run(&["send", "-w", "everyone", "hello"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Ok, "mmmmabcd-1863-1\n"));
    assert!(ran.stderr.starts_with("p2pctl: delivered to 2 of 2 (") && ran.stderr.ends_with("s)\n"), "{}", ran.stderr);
    let request = fake.state().receipted.pop().unwrap();
    assert_eq!((request.ids.len(), request.ids[0].seq, request.follow), (1, 1, true));

    let stored = setting().run(&["send", "hello"]).await;
    assert_eq!((stored.exit, stored.stderr.as_str()), (Exit::Ok, ""));
    assert!(fake.state().receipted.is_empty(), "what is stored is not waited for");
}

#[tokio::test]
async fn a_send_waits_as_far_as_it_is_asked_and_no_farther() {
    for (wanted, first) in [
        ("stored", one(Linked, Away)),
        ("sent", one(Sent, Away)),
        ("sent", one(Holds, Away)),
        ("1", one(Holds, Linked)),
        ("2", one(Holds, Holds)),
        ("online", one(Holds, Away)),
        ("everyone", one(Holds, Holds)),
    ] {
        let ran = run_at(&with_receipts([vec![first]]), &["send", "-w", wanted, "x"]).await;
        assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""), "{wanted}");
    }
    for (wanted, first, missing) in [
        ("sent", one(Linked, Away), "not yet sent to bob^J^[[2J~7qfd (away for 4m), alice~k5x3"),
        ("2", one(Holds, Sent), "held by 1 of 2, not yet by bob^J^[[2J~7qfd"),
        ("3", one(Holds, Holds), "only 2 other peers are known"),
        ("online", one(Holds, Sent), "not yet held by bob^J^[[2J~7qfd"),
        ("everyone", one(Holds, Away), "not yet held by bob^J^[[2J~7qfd (away for 4m)"),
    ] {
        let fake = with_receipts([vec![first]]);
        let ran = run_at(&fake, &["send", "-w", wanted, "x", "--wait-timeout", "50ms"]).await;
        assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Partial, "mmmmabcd-1863-1\n"), "{wanted}");
        let expected = format!(
            "p2pctl: error: send: stored here, and {missing} (PARTIAL)\n\
             hint: it is delivered when they link; ask with: p2pctl receipts mmmmabcd-1863-1\n"
        );
        assert_eq!(ran.stderr, expected);
    }
    for nonsense in ["0", "-1", "all", ""] {
        assert_eq!(run_at(&Fake::start(), &["send", "-w", nonsense, "x"]).await.exit, Exit::Usage, "{nonsense}");
    }
}

#[tokio::test]
async fn a_delivery_to_nobody_is_none() {
    for wanted in ["sent", "1", "online", "everyone"] {
        let fake = with_receipts([]);
        let ran = run_at(&fake, &["send", "-w", wanted, "x", "--wait-timeout", "50ms", "-ojson"]).await;
        assert_eq!(ran.exit, Exit::Partial, "{wanted}");
        let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(error["message"], "send: stored here, and no other peer is known");
        assert_eq!((&error["code"], &error["exit"]), (&"PARTIAL".into(), &8.into()));
        assert_eq!(error["retryable"], false, "sent again, it would be said twice");
    }
}

#[tokio::test]
async fn a_send_that_waits_finds_the_daemon_again() {
    let gone = || Err(Error::new(Code::Stopping, "draining").into());
    let fake = with_receipts([vec![one(Linked, Away), gone()], vec![one(Holds, Holds)]]);
    let ran = run_at(&fake, &["send", "-w", "everyone", "x"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""));
    assert_eq!(fake.state().outgoing.len(), 1);
}

#[tokio::test]
async fn whatever_goes_wrong_behind_the_store_the_exit_code_says_stored() {
    let fake = with_receipts([vec![Err(Error::new(Code::InvalidArgument, "too odd").into())]]);
    let ran = run_at(&fake, &["send", "-w", "1", "x"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Partial, "mmmmabcd-1863-1\n"));
    assert!(ran.stderr.starts_with("p2pctl: error: send: stored here, and receipts: too odd (PARTIAL)\n"), "{ran:?}");
    let refused = run_at(&fake, &["send", "-w", "1", "refuse"]).await;
    assert_eq!((refused.exit, refused.stdout.as_str()), (Exit::Busy, ""), "this one is not stored");
}

#[tokio::test]
async fn many_lines_are_waited_for_once_by_their_two_ends() {
    let both = |first, last| answer(&[receipt(1, first, Holds), receipt(3, last, Holds)]);
    let fake = with_receipts([vec![both(Holds, Sent), both(Away, Holds), both(Holds, Holds)]]);
    let ran = Setting::at(&fake).stdin("a\nb\nc\n").run(&["send", "-l", "-w", "everyone", "-v"]).await;
    assert_eq!((ran.exit, ran.stdout.lines().count()), (Exit::Ok, 3));
    assert!(ran.stderr.starts_with("p2pctl: delivered to 2 of 2 ("), "{}", ran.stderr);
    let asked: Vec<Vec<u64>> =
        fake.state().receipted.iter().map(|request| request.ids.iter().map(|id| id.seq).collect()).collect();
    assert_eq!(asked, [[1, 3]]);
    let nothing = run_at(&fake, &["send", "-l", "-w", "everyone"]).await;
    assert_eq!((nothing.exit, fake.state().receipted.len()), (Exit::Ok, 1), "nothing was sent");
}

fn sync_state(missing_posts: u64, compared: bool) -> SyncStateResponse {
    let synced = missing_posts == 0 && compared;
    let (id, name) = (ALICE.to_owned(), "alice".to_owned());
    let alice = PeerSync { id, name, ahead: missing_posts, compared, equal: synced, ..PeerSync::default() };
    SyncStateResponse { peers: vec![alice], digest: "0123".to_owned(), missing_posts, synced, ..Default::default() }
}

fn alone() -> SyncStateResponse {
    SyncStateResponse { peers: Vec::new(), ..sync_state(0, true) }
}

/// A daemon whose stream of sync states gives these and stays open.
fn with_syncs(states: impl IntoIterator<Item = SyncStateResponse>, ready: bool) -> Fake {
    let fake = Fake::start();
    fake.state().holds = true;
    fake.state().syncs.push_back(states.into_iter().map(Ok).collect());
    let health = Health::Syncing.into();
    fake.state().statuses.push_back(StatusResponse { id: OWN.to_owned(), health, ready, ..StatusResponse::default() });
    fake
}

#[tokio::test]
async fn sync_shows_a_line_an_author_and_what_it_all_means() {
    let fake = with_syncs([sync_state(0, true)], true);
    let ran = run_at(&fake, &["sync", "general"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""));
    assert_eq!(ran.stdout, "AUTHOR  HAVE  MISSING  EPOCHS  AGREE\nin sync with 1 of 1: digest 0123\n");
    assert_eq!(fake.state().synced_rooms, ["general"]);
    assert_eq!(fake.state().requests, ["sync_state"], "nobody was disturbed");
}

#[tokio::test]
async fn sync_now_compares_and_waits_until_nothing_is_missing() {
    let fake =
        with_syncs([sync_state(0, false), sync_state(12, true), sync_state(3, true), sync_state(0, true)], false);
    let terminals = Terminals { stderr: true, ..Terminals::default() };
    let ran = Setting { terminals, ..Setting::at(&fake) }.run(&["sync", "--now"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""));
    assert_eq!(ran.stdout.lines().last(), Some("in sync with 1 of 1: digest 0123"));
    assert_eq!(fake.state().requests, ["sync", "watch_sync_state"]);
}

#[tokio::test]
async fn sync_now_in_vain_says_what_is_missing() {
    for (state, missing) in [
        (sync_state(1_234, true), "1,234 posts are missing (held by alice~k5x3)"),
        (sync_state(1, false), "1 post is missing (held by alice~k5x3), not compared yet with alice~k5x3"),
        (alone(), "no peer is linked"),
    ] {
        let ran = run_at(&with_syncs([state], false), &["sync", "--now", "--timeout", "500ms"]).await;
        assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Timeout, ""));
        let expected =
            format!("p2pctl: error: sync: after 500ms: {missing} (TIMEOUT)\nhint: give it more time with --timeout\n");
        assert_eq!(ran.stderr, expected);
    }
    let ran = run_at(&with_syncs([alone()], true), &["sync", "--now"]).await;
    assert_eq!(ran.exit, Exit::Ok, "nobody is configured: {}", ran.stderr);
}

#[tokio::test]
async fn sync_is_watched_over_restarts_of_the_daemon() {
    let fake = with_syncs([sync_state(7, true)], true);
    fake.state().holds = false;
    fake.state().syncs.push_back(vec![Ok(sync_state(0, true))]);
    fake.state().streams_max = Some(2);
    let ran = run_at(&fake, &["sync", "--watch", "-ojson"]).await;
    assert_eq!((ran.exit, ran.stdout.lines().count()), (Exit::Denied, 2), "{ran:?}");
}

#[tokio::test]
async fn waiting_for_sync_ends_when_nothing_is_missing_or_nobody_is_there_to_ask() {
    let fake = with_syncs([sync_state(0, false), sync_state(12, true), sync_state(0, true)], false);
    let ran = run_at(&fake, &["wait", "--synced"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Ok, "SYNCING\n"), "{}", ran.stderr);
    assert_eq!(run_at(&with_syncs([alone()], true), &["wait", "--synced"]).await.exit, Exit::Ok);
    let cut_off = run_at(&with_syncs([alone()], false), &["wait", "--synced", "--timeout", "500ms"]).await;
    assert_eq!(cut_off.exit, Exit::Timeout);
    assert!(cut_off.stderr.contains("wait: after 500ms: no peer is linked (TIMEOUT)"), "{}", cut_off.stderr);
}

#[tokio::test]
async fn waiting_for_a_delivery_ends_when_everybody_known_holds_it() {
    let both = |one, other| answer(&[receipt(1, Holds, one), receipt(2, other, Holds)]);
    let fake = with_receipts([vec![both(Away, Holds), both(Holds, Sent), both(Holds, Holds)]]);
    let args = ["wait", "--delivered", "mmmmabcd-1863-1", "--delivered", "mmmmabcd-1863-2"];
    let ran = run_at(&fake, &args).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr);
    let asked: Vec<u64> = fake.state().receipted[0].ids.iter().map(|id| id.seq).collect();
    assert_eq!(asked, [1, 2]);
}

#[tokio::test]
async fn c_10_waiting_for_all_at_once_names_all_that_is_missing() {
    let elsewhere = Receipt { held: false, ..receipt(2, Holds, Away) };
    let fake = with_syncs([sync_state(3, true)], false);
    fake.state().receipts.push_back(vec![answer(&[receipt(1, Holds, Away), elsewhere])]);
    let ids = ["--delivered", "mmmmabcd-1863-1", "--delivered", "mmmmabcd-1863-2"];
    let args = [&["wait", "--ready", "--peers", "2", "--synced", "--timeout", "500ms"][..], &ids].concat();
    let ran = run_at(&fake, &args).await;
    assert_eq!(ran.exit, Exit::Timeout);
    insta::assert_snapshot!(ran.stderr, @r"
    p2pctl: error: wait: after 500ms: 0 of 2 peers are up, the daemon is SYNCING, 3 posts are missing (held by alice~k5x3), mmmmabcd-1863-1: not yet held by bob^J^[[2J~7qfd (away for 4m), mmmmabcd-1863-2 is not held here (TIMEOUT)
    hint: give it more time with --timeout
    ");
}

#[tokio::test]
async fn waiting_for_a_delivery_begins_before_the_daemon_does() {
    let mut fake = with_receipts([vec![one(Holds, Holds)]]);
    fake.stop();
    let setting = Setting::at(&fake);
    let start = async {
        tokio::task::yield_now().await;
        fake.restart();
    };
    let args = ["wait", "--delivered", "mmmmabcd-1863-1", "--timeout", "20s"];
    let (ran, ()) = tokio::join!(setting.run(&args), start);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr);
    let args = ["wait", "-s", "/nowhere/sock", "--delivered", "mmmmabcd-1863-1", "--timeout", "100ms"];
    let ran = Setting::nowhere().run(&args).await;
    assert_eq!(ran.exit, Exit::Timeout, "{}", ran.stderr);
    assert!(ran.stderr.contains("no daemon"), "{}", ran.stderr);
}

#[tokio::test]
async fn an_old_daemon_is_named_by_the_new_commands() {
    let fake = Fake::start();
    fake.state().old = true;
    fake.state().peers = vec![Peer::default()];
    let id = format!("{OWN}-1863-1");
    for args in [&["sync"][..], &["sync", "--now"], &["search", "x"], &["receipts", &id], &["wait", "--delivered", &id]]
    {
        let ran = run_at(&fake, args).await;
        assert_eq!(ran.exit, Exit::Failed, "{args:?}");
        assert!(ran.stderr.contains("the daemon does not know this request: p2pctl is "), "{}", ran.stderr);
    }
}
