use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use p2p_mesh::effect::Append;
use p2p_mesh::id::Offset;
use p2p_mesh::input::{Input, Ticket};

use super::kit::*;
use super::recount::adds_up;
use crate::store::{Job, Limits, file};

/// The files as a machine would find them whose process is gone now.
fn copy(from: &Path, to: &Path) {
    for name in ["history.db", "history.db-wal"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[test]
fn d_01_what_was_answered_is_there_whenever_the_process_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    for seq in 1..=20 {
        store.append(&[author.chat(seq, "x")]);
        let found = tempfile::tempdir().unwrap();
        copy(dir.path(), found.path());
        let found = Store::open(found.path());
        assert_eq!(found.opened.next_offset, Offset(seq + 1));
        assert_eq!(found.log(0, 100, usize::MAX).unwrap().entries.len() as u64, seq);
        found.close();
    }
    store.close();
}

#[test]
fn d_15_wherever_the_process_ends_while_it_drops_everything_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    store.append(&(1..=601).map(|ms| author.chat(ms, "x")).collect::<Vec<_>>());
    for ms in [200, 400, 600] {
        let (posts, _) = store.retain(Limits { before_ms: Some(ms), bytes_max: None });
        assert!(posts > 0);
    }
    let whole = tempfile::tempdir().unwrap();
    copy(dir.path(), whole.path());
    store.close();
    let log = std::fs::read(whole.path().join("history.db-wal")).unwrap();
    let mut found = std::collections::BTreeSet::new();
    for cut in (0..24).map(|part| log.len() * part / 23) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(file::path(whole.path()), file::path(dir.path())).unwrap();
        std::fs::write(dir.path().join("history.db-wal"), &log[..cut]).unwrap();
        let store = Store::open(dir.path());
        let (gaps, entries) = store.walk(0, 100);
        let lost: u64 = gaps.iter().filter_map(|gap| gap.posts).sum();
        assert_eq!(store.ask(|reply| Job::Summary { reply }).expired_posts, lost);
        assert!([0, 601].contains(&(lost + entries.len() as u64)), "{lost} lost and {} there", entries.len());
        found.insert(lost);
        store.close();
        adds_up(dir.path());
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [0, 199, 399, 599], "every step was seen");
}

#[test]
fn d_03_a_log_that_is_cut_or_overwritten_anywhere_gives_whole_appends_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let said: Vec<_> = (1..=30).map(|ms| author.chat(ms, "x")).collect();
    said.chunks(3).for_each(|three| store.append(three));
    let whole = tempfile::tempdir().unwrap();
    copy(dir.path(), whole.path());
    store.close();

    let log = std::fs::read(whole.path().join("history.db-wal")).unwrap();
    let base = tempfile::tempdir().unwrap();
    Store::open(base.path()).close();
    let mut lengths = std::collections::BTreeSet::new();
    for cut in (0..20).map(|part| log.len() * part / 19) {
        for tail in [Vec::new(), vec![0; 5000], vec![0xa5; 5000]] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::copy(file::path(whole.path()), file::path(dir.path())).unwrap();
            std::fs::write(dir.path().join("history.db-wal"), [&log[..cut], &tail[..]].concat()).unwrap();
            let len = posts_found(dir.path(), &said);
            lengths.insert(len);
        }
    }
    assert!(lengths.len() > 5, "{lengths:?}");
    assert_eq!(lengths.last(), Some(&30));
}

/// Opens what is left and says how many posts it holds: always a start of `said`, and a store that can be used.
fn posts_found(dir: &Path, said: &[p2p_mesh::envelope::VerifiedEnvelope]) -> usize {
    // Where the log is cut before the tables were made, an empty store begins anew.
    let mut store = Store::open(dir);
    let entries = store.log(0, 100, usize::MAX).unwrap().entries;
    let len = entries.len();
    assert!(len.is_multiple_of(3), "{len} posts of appends of three");
    assert!(entries.iter().map(|entry| &entry.envelope).eq(&said[..len]));
    assert_eq!(store.opened.feeds.first().map_or(0, |feed| feed.runs.count()), len as u64);
    if let Some(next) = said.get(len) {
        store.append(std::slice::from_ref(next));
    }
    store.close();
    len
}

#[test]
fn d_01_a_killed_process_leaves_every_answered_append() {
    let dir = tempfile::tempdir().unwrap();
    let mut answered = 0;
    for lines in [1, 7, 60] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .arg("store::tests::crash::appends_until_it_is_killed")
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while let Some(Ok(line)) = output.next() {
            let Some(offset) = line.strip_prefix("answered ") else { continue };
            answered = offset.parse().unwrap();
            seen += 1;
            if seen == lines {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= lines, "the child ended by itself");
        let store = Store::open(dir.path());
        assert!(store.opened.next_offset > Offset(answered), "{:?} {answered}", store.opened.next_offset);
        let entries = store.log(0, usize::MAX, usize::MAX).unwrap().entries;
        assert_eq!(entries.len() as u64 + 1, store.opened.next_offset.0);
        store.close();
    }
}

/// Not a test of its own: the process that the test above kills.
#[test]
#[ignore = "appends for ever, until it is killed"]
fn appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let mut store = Store::open(Path::new(&dir));
    let mut author = Author::new(2, store.opened.next_offset.0);
    let mut stdout = std::io::stdout();
    for offset in store.opened.next_offset.0.. {
        let envelopes = vec![delivery(offset, &author.chat(offset, "x"))];
        let flush = offset % 2 == 0;
        store.send(Job::Append(Append { ticket: Ticket(offset), generation: 0, flush, envelopes }));
        assert!(matches!(store.answer(), Input::Appended(_)));
        writeln!(stdout, "answered {offset}").unwrap();
    }
}

const DIR: &str = "P2PD_TEST_STORE_DIR";
