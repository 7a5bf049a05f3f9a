//! The socket file: who may open it is decided before anybody can see it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use p2p_proto::endpoint::Endpoint;
use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};

use super::ApiError;
use crate::group::Group;

/// A socket file that is ours. Dropping it removes the file, unless another daemon has taken its place since.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

/// Listens at `path`. The caller holds the lock of the data directory, so a socket there on which nobody answers is
/// left over from a run that ended, and is replaced.
///
/// # Errors
///
/// A daemon answers there, something else is there, or the system does not let us.
pub(super) fn listen(path: &Path, group: Option<&Group>) -> Result<(UnixListener, SocketFile), ApiError> {
    let draft = path.with_added_extension("new");
    check_len(&draft)?;
    let listener = prepare(path, &draft, group)?;
    // Moved into place when all is set, so nobody meets a socket that does not listen or has other rights.
    let file = take_place(path, &draft).map_err(|why| bind_error(path, why))?;
    Ok((listener, file))
}

fn prepare(path: &Path, draft: &Path, group: Option<&Group>) -> Result<UnixListener, ApiError> {
    let failed = |why| bind_error(path, why);
    create_folder(path, group).map_err(failed)?;
    check_free(path)?;
    remove_left_over(draft).map_err(failed)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    // Linux gives the file the mode that the socket has, less the umask: there is no moment with more rights.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|why| failed(why.into()))?;
    socket.bind(&SockAddr::unix(draft).map_err(failed)?).map_err(failed)?;
    // The umask may have taken our own rights away.
    give(draft, 0o600, group.map(|group| (group, 0o660))).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)?;
    Ok(UnixListener::from(OwnedFd::from(socket)))
}

fn take_place(path: &Path, draft: &Path) -> io::Result<SocketFile> {
    let found = fs::symlink_metadata(draft)?;
    fs::rename(draft, path)?;
    Ok(SocketFile { path: path.to_owned(), device_and_inode: (found.dev(), found.ino()) })
}

/// Sets the rights of a file: those for us alone, or those for a group.
fn give(path: &Path, mode: u32, shared: Option<(&Group, u32)>) -> io::Result<()> {
    // First the group, so that no other one has its rights meanwhile. Where it is the right one already, as in a service
    // that may change no owner, nothing is asked for.
    if let Some((group, _)) = shared
        && fs::symlink_metadata(path)?.gid() != group.gid()
    {
        chown(path, None, Some(group.gid()))?;
    }
    fs::set_permissions(path, Permissions::from_mode(shared.map_or(mode, |(_, mode)| mode)))
}

/// Folders that we make are ours alone, or the group's to pass; those that are there are the operator's choice.
fn create_folder(path: &Path, group: Option<&Group>) -> io::Result<()> {
    let folders = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    let mut missing: Vec<&Path> = folders.take_while(|folder| !folder.exists()).collect();
    while let Some(folder) = missing.pop() {
        DirBuilder::new().mode(0o700).create(folder)?;
        // The umask may have taken our own rights away too.
        give(folder, 0o700, group.map(|group| (group, 0o710)))?;
    }
    Ok(())
}

fn check_free(path: &Path) -> Result<(), ApiError> {
    match fs::symlink_metadata(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(why) => Err(bind_error(path, why)),
        Ok(found) if !found.file_type().is_socket() => Err(ApiError::NotSocket(path.to_owned())),
        Ok(_) => match answers(path) {
            Ok(false) => Ok(()),
            Ok(true) => Err(ApiError::InUse(Endpoint::Unix(path.to_owned()))),
            Err(why) => Err(bind_error(path, why)),
        },
    }
}

/// Whether somebody listens at a socket file.
fn answers(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A daemon with a full queue would make us wait; not waiting says that it is there.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(why) => match why.kind() {
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(false),
            _ => Err(why),
        },
    }
}

fn remove_left_over(draft: &Path) -> io::Result<()> {
    match fs::symlink_metadata(draft) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(draft),
        // Anything else there makes `bind` fail, which names it.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn check_len(path: &Path) -> Result<(), ApiError> {
    let len = path.as_os_str().as_bytes().len();
    if len <= PATH_LEN_MAX {
        return Ok(());
    }
    // The final name is what the operator wrote, and it is four bytes shorter.
    Err(ApiError::PathTooLong { path: path.with_extension(""), len: len - 4, limit: PATH_LEN_MAX - 4 })
}

fn bind_error(path: &Path, why: io::Error) -> ApiError {
    ApiError::Bind { endpoint: Endpoint::Unix(path.to_owned()), why }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.device_and_inode);
        if ours && let Err(why) = fs::remove_file(&self.path) {
            // The next start replaces it.
            tracing::warn!(path = ?self.path, ?why, "socket not removed");
        }
    }
}

/// `sun_path` has 108 bytes, of which the last is 0.
const PATH_LEN_MAX: usize = 107;
/// Connections that wait for us to accept them.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_folder_is_made_private_and_the_socket_goes_when_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/p2pd.sock");
        let (_listener, file) = listen(&path, None).unwrap();
        assert_eq!((mode(&path), mode(&dir.path().join("a/b"))), (0o600, 0o700));
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1, "no draft is left");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_group_may_pass_the_folder_and_open_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/p2pd.sock");
        // A user may give away to its own groups only; root to all.
        let gid = rustix::process::getegid().as_raw();
        let (_listener, _file) = listen(&path, Some(&Group::find(&gid.to_string()).unwrap())).unwrap();
        assert_eq!((mode(&path), mode(&dir.path().join("a"))), (0o660, 0o710));
        let gids = [&path, &dir.path().join("a")].map(|path| fs::metadata(path).unwrap().gid());
        assert_eq!(gids, [gid, gid]);
    }

    #[test]
    fn a_socket_on_which_nobody_answers_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        drop(UnixListener::bind(path.with_added_extension("new")).unwrap());
        assert!(path.exists(), "the standard library leaves it behind");
        let (_listener, _file) = listen(&path, None).unwrap();
        assert!(answers(&path).unwrap());
    }

    #[test]
    fn h_10_a_socket_on_which_a_daemon_answers_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (_listener, _file) = listen(&path, None).unwrap();
        let why = listen(&path, None).unwrap_err().to_string();
        assert_eq!(why, format!("unix:{} is served by another daemon that is running", path.display()));
        assert!(answers(&path).unwrap());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(matches!(listen(&path, None), Err(ApiError::NotSocket(named)) if named == path));
        assert_eq!(fs::read(&path).unwrap(), b"data");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(listen(&link, None), Err(ApiError::NotSocket(_))));
    }

    #[test]
    fn a_socket_that_another_daemon_took_over_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (listener, first) = listen(&path, None).unwrap();
        drop(listener);
        let (_listener, _second) = listen(&path, None).unwrap();
        drop(first);
        assert!(answers(&path).unwrap());
    }

    #[test]
    fn d_14_a_path_that_no_socket_can_have_is_named_with_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x".repeat(120));
        let len = path.as_os_str().len();
        let why = listen(&path, None).unwrap_err().to_string();
        assert_eq!(why, format!("the socket path {} has {len} bytes, the limit is 103", path.display()));
        let unicode = dir.path().join("ä b/ü.sock");
        let (_listener, _file) = listen(&unicode, None).unwrap();
        assert!(answers(&unicode).unwrap());
    }
}
