//! `send`.

use super::fake::{ALICE, BOB};
use super::*;
use p2p_proto::v1::Peer;

#[tokio::test]
async fn words_are_one_message_and_its_id_is_the_result() {
    let fake = Fake::start();
    let ran = run_at(&fake, &["send", "-r", "dev", "hello", "every  body", "--key", "K"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str(), ran.stderr.as_str()), (Exit::Ok, "mmmmabcd-1863-1\n", ""));
    let state = fake.state();
    let [sent] = &state.outgoing[..] else { panic!("{:?}", state.outgoing) };
    assert_eq!((sent.text.as_str(), sent.room.as_str(), sent.key.as_str()), ("hello every  body", "dev", "K"));
}

#[tokio::test]
async fn stdin_is_one_message_without_its_last_newline() {
    let fake = Fake::start();
    for (stdin, text) in
        [("one\ntwo\n\n", "one\ntwo\n"), ("x\r\n", "x"), ("no newline", "no newline"), (" \n x", " \n x")]
    {
        let ran = Setting::at(&fake).stdin(stdin).run(&["send"]).await;
        assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr);
        assert_eq!(fake.state().outgoing.last().unwrap().text, text);
    }
}

#[tokio::test]
async fn c_02_nothing_to_say_is_refused_with_an_example() {
    let fake = Fake::start();
    for args in [&["send", ""][..], &["send", "  ", "\t"], &["send", "--"], &["send"]] {
        let ran = Setting::at(&fake).stdin("\n").run(args).await;
        assert_eq!(ran.exit, Exit::Usage);
        assert_eq!(
            ran.stderr,
            "p2pctl: error: send: the message is empty (USAGE)\nhint: as in: p2pctl send hello everybody\n"
        );
    }
    let ran = run_at(&fake, &["send", "--", "-x"]).await;
    assert_eq!(ran.exit, Exit::Ok);
    assert_eq!(fake.state().outgoing[0].text, "-x");
    let ran = run_at(&fake, &["send", "-x"]).await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.stderr.contains("'-- -x'"), "{}", ran.stderr);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_anybody_is_asked() {
    let long = "x".repeat(20_000);
    let cases: [(&[&str], Vec<u8>, &str); 4] = [
        (&["send", &long], vec![], "send: text of 20000 bytes is over the limit of 16384 (TEXT_TOO_LONG)"),
        (&["send"], long.clone().into(), "send: text of 20000 bytes is over the limit of 16384 (TEXT_TOO_LONG)"),
        (&["send"], b"ab\xff".to_vec(), "send: byte 3 is not UTF-8 text (TEXT_INVALID)"),
        (&["send", "-r", "#x", "hi"], vec![], "room \"#x\": a name is 1 to 64 of"),
    ];
    for (args, stdin, message) in cases {
        let ran = Setting::nowhere().stdin(stdin).run(args).await;
        assert_eq!(ran.exit, Exit::Rejected);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn an_answer_names_its_author_by_prefix_or_whole() {
    let fake = Fake::start();
    fake.state().peers = vec![p2p_proto::v1::Peer { id: ALICE.to_owned(), ..Default::default() }];
    for id in ["k5x3abcd-1863-7", &format!("{ALICE}-1863-7")] {
        assert_eq!(run_at(&fake, &["send", "--re", id, "yes"]).await.exit, Exit::Ok);
        let re = fake.state().outgoing.pop().unwrap().re;
        assert_eq!(re, Some(PostId { author: ALICE.to_owned(), epoch: 1_863, seq: 7 }));
    }
    assert_eq!(run_at(&fake, &["send", "--re", &format!("{}-1-1", &BOB[..8]), "x"]).await.exit, Exit::NotFound);
    assert_eq!(run_at(&fake, &["send", "--re", "42", "x"]).await.exit, Exit::Usage);
}

#[tokio::test]
async fn g_07_a_key_for_other_content_is_a_conflict() {
    let fake = Fake::start();
    let first = run_at(&fake, &["send", "a", "--key", "K"]).await;
    let again = run_at(&fake, &["send", "a", "--key", "K", "-v"]).await;
    assert_eq!((again.exit, &again.stdout), (Exit::Ok, &first.stdout));
    assert_eq!(again.stderr, "p2pctl: this key was sent before: nothing was sent again\n");
    let other = run_at(&fake, &["send", "b", "--key", "K"]).await;
    assert_eq!(other.exit, Exit::Conflict);
    assert_eq!(other.stderr, "p2pctl: error: send: key \"K\" stands for another message (KEY_REUSED)\n");
}

#[tokio::test]
async fn the_daemon_s_refusal_keeps_its_code_and_hint() {
    let fake = Fake::start();
    let ran = run_at(&fake, &["send", "refuse"]).await;
    assert_eq!(ran.exit, Exit::Busy);
    assert_eq!(ran.stderr, "p2pctl: error: send: disk full in /data (0 bytes free) (STORE_FAILED)\nhint: make space\n");
    let ran = run_at(&fake, &["send", "refuse", "-ojson"]).await;
    assert_eq!(ran.stdout, "");
    insta::assert_snapshot!(ran.stderr, @r#"{"v":1,"type":"error","code":"STORE_FAILED","message":"send: disk full in /data (0 bytes free)","hint":"make space","retryable":true,"exit":11}"#);
}

#[tokio::test]
async fn lines_go_in_order_and_each_has_its_id() {
    let fake = Fake::start();
    let lines: String = (1..=5_000).map(|n| format!("line {n}\n")).collect();
    let ran = Setting::at(&fake).stdin(lines).run(&["send", "-l", "-r", "dev"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""));
    let ids: Vec<String> = (1..=5_000).map(|n| format!("mmmmabcd-1863-{n}")).collect();
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), ids);
    let state = fake.state();
    assert!(state.batches < 50, "{} requests are many for 5000 lines", state.batches);
    assert!(state.outgoing.iter().zip(1..).all(|(post, n)| post.text == format!("line {n}") && post.room == "dev"));
    assert!(state.outgoing.iter().all(|post| post.key.is_empty()));
}

#[tokio::test]
async fn texts_of_several_lines_are_parted_by_nul_and_stay_as_they_are() {
    let fake = Fake::start();
    let ran = Setting::at(&fake).stdin("a\nb\n\0\0 c\r\n\0привет 宽\u{202e}").run(&["send", "-0"]).await;
    assert_eq!(ran.exit, Exit::Ok);
    let texts: Vec<String> = fake.state().outgoing.iter().map(|post| post.text.clone()).collect();
    assert_eq!(texts, ["a\nb\n", " c\r\n", "привет 宽\u{202e}"]);
}

#[tokio::test]
async fn g_06_a_second_run_with_the_same_key_repeats_nothing() {
    let fake = Fake::start();
    let run = |stdin: &str| Setting::at(&fake).stdin(stdin).run(&["send", "-l", "--key", "K", "-v"]);
    let first = run("a\n\nb\n").await;
    let again = run("a\n\nb\nc\n").await;
    assert_eq!(again.stdout, format!("{}mmmmabcd-1863-3\n", first.stdout));
    assert_eq!(again.stderr, "p2pctl: 1 empty ones were left out\np2pctl: 2 were sent before and not sent again\n");
    let keys: Vec<String> = fake.state().outgoing.iter().map(|post| post.key.clone()).collect();
    assert_eq!(keys, ["K/1", "K/3", "K/4"]);
}

#[tokio::test]
async fn c_03_bad_lines_are_named_and_the_rest_is_sent() {
    let fake = Fake::start();
    let stdin = [b"good\r\n", &[b'x'; 20_000][..], b"\nrefuse\n\xff\xfe\nlast"].concat();
    let ran = Setting::at(&fake).stdin(stdin).run(&["send", "-l"]).await;
    assert_eq!(ran.exit, Exit::Rejected);
    assert_eq!(ran.stdout, "mmmmabcd-1863-1\nmmmmabcd-1863-2\n");
    let mut lines: Vec<&str> = ran.stderr.lines().filter(|line| !line.starts_with("hint: ")).collect();
    let sum = lines.pop();
    // What is wrong here is known before what the daemon refuses.
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "p2pctl: error: line 2: text of 20000 bytes is over the limit of 16384 (TEXT_TOO_LONG)",
            "p2pctl: error: line 3: disk full in /data (0 bytes free) (STORE_FAILED)",
            "p2pctl: error: line 4: byte 1 is not UTF-8 text (TEXT_INVALID)",
        ]
    );
    assert_eq!(sum, Some("p2pctl: error: send: 3 of 5 messages were not sent (TEXT_TOO_LONG)"));
    let texts: Vec<String> = fake.state().outgoing.iter().map(|post| post.text.clone()).collect();
    assert_eq!(texts, ["good", "last"]);
}

