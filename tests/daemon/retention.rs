//! Old posts are dropped, and whoever reads is told how many; and words are found in what is left.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use p2p_mesh::envelope::Envelope;
use p2p_proto::v1;
use p2p_proto::v1::watch_response::Item;
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::member::Member;
use p2p_tests::program::{PATIENCE, eventually};
use p2pd::network;

fn start(network: &Network, name: &str, key: &str, value: &str, dials: &[&TestPeer]) -> TestPeer {
    let dials = dials.iter().map(|peer| peer.addr()).collect();
    let env = vec![(key.into(), value.into())];
    network.start_with(Options { name: name.into(), dials, env, ..Options::default() })
}

/// A megabyte is the smallest limit.
fn start_small(network: &Network, name: &str, dials: &[&TestPeer]) -> TestPeer {
    start(network, name, "P2P_RETENTION_BYTES", "1MB", dials)
}

/// Says this many long things, each with its number in front.
#[track_caller]
fn say(peer: &TestPeer, numbers: std::ops::RangeInclusive<u64>) {
    let texts: Vec<String> = numbers.map(|number| format!("{number} {}", "x".repeat(LONG))).collect();
    drop(peer.p2pctl_with(&["send", "-0"], texts.join("\0").as_bytes()).ok());
}

#[track_caller]
fn wait_until_small(peer: &TestPeer) {
    eventually(PATIENCE, "the oldest are dropped", || {
        let status = peer.status();
        status.expired_posts > 0 && status.bytes <= 1_000_000
    });
}

/// What a reader gets from `start` until it is caught up: gaps and posts.
#[track_caller]
fn read(peer: &TestPeer, start: v1::watch_request::Start) -> (Vec<v1::Gap>, Vec<v1::Post>) {
    peer.ask(async |client| {
        let request = v1::WatchRequest { start: Some(start), ..v1::WatchRequest::default() };
        let mut stream = client.chat().watch(request).await.expect("a stream").into_inner();
        let (mut gaps, mut posts) = (Vec::new(), Vec::new());
        loop {
            match stream.message().await.expect("a stream without an error").and_then(|response| response.item) {
                Some(Item::Batch(batch)) => posts.extend(batch.posts),
                Some(Item::Gap(gap)) => gaps.push(gap),
                Some(Item::CaughtUp(_)) => return (gaps, posts),
                Some(Item::Heartbeat(_)) => (),
                None => panic!("the stream ended before it had caught up"),
            }
        }
    })
}

