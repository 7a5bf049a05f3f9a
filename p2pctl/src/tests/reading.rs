//! `watch`, `history`, `rooms`.

use std::path::Path;

use p2p_proto::error::{Code, Error};
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;
use p2p_proto::v1::{Gap, Peer, PostBatch, Room, SearchResponse, WatchResponse};
use tonic::Status;

use super::fake::{ALICE, BOB, OWN};
use super::*;

fn batch(numbers: std::ops::RangeInclusive<u64>) -> Result<WatchResponse, Status> {
    let offset = *numbers.end();
    let posts: Vec<Post> = numbers.map(|n| post(n, &format!("text {n}"))).collect();
    Ok(WatchResponse { offset, item: Some(Item::Batch(PostBatch::from(posts))), blocked: 0 })
}

fn item(offset: u64, item: Item) -> Result<WatchResponse, Status> {
    Ok(WatchResponse { offset, item: Some(item), blocked: 0 })
}

/// A daemon whose first stream is `script`.
fn watched(script: Vec<Result<WatchResponse, Status>>) -> Fake {
    let fake = Fake::start();
    fake.state().watches.push_back(script);
    fake
}

fn starts(fake: &Fake) -> Vec<Start> {
    fake.state().watched.iter().map(|request| request.start.unwrap()).collect()
}

#[tokio::test]
async fn posts_are_shown_as_they_come() {
    let fake = watched(vec![batch(1..=2), batch(3..=9)]);
    let ran = run_at(&fake, &["watch", "--count", "3"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""));
    insta::assert_snapshot!(ran.stdout, @r"
    12:00:01 [general] alice~k5x3: text 1
    12:00:02 [general] alice~k5x3: text 2
    12:00:03 [general] alice~k5x3: text 3
    ");
}

/// A post as `bench send` makes it.
fn measurement(seq: u64) -> Post {
    Post { room: "bench".to_owned(), ..post(seq, &format!("bench {seq} xxxx")) }
}

#[tokio::test]
async fn what_a_benchmark_said_is_not_in_the_way_of_a_reader() {
    let fake = Fake::start();
    let talk = Post { room: "bench".to_owned(), ..post(4, "bench is slow today") };
    let mut posts = vec![post(1, "one"), post(2, "two"), post(3, "three"), talk];
    posts.extend((5..=80).map(measurement));
    fake.state().posts = posts;
    let note = "p2pctl: what p2pctl bench measured with is left out: name the room bench, or --all\n";
    let ran = run_at(&fake, &["history", "-n", "2", "-v"]).await;
    let texts: Vec<&str> = ran.stdout.lines().map(|line| line.rsplit_once(": ").unwrap().1).collect();
    assert_eq!((texts, ran.stderr.as_str()), (vec!["three", "bench is slow today"], note));
    let lines = async |args: &[&str]| run_at(&fake, args).await.stdout.lines().count();
    assert_eq!(lines(&["history"]).await, 4);
    assert_eq!(lines(&["history", "--all"]).await, 80);
    assert_eq!(lines(&["history", "bench"]).await, 50);
    // Programs get what they ask for.
    assert_eq!(lines(&["history", "-F", "{text}"]).await, 50);
    assert_eq!(run_at(&fake, &["history", "-o", "json"]).await.stdout.matches("\"room\":\"bench\"").count(), 50);
}

#[tokio::test]
async fn what_a_benchmark_says_is_not_in_the_way_of_who_watches() {
    let batch = |posts: Vec<Post>| item(9, Item::Batch(PostBatch::from(posts)));
    let script = || {
        let past = vec![post(1, "one"), measurement(2), post(3, "two"), measurement(4), measurement(5)];
        vec![batch(past), item(9, Item::CaughtUp(true)), batch(vec![measurement(10), post(11, "three")])]
    };
    let fake = watched(script());
    let room = |name: &str, posts| Room { name: name.to_owned(), posts, newest_us: 0 };
    fake.state().rooms = vec![room("bench", 3), room("general", 3)];
    let note =
        "p2pctl: what p2pctl bench measured with is left out: name the room bench, or --all\np2pctl: caught up\n";
    let ran = run_at(&fake, &["watch", "-n", "1", "--count", "2", "-v"]).await;
    let texts: Vec<&str> = ran.stdout.lines().map(|line| line.rsplit_once(": ").unwrap().1).collect();
    assert_eq!((texts, ran.stderr.as_str()), (vec!["two", "three"], note));
    assert_eq!(starts(&fake), [Start::Last(4)]);
    let mut seen = Vec::new();
    for args in [&["-n", "2"][..], &["--all"], &["bench", "-n", "9"], &["-n", "9", "-o", "json"], &["-n", "9", "-0"]] {
        fake.state().watches.push_back(script());
        let ran = run_at(&fake, &[&["watch", "--until-caught-up"], args].concat()).await;
        seen.push(ran.stdout.matches(['\n', '\0']).count());
    }
    // JSON tells that the past ends, too.
    assert_eq!(seen, [2, 5, 5, 6, 5]);
}

#[tokio::test]
async fn what_is_left_out_of_blocked_peers_is_said_and_can_be_asked_for() {
    let left_out = |offset| Ok(WatchResponse { offset, item: Some(Item::Heartbeat(true)), blocked: 2 });
    let fake = watched(vec![left_out(1), left_out(2), batch(3..=3)]);
    let ran = run_at(&fake, &["watch", "--count", "1", "-v"]).await;
    assert_eq!(ran.stderr, "p2pctl: what blocked peers say is left out: --blocked shows it\n");
    fake.state().blocked = 2;
    let ran = run_at(&fake, &["history", "-v"]).await;
    assert!(ran.stderr.starts_with("p2pctl: 2 posts of blocked peers are left out: --blocked shows them\n"), "{ran:?}");
    fake.state().found.push_back(SearchResponse { blocked: 1, ..SearchResponse::default() });
    let ran = run_at(&fake, &["search", "x", "-v"]).await;
    assert!(ran.stderr.starts_with("p2pctl: 1 post of blocked peers is left out: --blocked shows them\n"), "{ran:?}");
    fake.state().watches.push_back(vec![batch(1..=1)]);
    for args in [&["watch", "--count", "1", "--blocked"][..], &["history", "--blocked"], &["search", "x", "--blocked"]]
    {
        assert_eq!(run_at(&fake, args).await.exit, Exit::Ok);
    }
    let state = fake.state();
    let asked = [
        state.watched.last().unwrap().blocked,
        state.histories.last().unwrap().blocked,
        state.searches.last().unwrap().blocked,
    ];
    assert_eq!(asked, [true; 3]);
}

#[tokio::test]
async fn a_stream_of_json_is_one_post_a_line() {
    let fake = watched(vec![batch(1..=2)]);
    let ran = run_at(&fake, &["watch", "--count", "2", "-ojson"]).await;
    let texts: Vec<String> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts, ["text 1", "text 2"]);
}

