//! Files that are not what was written: cut, overwritten, with bits that flipped.

use std::fs;
use std::path::{Path, PathBuf};

use p2p_proto::v1;
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::ledger::{Ledger, history};
use p2p_tests::program::{PATIENCE, eventually};
use p2p_tests::sim::dice::Dice;

use super::{p2pd, seed};

/// A folder with an identity and some files of a history, as an accident left them.
fn lay(network: &Network, name: &str, from: &Path, files: &[(&str, &[u8])]) -> PathBuf {
    let dir = super::data_dir(network, name);
    fs::set_permissions(&dir, fs::metadata(from).unwrap().permissions()).unwrap();
    fs::copy(from.join("identity.key"), dir.join("identity.key")).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
    dir
}

/// A peer whose people said something; two holds it all.
#[track_caller]
fn with_history(network: &Network, two: &TestPeer, seed: u64) -> (TestPeer, Ledger) {
    let one = network.start("one", &[two]);
    two.wait_for_peers(1);
    let mut ledger = Ledger::new(&one, seed);
    let people = ledger.start(&one, 4);
    people.wait_for_answers(150);
    people.stop();
    ledger.finish(people);
    eventually(PATIENCE, "both hold the same", || one.status().digest == two.status().digest);
    (one, ledger)
}

/// What a reader is shown from the beginning on.
#[derive(Default)]
struct Reading {
    posts: Vec<v1::Post>,
    gaps: Vec<v1::Gap>,
    /// What came instead of the end.
    trouble: Option<String>,
}

#[track_caller]
fn read(peer: &TestPeer) -> Reading {
    peer.ask(async |client| {
        let start = Some(v1::watch_request::Start::After(0));
        let request = v1::WatchRequest { start, ..v1::WatchRequest::default() };
        let mut reading = Reading::default();
        let mut stream = match client.chat().watch(request).await {
            Ok(stream) => stream.into_inner(),
            Err(error) => return Reading { trouble: Some(error.message().to_owned()), ..reading },
        };
        loop {
            match stream.message().await.map(|response| response.and_then(|response| response.item)) {
                Ok(Some(v1::watch_response::Item::Batch(batch))) => reading.posts.extend(batch.posts),
                Ok(Some(v1::watch_response::Item::Gap(gap))) => reading.gaps.push(gap),
                Ok(Some(v1::watch_response::Item::CaughtUp(_))) => return reading,
                Ok(Some(v1::watch_response::Item::Heartbeat(_))) => (),
                Ok(None) => return Reading { trouble: Some("the stream ended".into()), ..reading },
                Err(error) => return Reading { trouble: Some(error.message().to_owned()), ..reading },
            }
        }
    })
}

#[test]
fn d_03_a_log_that_is_cut_or_overwritten_keeps_a_beginning_and_gets_the_rest_from_peers() {
    let mut dice = Dice::new(seed());
    let network = Network::new();
    let two = network.start("two", &[]);
    let (mut one, ledger) = with_history(&network, &two, 3);
    one.kill_9();
    let whole = history("one", &two.posts());
    let file = |name: &str| fs::read(one.data_dir().join(name)).unwrap();
    let (main, log) = (file("history.db"), file("history.db-wal"));
    let mut lengths = std::collections::BTreeSet::new();
    for round in 0..20 {
        let place = dice.below(log.len());
        let tail = match round % 4 {
            0 => Vec::new(),
            1 => vec![0; log.len() - place],
            2 => vec![0xa5; log.len() - place + 4_096],
            _ => log[place..].iter().rev().copied().collect(),
        };
        let torn = [&log[..place], &tail].concat();
        let name = format!("torn{round}");
        drop(lay(&network, &name, &one.data_dir(), &[("history.db", &main), ("history.db-wal", &torn)]));
        let mut torn = network.start(&name, &[]);
        let found = history(&name, &torn.posts());
        let same = found.posts.iter().zip(&whole.posts).all(|(found, whole)| found.id == whole.id);
        assert!(same && found.posts.len() <= whole.posts.len(), "no beginning of what was there, cut at {place}");
        lengths.insert(found.posts.len());
        drop(torn.p2pctl(&["peers", "add", &two.addr()]).ok());
        eventually(PATIENCE, "it is whole again", || torn.status().digest == two.status().digest);
        ledger.check(&[&torn]);
        assert_eq!(torn.stop().code(), Some(0));
    }
    assert!(lengths.len() > 4, "always the same came of it: {lengths:?}");
}

