//! How far a post got: `send -w`, `receipts`, `wait --delivered`, and what the status says where it got nowhere.

use p2p_tests::daemon::{Network, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};

use super::{document, normal};

/// Nothing but the post's id.
#[track_caller]
fn id_of<'a>(one: &TestPeer, stdout: &'a str) -> &'a str {
    assert_eq!(normal(&[one], stdout), "SHORT-#-#\n");
    stdout.trim_end()
}

/// How the third peer is called.
fn name_of(peer: &TestPeer) -> String {
    format!("three~{}", &peer.id()[..4])
}

#[test]
fn whoever_was_killed_is_named_and_gets_it_without_another_send() {
    let network = Network::new();
    let [one, two, mut three] = network.start_three();
    three.kill_9();
    eventually(PATIENCE, "the link is gone", || one.status().peers_up == 1);
    // Once the other one holds it, one name is missing, and no more.
    drop(one.p2pctl(&["send", "--key", "k", "-w", "online", "--wait-timeout", "25s", "to all"]).ok());
    let again = ["send", "--key", "k", "-w", "everyone", "--wait-timeout", "300ms", "to all"];
    let partial = one.p2pctl(&again);
    assert_eq!(partial.code, Some(8), "{partial:?}");
    let id = id_of(&one, &partial.stdout);
    let error = normal(&[&one, &two, &three], &partial.stderr).replace("#ms", "#s");
    let expected = "p#pctl: error: send: stored here, and not yet held by three~KEY (away for #s) (PARTIAL)\n\
                    hint: it is delivered when they link; ask with: p#pctl receipts SHORT-#-#\n";
    assert_eq!(error, expected);
    assert!(partial.stderr.trim_end().ends_with(id), "the hint is the command to run: {}", partial.stderr);

    let receipt = document(&one.p2pctl(&["receipts", id, "-o", "json"]).ok(), "receipt");
    assert_eq!((&receipt["held_by"], &receipt["known"]), (&1.into(), &2.into()), "{receipt}");
    let late = one.p2pctl(&["wait", "--delivered", id, "--timeout", "200ms"]);
    assert_eq!((late.code, late.stdout.as_str()), (Some(7), ""), "{late:?}");
    assert!(late.stderr.contains(&name_of(&three)) && !late.stderr.contains("two~"), "{}", late.stderr);

    let waiting = one.p2pctl_start(&["wait", "--delivered", id, "--timeout", "25s"], Vec::new());
    three.restart();
    drop(waiting.wait(PATIENCE).ok());
    let receipts = one.p2pctl(&["receipts", id]).ok();
    let expected = "held by # of #\nNAME        STATE  SINCE\nthree~KEY  holds  -\ntwo~KEY    holds  -\n";
    assert_eq!(normal(&[&one, &two, &three], &receipts), expected);
    assert!(receipts.starts_with("held by 2 of 2\n"), "{receipts}");
    let texts: Vec<_> = three.posts().into_iter().map(|post| post.text).collect();
    assert_eq!(texts, ["to all"], "it was said once");
}

#[test]
fn a_send_waits_for_as_many_as_are_asked_for_and_says_when_there_are_not_so_many() {
    let network = Network::new();
    let [one, _two, mut three] = network.start_three();
    let send =
        |wanted: &str, patience: &str| one.p2pctl(&["send", "-v", "-w", wanted, "--wait-timeout", patience, "x"]);
    for wanted in ["stored", "sent", "1", "2", "online", "everyone"] {
        let output = send(wanted, "25s");
        let said = output.stderr.clone();
        id_of(&one, &output.ok());
        match wanted {
            "stored" => assert_eq!(said, ""),
            "2" | "online" | "everyone" => assert!(said.starts_with("p2pctl: delivered to 2 of 2 ("), "{said}"),
            _ => assert!(said.starts_with("p2pctl: delivered to "), "{said}"),
        }
    }
    let many = send("5", "300ms");
    id_of(&one, &many.stdout);
    assert_eq!(many.code, Some(8));
    assert!(many.stderr.contains("stored here, and only 2 other peers are known"), "{}", many.stderr);

    three.kill_9();
    eventually(PATIENCE, "the link is gone", || one.status().peers_up == 1);
    for wanted in ["sent", "1", "online"] {
        id_of(&one, &send(wanted, "25s").ok());
    }
    let partial = send("2", "1s");
    id_of(&one, &partial.stdout);
    assert_eq!(partial.code, Some(8));
    assert!(partial.stderr.contains(&name_of(&three)), "{}", partial.stderr);
}

#[test]
fn own_posts_that_nobody_else_holds_stand_in_the_status_until_somebody_comes() {
    let network = Network::new();
    let one = network.start("one", &[]);
    drop(one.p2pctl_with(&["send", "-l"], b"into\nthe\ndark\n").ok());
    let status = |peer: &TestPeer| document(&peer.p2pctl(&["status", "-o", "json"]).ok(), "status");
    assert_eq!(status(&one)["unacked_own_posts"], 3);
    let line = |text: &str| text.lines().find(|line| line.starts_with("unacknowledged")).map(str::to_owned);
    let told = line(&one.p2pctl(&["status"]).ok()).unwrap();
    assert_eq!(
        told.split_whitespace().collect::<Vec<_>>().join(" "),
        "unacknowledged 3 own posts, held by nobody else"
    );

    let two = network.start("two", &[&one]);
    eventually(PATIENCE, "somebody holds them", || status(&one)["unacked_own_posts"] == 0);
    assert_eq!(line(&one.p2pctl(&["status"]).ok()), None);
    assert_eq!((&status(&two)["unacked_own_posts"], &status(&two)["posts"]), (&0.into(), &3.into()));
}