#[tokio::test]
async fn raw_texts_are_parted_by_nul() {
    let fake = watched(vec![batch(1..=2)]);
    assert_eq!(run_at(&fake, &["watch", "--count", "2", "-0"]).await.stdout, "text 1\0text 2\0");
}

#[tokio::test]
async fn what_is_asked_for_reaches_the_daemon() {
    let fake = Fake::start();
    fake.state().peers = vec![Peer { id: ALICE.to_owned(), name: "alice".to_owned(), ..Peer::default() }];
    let since = 1_795_348_800_000_000 - 600_000_000;
    for (args, start) in [
        (&[][..], Start::Live(true)),
        (&["-n", "5"], Start::Last(5)),
        (&["--after", "7"], Start::After(7)),
        (&["--all"], Start::After(0)),
        (&["--since", "10m"], Start::SinceUs(since)),
    ] {
        let args =
            [&["watch", "general", "dev", "--from", "alice", "--from", "own", "--no-own", "--idle", "1ms"], args]
                .concat();
        assert_eq!(run_at(&fake, &args).await.exit, Exit::Ok);
        let request = fake.state().watched.pop().unwrap();
        assert_eq!(request.start, Some(start));
        assert_eq!((request.rooms, request.no_own), (vec!["general".to_owned(), "dev".to_owned()], true));
        assert_eq!(request.authors, [ALICE, OWN]);
    }
    let unknown = run_at(&fake, &["watch", "--from", BOB, "--idle", "1ms"]).await;
    assert_eq!(unknown.exit, Exit::Ok, "a whole id needs no asking");
    for (args, exit) in [
        (["watch", "--from", "carol"], Exit::NotFound),
        (["watch", "--since", "yesterday"], Exit::Usage),
        (["history", "--until", "25:00"], Exit::Usage),
        (["watch", "-q", "NoRoom"], Exit::Rejected),
    ] {
        assert_eq!(run_at(&fake, &args).await.exit, exit, "{args:?}");
    }
}

