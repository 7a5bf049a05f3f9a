//! Data directories that are odd, not ours, or in use.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::skip::or_skip;
use p2p_tests::volume::Volume;

use super::{data_dir, p2pd};

/// `p2pd` ends by itself, with this code and these words.
#[track_caller]
fn refuses(network: &Network, dir: &Path, code: i32, words: &[&str]) {
    let output = p2pd(network, dir);
    assert_eq!(output.code, Some(code), "{}", output.stderr);
    assert!(words.iter().all(|word| output.stderr.contains(word)), "{words:?} in {}", output.stderr);
    assert_eq!(output.stdout, "");
}

/// A peer that said something and is stopped.
#[track_caller]
fn with_history(network: &Network, name: &str) -> TestPeer {
    let mut peer = network.start(name, &[]);
    drop(peer.p2pctl(&["send", "hello"]).ok());
    assert_eq!(peer.stop().code(), Some(0));
    peer
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn d_05_the_history_of_another_identity_exits_78_and_is_left_alone() {
    let network = Network::new();
    let (mut one, two) = (with_history(&network, "one"), with_history(&network, "two"));
    let (ours, theirs) = (one.data_dir().join("history.db"), two.data_dir().join("history.db"));
    let kept = fs::read(&ours).unwrap();
    fs::copy(&theirs, &ours).unwrap();
    refuses(&network, &one.data_dir(), 78, &[&one.id()[..8], &two.id()[..8], "identity.key"]);
    assert!(fs::read(&ours).unwrap() == fs::read(&theirs).unwrap(), "it was touched");
    fs::write(&ours, kept).unwrap();
    one.restart();
    assert_eq!(one.status().posts, 1);
}

#[test]
fn d_11_a_data_dir_that_is_not_ours_alone_exits_78_with_the_line_to_run() {
    let network = Network::new();
    let dir = network.dir().join("data");
    fs::write(&dir, "").unwrap();
    refuses(&network, &dir, 78, &["is not a directory", dir.to_str().unwrap()]);
    fs::remove_file(&dir).unwrap();
    symlink("nowhere", &dir).unwrap();
    refuses(&network, &dir, 78, &["symbolic link to nowhere"]);
    fs::remove_file(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    chmod(&dir, 0o777);
    refuses(&network, &dir, 78, &["mode 0777", "chmod 700"]);
    chmod(&dir, 0o700);
    // Only root can give something away.
    let nobody = rustix::fs::Uid::from_raw(65_534);
    if rustix::process::geteuid().is_root() && rustix::fs::chown(&dir, Some(nobody), None).is_ok() {
        refuses(&network, &dir, 78, &["belongs to user 65534", "chown -R"]);
    }
}

#[test]
fn d_12_an_identity_that_cannot_be_ours_is_never_replaced_by_a_new_one() {
    let network = Network::new();
    let mut one = with_history(&network, "one");
    let (dir, key) = (one.data_dir(), one.data_dir().join("identity.key"));
    let kept = fs::read(&key).unwrap();
    chmod(&key, 0o644);
    refuses(&network, &dir, 77, &["mode 0644", "chmod 600"]);
    chmod(&key, 0o600);
    for (content, words) in [(&b""[..], "is empty"), (&kept[..31], "holds no key"), (b"-----BEGIN", "holds no key")] {
        fs::write(&key, content).unwrap();
        refuses(&network, &dir, 78, &[words, key.to_str().unwrap()]);
    }
    fs::remove_file(&key).unwrap();
    refuses(&network, &dir, 78, &["is missing, but a history is there", "put your copy of the file back"]);
    assert!(!key.exists(), "a new identity was made over an old history");
    symlink("elsewhere", &key).unwrap();
    refuses(&network, &dir, 78, &["symbolic link"]);
    fs::remove_file(&key).unwrap();
    fs::write(&key, &kept).unwrap();
    chmod(&key, 0o600);
    one.restart();
    assert_eq!((one.status().posts, one.status().id.as_str()), (1, one.id()));
}

#[test]
fn d_14_where_no_more_files_fit_a_start_says_so_and_a_running_daemon_goes_on() {
    let network = Network::new();
    let dir = data_dir(&network, "one");
    let Some(volume) = or_skip(Volume::memory(&dir, "size=8m,nr_inodes=20")) else { return };
    let mut one = network.start("one", &[]);
    let mut stuffing = Vec::new();
    let mut stuff = || {
        while File::create(dir.join(format!("stuffing{}", stuffing.len()))).is_ok() {
            stuffing.push(dir.join(format!("stuffing{}", stuffing.len())));
        }
        stuffing.clone()
    };
    stuff();
    drop(one.p2pctl(&["send", "what is open stays open"]).ok());
    assert_eq!(one.stop().code(), Some(0));
    // The log of the database went with the daemon.
    let files = stuff();
    refuses(&network, &dir, 74, &["disk full in ", "no more files fit"]);
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    one.restart();
    assert_eq!(one.status().posts, 1);
    one.kill_9();
    drop(volume);
}

#[test]
fn d_14_long_paths_and_paths_with_other_letters_work_or_are_refused_in_words() {
    let network = Network::new();
    let odd = network.dir().join("odd/data/ a 'b\" #ü%41?mode=ro\u{202e}");
    let deep = |depth| network.dir().join(vec!["x".repeat(200); depth].join("/"));
    for dir in [odd, deep(2)] {
        let name = format!("p{}", dir.as_os_str().len());
        let options = Options { name, data_dir: Some(dir.clone()), ..Options::default() };
        fs::create_dir_all(dir.parent().unwrap()).unwrap();
        let mut peer = network.start_with(options);
        drop(peer.p2pctl(&["send", "hello"]).ok());
        peer.restart();
        assert_eq!(peer.status().posts, 1, "{}", dir.display());
        assert!(dir.join("history.db").exists());
    }
    let too_long = deep(3);
    fs::create_dir_all(too_long.parent().unwrap()).unwrap();
    refuses(&network, &too_long, 78, &["the history ", "and the database takes 504: set a shorter data_dir"]);
    refuses(&network, &deep(25), 78, &["data directory", "name too long"]);
}

#[test]
fn d_14_files_of_the_future_and_of_long_ago_are_files() {
    let network = Network::new();
    let mut one = with_history(&network, "one");
    for secs in [4_000_000_000, 1] {
        for file in fs::read_dir(one.data_dir()).unwrap() {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
            File::options().append(true).open(file.unwrap().path()).unwrap().set_modified(time).unwrap();
        }
        one.restart();
        assert_eq!(one.status().posts, 1);
        assert_eq!(one.stop().code(), Some(0));
    }
}