#[tokio::test]
async fn c_03_an_empty_stdin_sends_nothing() {
    let fake = Fake::start();
    let ran = run_at(&fake, &["send", "-l"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str(), ran.stderr.as_str()), (Exit::Ok, "", ""));
}

#[tokio::test]
async fn a_thousand_failures_are_ten_lines_and_a_sum() {
    let fake = Fake::start();
    let ran = Setting::at(&fake).stdin("refuse\n".repeat(1_000)).run(&["send", "-l", "-ojson"]).await;
    assert_eq!((ran.exit, ran.stderr.lines().count()), (Exit::Busy, 11));
    assert!(ran.stderr.contains("send: 1000 of 1000 messages were not sent"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_daemon_that_dies_in_between_leaves_no_doubt() {
    let fake = Fake::start();
    fake.state().send_breaks_after = Some(1);
    // Larger than one request may be, so that the second one meets the broken stream.
    let lines = format!("{}\n", "x".repeat(16_000)).repeat(40);
    let ran = Setting::at(&fake).stdin(lines).run(&["send", "-l"]).await;
    assert_eq!(ran.exit, Exit::Unreachable);
    let stored = ran.stdout.lines().count();
    assert!(stored > 0 && stored < 40);
    assert!(ran.stderr.contains(&format!("connection reset; {stored} were stored, of ")), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: send all of it again with the same --key: nothing is repeated"));
}

#[tokio::test]
async fn a_daemon_that_takes_and_never_answers_is_left() {
    let fake = Fake::start();
    fake.state().swallows = true;
    let ran = Setting::at(&fake).stdin("a\nb\n").run(&["send", "-l", "--timeout", "500ms"]).await;
    assert_eq!(ran.exit, Exit::Timeout);
    assert!(
        ran.stderr.contains("send: no answer in 500ms; 0 were stored, of 2 it is not known (TIMEOUT)"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn ids_go_to_programs_and_a_person_gets_the_sum() {
    let ran = async |stdin, stdout, args: &[&str]| {
        let fake = Fake::start();
        let terminals = Terminals { stdin, stdout, stderr: true };
        let setting = Setting { terminals, ..Setting::at(&fake) }.stdin("one\ntwo\n");
        setting.run(&[&["send", "-l"], args].concat()).await
    };
    for (stdin, stdout, args, ids) in [
        (false, false, &[][..], 2),
        (false, true, &[], 0),
        (true, true, &[], 2),
        (false, true, &["-q"], 2),
        (false, true, &["-o", "json"], 2),
    ] {
        let ran = ran(stdin, stdout, args).await;
        assert_eq!((ran.exit, ran.stdout.lines().count()), (Exit::Ok, ids), "{stdin} {stdout} {args:?}");
        assert_eq!(ran.stderr == "p2pctl: 2 messages are stored\n", ids == 0, "{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_direct_message_is_for_a_peer_and_for_no_room() {
    let fake = Fake::start();
    let peer = |id: &str, name: &str| Peer { id: id.to_owned(), name: name.to_owned(), ..Peer::default() };
    fake.state().peers = vec![peer(ALICE, "alice"), peer(BOB, "bob")];
    assert_eq!(run_at(&fake, &["send", "-t", "alice", "just", "you"]).await.exit, Exit::Ok);
    assert_eq!(Setting::at(&fake).stdin("a\nb\n").run(&["send", "-l", "-t", "bob"]).await.exit, Exit::Ok);
    let sent: Vec<(String, String, String)> =
        fake.state().outgoing.iter().map(|post| (post.to.clone(), post.room.clone(), post.text.clone())).collect();
    let expected = [(ALICE, "just you"), (BOB, "a"), (BOB, "b")];
    assert_eq!(sent, expected.map(|(to, text)| (to.to_owned(), String::new(), text.to_owned())));
    let ran = run_at(&fake, &["send", "-t", "nobody", "x"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::NotFound, ""));
    assert_eq!(run_at(&fake, &["send", "-t", "alice", "-r", "dev", "x"]).await.exit, Exit::Usage);
    assert_eq!(fake.state().outgoing.len(), 3);
}

#[tokio::test]
async fn a_conversation_is_asked_for_by_its_other_end() {
    let fake = Fake::start();
    fake.state().peers = vec![Peer { id: ALICE.to_owned(), name: "alice".to_owned(), ..Peer::default() }];
    assert_eq!(run_at(&fake, &["history", "-t", "alice"]).await.exit, Exit::Ok);
    assert_eq!(fake.state().histories[0].with, ALICE);
    assert_eq!(run_at(&fake, &["watch", "-t", "alice", "--for", "1ms"]).await.exit, Exit::Ok);
    assert_eq!(fake.state().watched[0].with, ALICE);
    for words in [&["watch", "general", "-t", "alice"][..], &["history", "general", "-t", "alice"]] {
        assert_eq!(run_at(&fake, words).await.exit, Exit::Usage, "{words:?}");
    }
}