#[tokio::test]
async fn g_16_a_restart_of_the_daemon_loses_and_repeats_nothing() {
    let fake = watched(vec![batch(1..=2), item(7, Item::Heartbeat(true))]);
    fake.state().watches.push_back(vec![Err(Error::new(Code::Stopping, "draining").into())]);
    fake.state().watches.push_back(vec![batch(8..=8), Err(Status::unknown("broken"))]);
    fake.state().watches.push_back(vec![batch(9..=10)]);
    let ran = run_at(&fake, &["watch", "general", "--count", "5", "-v"]).await;
    assert_eq!(ran.exit, Exit::Ok);
    let texts: Vec<&str> = ran.stdout.lines().filter_map(|line| line.split_once(": ")).map(|(_, text)| text).collect();
    assert_eq!(texts, ["text 1", "text 2", "text 8", "text 9", "text 10"]);
    assert_eq!(starts(&fake), [Start::Live(true), Start::After(7), Start::After(7), Start::After(8)]);
    assert_eq!(
        ran.stderr.lines().next(),
        Some("p2pctl: the daemon is gone (it ended the stream); waiting for it to come back")
    );
    assert_eq!(ran.stderr.lines().count(), 3);
}

#[tokio::test]
async fn g_16_a_new_process_on_the_same_socket_is_found() {
    let mut fake = watched(vec![batch(1..=1)]);
    let socket = fake.socket();
    let setting = Setting::at(&fake);
    let watching = tokio::task::LocalSet::new();
    let ran = watching
        .run_until(async move {
            let run = tokio::task::spawn_local(async move { setting.run(&["watch", "--count", "2"]).await });
            while fake.state().watched.is_empty() {
                tokio::task::yield_now().await;
            }
            fake.stop();
            std::fs::remove_file(socket).unwrap();
            fake.state().watches.push_back(vec![batch(2..=2)]);
            fake.restart();
            run.await.unwrap()
        })
        .await;
    assert_eq!((ran.exit, ran.stdout.lines().count()), (Exit::Ok, 2), "{ran:?}");
}

#[tokio::test]
async fn a_refusal_of_the_daemon_is_no_reason_to_come_back() {
    let fake = watched(vec![batch(1..=1), Err(Error::new(Code::InvalidArgument, "no such room").into())]);
    let ran = run_at(&fake, &["watch"]).await;
    assert_eq!(ran.exit, Exit::Rejected);
    assert_eq!(ran.stderr, "p2pctl: error: watch: no such room (INVALID_ARGUMENT)\n");
}

#[tokio::test]
async fn d_15_a_gap_is_told_whoever_reads() {
    let gap = Gap { from: 3, to: 14, posts: 12 };
    let script = || vec![item(14, Item::Gap(gap)), batch(15..=15)];
    let ran = run_at(&watched(script()), &["watch", "--after", "2", "--count", "1"]).await;
    assert_eq!(
        ran.stderr,
        "p2pctl: warning: gap: 12 posts at offsets 3 to 14 are not held here: dropped by retention, or damaged (see p2pctl status)\n"
    );
    let ran = run_at(&watched(script()), &["watch", "--after", "2", "--count", "1", "-ojson"]).await;
    let gap = "{\"v\":1,\"type\":\"gap\",\"from\":3,\"to\":14,\"posts\":12}";
    assert_eq!((ran.stderr.trim_end(), ran.stdout.lines().next()), (gap, Some(gap)));
    let ran = run_at(&watched(script()), &["watch", "--after", "2", "--count", "1", "-0"]).await;
    assert_eq!(ran.stdout, "text 15\0");
}