fn numbers(posts: &[v1::Post]) -> Vec<u64> {
    posts
        .iter()
        .map(|post| post.text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number"))
        .collect()
}

fn told(gaps: &[v1::Gap]) -> u64 {
    gaps.iter().map(|gap| gap.posts).sum()
}

fn history(peer: &TestPeer) -> v1::HistoryResponse {
    let request = v1::HistoryRequest { limit: 10_000, ..v1::HistoryRequest::default() };
    peer.ask(async |client| client.chat().history(request).await.expect("a history").into_inner())
}

#[test]
fn d_15_beyond_the_limit_the_oldest_go_and_readers_are_told_how_many() {
    let network = Network::new();
    let mut one = start_small(&network, "one", &[]);
    say(&one, 1..=150);
    wait_until_small(&one);
    for is_restarted in [false, true] {
        let (gaps, posts) = read(&one, v1::watch_request::Start::After(0));
        let held = numbers(&posts);
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert_eq!((gaps[0].from, gaps[0].posts), (1, 150 - held.len() as u64));
        assert_eq!(
            held,
            (gaps[0].posts + 1..=150).collect::<Vec<_>>(),
            "the newest are there, restarted: {is_restarted}"
        );
        let answer = history(&one);
        assert_eq!((numbers(&answer.posts), answer.expired, answer.offset), (held.clone(), gaps[0].posts, 150));
        let status = one.status();
        assert_eq!((status.expired_posts, status.posts), (gaps[0].posts, held.len() as u64));
        // Who stopped reading in the middle of the gap is told of the rest of it.
        let (gaps, _) = read(&one, v1::watch_request::Start::After(10));
        assert_eq!((gaps[0].from, gaps[0].posts), (11, status.expired_posts - 10));
        let all = one.p2pctl(&["watch", "--all", "--until-caught-up", "-q"]);
        assert_eq!(all.code, Some(0), "{}", all.stderr);
        if !is_restarted {
            one.restart();
        }
    }
    assert_eq!(one.p2pctl(&["send", "the feed goes on"]).code, Some(0));
}

#[test]
fn d_15_a_reader_that_stands_still_is_told_what_was_dropped_before_it_came_there() {
    let network = Network::new();
    let one = start_small(&network, "one", &[]);
    let seen: BTreeMap<&str, u64> = one.ask(async |client| {
        let request =
            v1::WatchRequest { start: Some(v1::watch_request::Start::Live(true)), ..v1::WatchRequest::default() };
        let mut stream = client.chat().watch(request).await.expect("a stream").into_inner();
        // Far more than is on its way to a reader that does not read.
        say(&one, 1..=400);
        let mut seen = BTreeMap::from([("shown", 0), ("gone", 0)]);
        while seen.values().sum::<u64>() < 400 {
            match stream.message().await.expect("a stream without an error").and_then(|response| response.item) {
                Some(Item::Batch(batch)) => *seen.entry("shown").or_default() += batch.posts.len() as u64,
                Some(Item::Gap(gap)) => *seen.entry("gone").or_default() += gap.posts,
                Some(Item::CaughtUp(_) | Item::Heartbeat(_)) => (),
                None => panic!("the stream ended"),
            }
        }
        seen
    });
    assert_eq!(seen.values().sum::<u64>(), 400, "each was shown or told as gone: {seen:?}");
    assert!(seen["gone"] > 0, "nothing was gone, so nothing was shown: {seen:?}");
}

#[track_caller]
fn wait_until_equal(peers: &[&TestPeer]) {
    eventually(PATIENCE, "all agree, and nobody misses anything", || {
        let states: Vec<_> = peers.iter().map(|peer| peer.status()).collect();
        states.iter().all(|state| state.digest == states[0].digest && state.missing_posts == 0)
    });
}

/// Nobody asks for what nobody has: while others talk and answer, not one more question goes out.
#[track_caller]
fn check_quiet(peers: &[&TestPeer]) {
    let asked = || {
        peers
            .iter()
            .map(|peer| peer.status().counters.get("sync_rounds_total").copied().unwrap_or(0))
            .collect::<Vec<u64>>()
    };
    let before = asked();
    for peer in peers {
        for other in peers.iter().filter(|other| other.id() != peer.id()) {
            // Pings carry the digests that would make them ask.
            drop(peer.p2pctl(&["ping", other.id(), "-n", "3", "--interval", "10ms"]).ok());
        }
    }
    assert_eq!(asked(), before, "somebody asks again for what is gone");
}

#[test]
fn a_newcomer_gets_what_is_there_and_asks_for_no_more() {
    let network = Network::new();
    let one = start_small(&network, "one", &[]);
    say(&one, 1..=150);
    wait_until_small(&one);
    let two = network.start("two", &[&one]);
    eventually(PATIENCE, "the newcomer has all that is there", || two.status().posts == one.status().posts);
    wait_until_equal(&[&one, &two]);
    check_quiet(&[&one, &two]);
    assert_eq!(numbers(&two.posts()), numbers(&history(&one).posts));
    say(&one, 151..=155);
    eventually(PATIENCE, "the feed goes on", || numbers(&two.posts()).last() == Some(&155));
    assert_eq!(two.status().expired_posts, 0, "what it never held it did not drop");
}

#[test]
fn a_peer_with_a_small_limit_keeps_the_newest_and_does_not_fetch_the_rest_again() {
    let network = Network::new();
    let one = network.start("one", &[]);
    say(&one, 1..=300);
    let mut two = start_small(&network, "two", &[&one]);
    for _ in 0..2 {
        eventually(PATIENCE, "the newest is there", || {
            history(&two).posts.last().is_some_and(|post| post.text.starts_with("300 "))
        });
        wait_until_small(&two);
        wait_until_equal(&[&one, &two]);
        check_quiet(&[&one, &two]);
        let held = numbers(&history(&two).posts);
        assert_eq!(held, (301 - held.len() as u64..=300).collect::<Vec<_>>());
        assert!(two.status().bytes <= 1_000_000);
        two.restart();
    }
    assert_eq!(one.status().posts, 300, "others keep what they keep");
    // A third peer that asks both gets all of it.
    let three = network.start("three", &[&two, &one]);
    eventually(PATIENCE, "everything is there", || three.status().posts == 300);
}

#[test]
fn the_files_of_a_history_at_its_limit_do_not_grow() {
    let network = Network::new();
    let one = start_small(&network, "one", &[]);
    let size = || {
        let files = ["history.db", "history.db-wal"].map(|name| one.data_dir().join(name));
        files.iter().map(|file| file.metadata().map_or(0, |metadata| metadata.size())).sum::<u64>()
    };
    let mut largest = 0;
    for round in 0..10 {
        say(&one, round * 100 + 1..=round * 100 + 100);
        largest = largest.max(size());
    }
    wait_until_small(&one);
    assert!(largest < 12_000_000, "16 MB were said, and the files had {largest} bytes");
}

#[test]
fn what_is_older_than_the_age_is_dropped_at_the_next_look() {
    let net = Network::new();
    let mut one = net.start("one", &[]);
    let key = network::load(&net.dir().join("network.key")).unwrap().remove(0);
    let mut member = Member::join(&one.addr(), &key);
    let mut said: Vec<Envelope> = Vec::new();
    for text in ["1 a", "2 b", "3 c"] {
        said.push(member.write(text, said.last()));
    }
    member.send_envelopes(said);
    eventually(PATIENCE, "they are there", || one.status().posts == 3);
    drop(one.p2pctl(&["send", "4 now"]).ok());
    drop(one.p2pctl(&["send", "5 now"]).ok());
    drop(member);
    one.stop();
    // What the member said was said in 2025.
    let one = start(&net, "one", "P2P_RETENTION_AGE", "1h", &[]);
    eventually(PATIENCE, "the old ones are dropped", || one.status().expired_posts == 2);
    let (gaps, posts) = read(&one, v1::watch_request::Start::After(0));
    assert_eq!((told(&gaps), numbers(&posts)), (2, vec![3, 4, 5]), "the newest of each author stays");
}

#[test]
fn words_are_found_among_thousands_of_posts() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let texts: Vec<String> = (1..=5_000).map(|number| format!("{number} is a Number\n")).collect();
    drop(one.p2pctl_with(&["send", "-l"], texts.concat().as_bytes()).ok());
    drop(one.p2pctl(&["send", "-r", "tea", "777 cups"]).ok());
    let search = |query: &str, room: &str| {
        let request = v1::SearchRequest { query: query.into(), room: room.into(), ..v1::SearchRequest::default() };
        one.ask(async |client| client.chat().search(request).await.expect("an answer").into_inner())
    };
    let answer = search("777", "");
    assert_eq!(numbers(&answer.posts), [777, 1_777, 2_777, 3_777, 4_777, 777], "by clock");
    assert_eq!(answer.next, "");
    assert_eq!(numbers(&search("NUMBER 3777", "").posts), [3_777]);
    assert_eq!(numbers(&search("777", "tea").posts), [777]);
    let answer = search("a", "general");
    assert_eq!((answer.posts.len(), numbers(&answer.posts)[49]), (50, 5_000), "the newest fifty");
    assert!(!answer.next.is_empty());
}

/// Bytes of a long text, without its number.
const LONG: usize = 16_000;
