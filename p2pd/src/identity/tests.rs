#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A directory that tests may do everything with, and the data directory in it that is not there yet.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a b/ü/data");
    (dir, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn d_11_a_missing_data_dir_is_made_for_its_owner_alone() {
    let (_dir, path) = place();
    let data_dir = DataDir::open(&path).unwrap();
    assert_eq!((data_dir.path(), mode(&path)), (path.as_path(), 0o700));
    data_dir.identity().unwrap();
    assert_eq!((mode(&path.join("identity.key")), mode(&path.join("lock"))), (0o600, 0o600));
}

#[test]
fn d_11_a_file_or_a_link_to_nowhere_is_no_data_dir() {
    let (dir, _) = place();
    let path = dir.path().join("data");
    fs::write(&path, "").unwrap();
    let error = DataDir::open(&path).unwrap_err();
    assert!(matches!(&error, DataDirError::NotADirectory(at) if *at == path), "{error}");
    assert_eq!(error.exit_code(), exit::BAD_CONFIG);

    fs::remove_file(&path).unwrap();
    symlink(dir.path().join("nowhere"), &path).unwrap();
    let error = DataDir::open(&path).unwrap_err();
    assert!(matches!(&error, DataDirError::Dangling(_)), "{error}");
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn d_11_a_data_dir_that_others_can_enter_is_refused_with_the_line_to_run() {
    let (_dir, path) = place();
    fs::create_dir_all(&path).unwrap();
    for open in [0o777, 0o750, 0o701] {
        chmod(&path, open);
        let error = DataDir::open(&path).unwrap_err();
        assert_eq!(error.exit_code(), exit::BAD_CONFIG);
        assert!(error.to_string().ends_with(&format!("(mode {open:04o}): chmod 700 {path:?}")), "{error}");
    }
    chmod(&path, 0o700);
    DataDir::open(&path).unwrap();
}

#[test]
fn d_11_a_data_dir_of_somebody_else_is_refused_with_the_line_to_run() {
    // The root directory is root's; for root, a directory is given away.
    let (_dir, path) = place();
    let us = rustix::process::geteuid();
    let path = if us.is_root() {
        fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        path
    } else {
        PathBuf::from("/")
    };
    let error = DataDir::open(&path).unwrap_err();
    assert!(error.to_string().ends_with(&format!("chown -R {} {path:?}", us.as_raw())), "{error}");
}

#[test]
fn h_10_a_data_dir_in_use_names_the_pid() {
    let (_dir, path) = place();
    let first = DataDir::open(&path).unwrap();
    let error = DataDir::open(&path).unwrap_err();
    assert_eq!(error.exit_code(), exit::IN_USE);
    let pid = std::process::id();
    assert_eq!(error.to_string(), format!("data directory {} is in use by pid {pid}", path.display()));
    drop(first);
    DataDir::open(&path).unwrap();
}

#[test]
fn the_identity_stays_the_same() {
    let (_dir, path) = place();
    let first = DataDir::open(&path).unwrap().identity().unwrap();
    let text = fs::read_to_string(path.join("identity.key")).unwrap();
    assert_eq!((text.lines().count(), text.len()), (1, "p2pd-identity-v1 ".len() + 52 + 1));
    assert_eq!(DataDir::open(&path).unwrap().identity().unwrap(), first);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "the key and the lock, and nothing left behind");
}

/// What `spoil` makes of a good identity is refused with this code, and with this in the message.
#[track_caller]
fn refuses(spoil: impl FnOnce(&Path), code: u8, says: &str) {
    let (_dir, path) = place();
    let data_dir = DataDir::open(&path).unwrap();
    data_dir.identity().unwrap();
    let key = path.join("identity.key");
    spoil(&key);
    let before = fs::read(&key).ok();
    let error = data_dir.identity().unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(error.exit_code(), code, "{error}");
    assert_eq!(fs::read(&key).ok(), before, "it is left as it was");
}

#[test]
fn d_12_an_identity_that_others_can_read_is_refused() {
    refuses(|key| chmod(key, 0o644), exit::KEY_EXPOSED, "(mode 0644): chmod 600 ");
    refuses(|key| chmod(key, 0o640), exit::KEY_EXPOSED, "(mode 0640): chmod 600 ");
}

#[test]
fn d_12_an_identity_that_is_no_key_is_refused_with_the_way_out() {
    let write = |bytes: &'static [u8]| move |key: &Path| fs::write(key, bytes).unwrap();
    refuses(
        write(b""),
        exit::BAD_CONFIG,
        "is empty: put your copy of it back, or begin anew under another identity: mv ",
    );
    refuses(write(b" \n"), exit::BAD_CONFIG, "is empty");
    refuses(write(&[0xa7; 31]), exit::BAD_CONFIG, "holds no key (it is not text)");
    refuses(write(b"hello"), exit::BAD_CONFIG, "holds no key (it does not begin with p2pd-identity-v1)");
    refuses(write(b"p2pd-identity-v1 abc\n"), exit::BAD_CONFIG, "(3 characters where 52 are needed)");
    refuses(write(&[b'a'; 5_000]), exit::BAD_CONFIG, "(it is too large)");
}

#[test]
fn d_12_an_identity_behind_a_link_or_that_is_no_file_is_refused() {
    let link = |key: &Path| {
        fs::rename(key, key.with_extension("real")).unwrap();
        symlink(key.with_extension("real"), key).unwrap();
    };
    refuses(link, exit::BAD_CONFIG, "is a symbolic link");
    let dir = |key: &Path| {
        fs::remove_file(key).unwrap();
        fs::create_dir(key).unwrap();
    };
    refuses(dir, exit::BAD_CONFIG, "is not a file");
}

#[test]
fn d_12_a_history_without_its_identity_does_not_get_another() {
    let lose = |key: &Path| {
        fs::remove_file(key).unwrap();
        fs::write(key.with_file_name("history.db"), "").unwrap();
    };
    refuses(lose, exit::BAD_CONFIG, "identity.key\" is missing, but a history is there");
}

#[test]
fn p_12_the_memory_of_the_daemon_can_be_closed_to_others() {
    forbid_memory_access().unwrap();
    let behavior = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(behavior, rustix::process::DumpableBehavior::NotDumpable);
}