#[tokio::test]
async fn it_ends_when_everything_was_shown() {
    let fake = watched(vec![batch(1..=2), item(2, Item::CaughtUp(true)), batch(3..=3)]);
    let ran = run_at(&fake, &["watch", "--all", "--until-caught-up", "-v"]).await;
    assert_eq!((ran.exit, ran.stdout.lines().count()), (Exit::Ok, 2));
    assert_eq!(ran.stderr, "p2pctl: caught up\n");
    let fake = watched(vec![batch(1..=1), item(7, Item::CaughtUp(true))]);
    let ran = run_at(&fake, &["watch", "--all", "--until-caught-up", "-ojson"]).await;
    assert_eq!(ran.stdout.lines().last(), Some(r#"{"v":1,"type":"caught_up","offset":7}"#));
}

#[tokio::test]
async fn it_ends_after_a_time_or_in_silence() {
    for option in ["--for", "--idle"] {
        let ran = run_at(&Fake::start(), &["watch", option, "10ms"]).await;
        assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""));
        let ran = run_at(&Fake::start(), &["watch", option, "10ms", "--count", "2"]).await;
        assert_eq!(ran.exit, Exit::Timeout);
        assert_eq!(ran.stderr, "p2pctl: error: watch: 0 of 2 posts came (TIMEOUT)\n");
    }
}

#[tokio::test]
async fn c_04_a_watch_whose_reader_is_gone_ends_quietly() {
    let fake = watched(vec![batch(1..=9)]);
    let ran = Setting { stdout_bytes_max: 50, ..Setting::at(&fake) }.run(&["watch"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::BrokenPipe, ""));
    assert_eq!(ran.stdout.lines().next(), Some("12:00:01 [general] alice~k5x3: text 1"));
}

#[tokio::test]
async fn history_is_put_together_from_pages() {
    let fake = Fake::start();
    fake.state().posts = (1..=2_500).map(|n| post(n, &format!("text {n}"))).collect();
    let ran = run_at(&fake, &["history", "-n", "0", "-0"]).await;
    let texts: String = (1..=2_500).map(|n| format!("text {n}\0")).collect();
    assert_eq!(ran.stdout, texts);
    let limits: Vec<u32> = fake.state().histories.drain(..).map(|request| request.limit).collect();
    assert_eq!(limits, [1_000, 1_000, 1_000]);
    let ran = run_at(&fake, &["history", "-n", "1200", "-0"]).await;
    assert!(ran.stdout.starts_with("text 1301\0"));
    let limits: Vec<u32> = fake.state().histories.drain(..).map(|request| request.limit).collect();
    assert_eq!(limits, [1_000, 200]);
}

#[tokio::test]
async fn a_history_of_any_length_is_whole_and_only_its_end_is_held_at_once() {
    // Five posts share a millisecond, so pages end within one.
    let post = |n: u64| Post { time_us: 1_000 * (n / 5).cast_signed(), ..post(n, &format!("text {n}")) };
    for all in [16_000, 16_001, 17_003, 21_500] {
        let fake = Fake::start();
        fake.state().posts = (1..=all).map(post).collect();
        fake.state().offset = all - 3;
        let ran = run_at(&fake, &["history", "--all", "-0"]).await;
        let expected: String = (1..=all - 3).map(|n| format!("text {n}\0")).collect();
        assert!(ran.stdout == expected, "{all} posts, of which three came later");
        // It is read twice, but for what is held.
        let asked = fake.state().histories.len() as u64;
        let (pages, older) = (all.div_ceil(1_000), all.saturating_sub(16_000).div_ceil(1_000));
        assert!((pages + older..=pages + 2 * older + 1).contains(&asked), "{asked} questions for {all} posts");
        fake.state().offset = 0;
        let documents = run_at(&fake, &["history", "--all", "-ojson"]).await;
        assert_eq!(documents.stdout.lines().count(), 1, "one document is one document");
    }
}

#[tokio::test]
async fn history_shows_fifty_with_their_dates() {
    let fake = Fake::start();
    fake.state().posts = (1..=60).map(|n| post(n, &format!("text {n}"))).collect();
    let ran =
        run_at(&fake, &["history", "general", "--since", "2026-11-22", "--until", "14:00", "--from", ALICE]).await;
    assert_eq!((ran.exit, ran.stdout.lines().count()), (Exit::Ok, 50));
    assert_eq!(ran.stdout.lines().next(), Some("2026-11-22 12:00:11 [general] alice~k5x3: text 11"));
    let request = fake.state().histories[0].clone();
    assert_eq!((request.room.as_str(), request.authors), ("general", vec![ALICE.to_owned()]));
    // Midnight and two o'clock (yesterday's: today's has not come yet) one hour east of Greenwich.
    assert_eq!((request.since_us, request.until_us), (1_795_302_000_000_000, 1_795_266_000_000_000));
}