#[test]
fn d_03_a_file_with_flipped_bits_or_without_its_end_never_shows_anything_false() {
    let mut dice = Dice::new(seed());
    let network = Network::new();
    let two = network.start("two", &[]);
    let (mut one, ledger) = with_history(&network, &two, 3);
    assert_eq!(one.stop().code(), Some(0));
    let main = fs::read(one.data_dir().join("history.db")).unwrap();
    let (mut refused, mut reported, mut whole) = (0, 0, 0);
    for round in 0..40 {
        let mut damaged = main.clone();
        match round % 4 {
            0 => damaged.truncate(dice.below(main.len())),
            1 => damaged[dice.below(main.len())..].fill(0),
            _ => (0..dice.between(1, 40)).for_each(|_| damaged[dice.below(main.len())] ^= 1 << dice.below(8)),
        }
        let name = format!("flipped{round}");
        let dir = lay(&network, &name, &one.data_dir(), &[("history.db", &damaged)]);
        let Some(peer) = try_start(&network, &name, &dir) else {
            refused += 1;
            continue;
        };
        let Reading { posts, gaps, trouble } = read(&peer);
        ledger.check_posts(&posts);
        if trouble.is_none() && gaps.is_empty() {
            whole += 1;
        } else {
            let trouble = trouble.unwrap_or_else(|| "damaged".into());
            assert!(trouble.contains("damaged") || trouble.contains("cannot be used"), "{trouble}");
            assert_eq!(peer.status().health(), v1::Health::Degraded, "{trouble}");
            reported += 1;
        }
        assert!(!peer.log().contains("panicked"), "{}", peer.log());
    }
    eprintln!("{refused} starts refused, {reported} readers told of damage, {whole} read to the end");
    assert!(refused > 0 && reported > 0, "{refused} {reported} {whole}");
}

/// A peer on a file that may be too damaged; then the daemon says so, in words that name it, and ends with 74.
#[track_caller]
fn try_start(network: &Network, name: &str, dir: &Path) -> Option<TestPeer> {
    let mut peer = network.launch(Options { name: name.into(), ..Options::default() });
    if peer.becomes_ready() {
        return Some(peer);
    }
    let code = peer.wait_exit().code();
    assert!(peer.log().contains(dir.to_str().unwrap()), "{}", peer.log());
    // A bit of the identity in it makes it somebody else's.
    let is_others = code == Some(78) && peer.log().contains("belongs to the identity");
    if !is_others {
        assert_eq!(code, Some(74), "{}", peer.log());
        assert!(peer.log().contains("hint: move its history.db* away"), "{}", peer.log());
    }
    // What was refused is refused again, and not repaired into something false.
    assert_eq!(p2pd(network, dir).code, code);
    None
}

#[test]
fn d_03_a_damaged_post_is_told_of_and_hides_nothing_else() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    for text in ["first", "the one that is hit", "third"] {
        drop(one.p2pctl(&["send", text]).ok());
    }
    assert_eq!(one.stop().code(), Some(0));
    let path = one.data_dir().join("history.db");
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"the one that is hit")).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| bytes[*at] ^= 1);
    fs::write(&path, bytes).unwrap();
    one.restart();
    assert_eq!(one.status().health(), v1::Health::Ready, "nobody read it yet");
    let reading = read(&one);
    let texts: Vec<&str> = reading.posts.iter().map(|post| post.text.as_str()).collect();
    assert_eq!((texts, reading.trouble), (vec!["first", "third"], None));
    assert_eq!(reading.gaps, [v1::Gap { from: 2, to: 2, posts: 1 }]);
    let status = one.status();
    assert_eq!(status.health(), v1::Health::Degraded);
    assert!(status.problems.iter().any(|problem| problem.contains("offset 2 is damaged")), "{:?}", status.problems);
    assert!(one.log().contains("store_damaged"), "{}", one.log());
    drop(one.p2pctl(&["send", "it goes on"]).ok());
    let watched = one.p2pctl(&["watch", "--all", "--until-caught-up"]);
    assert!(watched.stderr.contains("1 post at offsets 2 to 2"), "the reader is told: {}", watched.stderr);
    drop(watched.ok());
}