#[tokio::test]
async fn history_as_json_is_one_document() {
    let fake = Fake::start();
    fake.state().posts = vec![post(1, "a\u{9b}"), post(2, "b")];
    let ran = run_at(&fake, &["history", "-o", "json"]).await;
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["posts"][0]["text"], "a\u{9b}");
    assert_eq!(document["posts"][1]["author"], ALICE);
}

#[tokio::test]
async fn rooms_are_listed() {
    let ran = run_at(&Fake::start(), &["rooms"]).await;
    insta::assert_snapshot!(ran.stdout, @r"
    ROOM     POSTS  NEWEST
    general  3      2026-11-22 13:00:00
    ");
}

/// The texts of what was written, in order.
fn texts(stdout: &str) -> Vec<&str> {
    stdout.lines().filter_map(|line| line.rsplit_once(": ")).map(|(_, text)| text).collect()
}

#[tokio::test]
async fn history_goes_on_with_what_is_said_and_repeats_nothing() {
    let fake = Fake::start();
    fake.state().posts = (1..=3).map(|n| post(n, &format!("text {n}"))).collect();
    fake.state().offset = 9;
    fake.state().watches.push_back(vec![batch(10..=11)]);
    fake.state().watches.push_back(vec![batch(12..=12), Err(Error::new(Code::PermissionDenied, "enough").into())]);
    let args = ["history", "general", "-f", "--from", ALICE, "-n", "2", "--since", "2026-11-22"];
    let ran = run_at(&fake, &args).await;
    assert_eq!(texts(&ran.stdout), ["text 2", "text 3", "text 10", "text 11", "text 12"]);
    assert_eq!(ran.stdout.lines().last(), Some("2026-11-22 12:00:12 [general] alice~k5x3: text 12"));
    assert_eq!(ran.exit, Exit::Denied);
    assert_eq!(starts(&fake), [Start::After(9), Start::After(11)]);
    let request = fake.state().watched[0].clone();
    assert_eq!((request.rooms, request.authors), (vec!["general".to_owned()], vec![ALICE.to_owned()]));
}

#[tokio::test]
async fn history_that_goes_on_keeps_its_format_and_its_bound() {
    let fake = Fake::start();
    fake.state().posts = vec![post(1, "text 1")];
    let end = || Err(Error::new(Code::PermissionDenied, "enough").into());
    fake.state().watches.push_back(vec![batch(2..=3), end()]);
    // The second post is of one second before.
    let ran = run_at(&fake, &["history", "-f", "-0", "--since", "2026-11-22T11:00:03Z"]).await;
    assert_eq!(ran.stdout, "text 1\0text 3\0", "{}", ran.stderr);
    fake.state().watches.push_back(vec![batch(2..=3), end()]);
    let ran = run_at(&fake, &["history", "-f", "-ojson"]).await;
    let kinds: Vec<_> = ran.stdout.lines().map(|line| line.starts_with(r#"{"v":1,"type":"post","id""#)).collect();
    assert_eq!(kinds, [true; 3], "{}", ran.stdout);
    assert_eq!(starts(&fake), [Start::After(1), Start::After(1)], "a daemon that tells no offset");
}

#[tokio::test]
async fn d_15_history_warns_that_older_posts_are_gone_where_all_was_asked_for() {
    let fake = Fake::start();
    fake.state().posts = vec![post(1, "text 1")];
    fake.state().expired = 1_234;
    fake.state().expired_newest_us = 1_795_348_800_000_000 - 7_200_000_000;
    let warning = "p2pctl: warning: 1,234 older posts are no longer held (retention)\n";
    for all in [&["--all"][..], &["-n", "0"], &["--all", "-0"], &["--all", "--since", "2h"]] {
        assert_eq!(run_at(&fake, &[&["history"], all].concat()).await.stderr, warning, "{all:?}");
    }
    let room = run_at(&fake, &["history", "general", "--all"]).await;
    assert_eq!(room.stderr, "p2pctl: warning: 1,234 older posts of all rooms are no longer held (retention)\n");
    // The document has it.
    assert_eq!(run_at(&fake, &["history", "--all", "-ojson"]).await.stderr, "");
}

#[tokio::test]
async fn d_15_history_tells_a_person_where_the_first_posts_of_an_answer_may_be_gone() {
    let fake = Fake::start();
    fake.state().posts = vec![post(1, "text 1"), post(2, "text 2")];
    fake.state().expired = 1;
    fake.state().expired_newest_us = 1_795_348_800_000_000 - 7_200_000_000;
    let note = "p2pctl: 1 older post is no longer held (retention)\n";
    for (args, expected) in [
        (&[][..], note),
        (&["--since", "3h"], note),
        (&["--since", "1h"], ""),
        // There are older ones that are held.
        (&["-n", "1"], ""),
    ] {
        assert_eq!(run_at(&fake, &[&["history", "-v"], args].concat()).await.stderr, expected, "{args:?}");
        assert_eq!(run_at(&fake, &[&["history"], args].concat()).await.stderr, "", "{args:?}");
    }
}

#[tokio::test]
async fn d_15_a_history_that_goes_on_as_documents_begins_with_what_is_gone() {
    let fake = Fake::start();
    fake.state().posts = vec![post(1, "text 1")];
    fake.state().expired = 7;
    fake.state().watches.push_back(vec![Err(Error::new(Code::PermissionDenied, "enough").into())]);
    let ran = run_at(&fake, &["history", "-f", "-ojson"]).await;
    assert_eq!(ran.stdout.lines().next(), Some(r#"{"v":1,"type":"expired","posts":7,"newest":null}"#), "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 2);
}

fn found(numbers: &[u64], next: &str) -> SearchResponse {
    let posts = numbers.iter().map(|n| post(*n, &format!("text {n}"))).collect();
    SearchResponse { posts, next: next.to_owned(), searched_us: 1_795_345_200_000_000, blocked: 0 }
}

#[tokio::test]
async fn a_search_goes_on_over_empty_pages_until_it_has_enough() {
    let fake = Fake::start();
    fake.state().found.extend([found(&[8, 9], "a"), found(&[], "b"), found(&[5], "c"), found(&[1], "")]);
    let ran = run_at(&fake, &["search", "coffee", "Machine", "-r", "general", "-n", "3", "-v"]).await;
    assert_eq!((ran.exit, texts(&ran.stdout)), (Exit::Ok, vec!["text 5", "text 8", "text 9"]));
    assert_eq!(ran.stderr, "p2pctl: older ones were not looked at: ask for more with -n\n");
    assert_eq!(ran.stdout.lines().next(), Some("2026-11-22 12:00:05 [general] alice~k5x3: text 5"));
    let asked: Vec<_> = fake.state().searches.drain(..).map(|request| (request.page, request.limit)).collect();
    assert_eq!(asked, [(String::new(), 3), ("a".to_owned(), 1), ("b".to_owned(), 1)]);
    fake.state().found = [found(&[2], "d"), found(&[1], "")].into();
    let ran = run_at(&fake, &["search", "x", "-n", "0", "-0"]).await;
    assert_eq!(ran.stdout, "text 1\0text 2\0");
}

#[tokio::test]
async fn a_search_without_a_match_is_no_failure() {
    let fake = Fake::start();
    let ran = run_at(&fake, &["search", "nothing", "-v"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str(), ran.stderr.as_str()), (Exit::Ok, "", "p2pctl: no match\n"));
    let quiet = run_at(&fake, &["search", "nothing", "-ojson"]).await;
    assert_eq!(
        quiet.stdout,
        "{\"v\":1,\"type\":\"search\",\"posts\":[],\"searched\":null,\"complete\":true,\"blocked\":0}\n"
    );
    assert_eq!(quiet.stderr, "");
    let empty = run_at(&fake, &["search", " "]).await;
    assert_eq!(empty.exit, Exit::Usage);
    let circle = Fake::start();
    circle.state().found.extend([found(&[], "a"), found(&[], "a")]);
    assert_eq!(run_at(&circle, &["search", "x"]).await.exit, Exit::Ok, "a daemon that leads in a circle");
}

/// A command that writes what it gets, a line each, into a file.
fn noting(dir: &Path) -> String {
    format!(
        "cat >>{0}/json; printf '%s|%s|%s|%s\\n' \"$P2P_NAME\" \"$P2P_ROOM\" \"$P2P_ID\" \"$P2P_TEXT\" >>{0}/text",
        dir.display()
    )
}

#[tokio::test]
async fn a_command_runs_for_each_post_in_order_and_no_text_is_ever_a_part_of_it() {
    let hostile = [post(1, "$(touch owned) `touch owned`"), post(2, "'; touch owned; '"), post(3, "-n \"\\")];
    let fake = watched(vec![Ok(WatchResponse {
        offset: 3,
        item: Some(Item::Batch(PostBatch::from(hostile.to_vec()))),
        blocked: 0,
    })]);
    let dir = tempfile::tempdir().unwrap();
    let command = format!("cd {}; {}", dir.path().display(), noting(dir.path()));
    let ran = run_at(&fake, &["watch", "--count", "3", "--exec", &command]).await;
    assert_eq!((ran.exit, ran.stdout.as_str(), ran.stderr.as_str()), (Exit::Ok, "", ""));
    let text = std::fs::read_to_string(dir.path().join("text")).unwrap();
    let expected: String =
        (1..).zip(&hostile).map(|(n, post)| format!("alice~k5x3|general|{ALICE}-1863-{n}|{}\n", post.text)).collect();
    assert_eq!(text, expected);
    let json = std::fs::read_to_string(dir.path().join("json")).unwrap();
    let texts: Vec<String> = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(texts, hostile.map(|post| post.text));
    assert!(!dir.path().join("owned").exists());
}

#[tokio::test]
async fn a_command_that_fails_or_does_not_read_is_told_and_the_next_post_has_its_turn() {
    let fake = watched(vec![batch(1..=3)]);
    let ran = run_at(&fake, &["watch", "--count", "3", "--exec", "test \"$P2P_OFFSET\" != 2 || exit 7"]).await;
    assert_eq!(ran.exit, Exit::Ok);
    assert_eq!(ran.stderr, format!("p2pctl: warning: exec: exit status: 7 on {ALICE}-1863-2\n"));
}

#[tokio::test]
async fn posts_are_written_as_a_template_says() {
    let fake = watched(vec![batch(1..=2)]);
    let ran = run_at(&fake, &["watch", "--count", "2", "-ojson", "-F", "{offset} {name}: {text}"]).await;
    assert_eq!(ran.stdout, "1 alice~k5x3: text 1\n2 alice~k5x3: text 2\n");
    fake.state().posts = vec![post(1, "a\nb\x1b[2J")];
    assert_eq!(run_at(&fake, &["history", "-ojson", "-F", "{{{text}}}"]).await.stdout, "{a^Jb^[[2J}\n");
    let ran = run_at(&fake, &["watch", "-F", "{nick}"]).await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.stderr.contains("there are author, id, name, offset, re, room, short, text, time, to, utc"), "{ran:?}");
}

#[tokio::test]
async fn a_shell_is_told_peers_and_rooms_that_can_stand_in_a_command_line() {
    let fake = Fake::start();
    let peer = |id: &str, name: &str, petname: &str| Peer {
        id: id.to_owned(),
        name: name.to_owned(),
        petname: petname.to_owned(),
        ..Peer::default()
    };
    fake.state().peers =
        vec![peer(ALICE, "alice", "ali"), peer(BOB, "$(reboot)", ""), peer(OWN, "al pha", ""), peer("", "", "")];
    let complete = async |words: &[&str]| {
        let at = (words.len() - 1).to_string();
        let ran = run_at(&fake, &[&["complete", &at, "--", "p2pctl"], &words[1..]].concat()).await;
        (ran.exit, ran.stdout)
    };
    assert_eq!(complete(&["p2pctl", "ping", ""]).await, (Exit::Ok, "ali\n7qfdabcd\nmmmmabcd\n".to_owned()));
    assert_eq!(complete(&["p2pctl", "watch", "--from", "al"]).await, (Exit::Ok, "ali\n".to_owned()));
    assert_eq!(complete(&["p2pctl", "send", "-t", "a"]).await, (Exit::Ok, "ali\n".to_owned()));
    assert_eq!(complete(&["p2pctl", "send", "-r", ""]).await, (Exit::Ok, "general\n".to_owned()));
    assert_eq!(complete(&["p2pctl", "send", ""]).await, (Exit::Ok, String::new()));
}
