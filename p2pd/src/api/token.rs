//! The bearer token of the TCP endpoint: whoever can read its file may use the API.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use p2p_mesh::id::base64url;
use zeroize::Zeroizing;

use super::ApiError;

/// What a token must be, kept as a hash: comparing hashes takes the same time wherever two tokens differ.
#[derive(Debug)]
pub(super) struct Token(blake3::Hash);

impl Token {
    /// Reads the token, or makes one. Replacing the file takes effect at the next start.
    pub(super) fn open(path: &Path) -> Result<Self, ApiError> {
        let fail = |why| ApiError::Token { path: path.to_owned(), why };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => Err(fail("it is no regular file: remove it, a new one is made".into())),
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                let mode = found.permissions().mode() & 0o777;
                Err(fail(format!("others may use it (mode {mode:04o}): chmod 600 {}", path.display())))
            }
            Ok(_) => Self::read(path).map_err(fail),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::create(path).map_err(|error| fail(error.to_string()))
            }
            Err(error) => Err(fail(error.to_string())),
        }
    }

    fn read(path: &Path) -> Result<Self, String> {
        let text = Zeroizing::new(fs::read(path).map_err(|error| error.to_string())?);
        let token = text.trim_ascii();
        if token.len() < TOKEN_LEN_MIN {
            let len = token.len();
            return Err(format!("it holds {len} characters, {TOKEN_LEN_MIN} are needed: remove it, a new one is made"));
        }
        Ok(Self(blake3::hash(token)))
    }

    fn create(path: &Path) -> io::Result<Self> {
        let secret = Zeroizing::new(rand::random::<[u8; 32]>());
        let token = Zeroizing::new(base64url(&*secret));
        // Written beside its place and moved there whole, so no crash leaves half a token.
        let draft = path.with_added_extension("new");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => (),
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        // The umask may have taken our own rights away too.
        file.set_permissions(Permissions::from_mode(0o600))?;
        writeln!(file, "{}", *token)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        Ok(Self(blake3::hash(token.as_bytes())))
    }

    /// Whether the `authorization` header carries the token. A missing one is compared like a wrong one.
    pub(super) fn matches(&self, authorization: Option<&[u8]>) -> bool {
        let offered = authorization.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
        // `blake3::Hash` compares in constant time.
        self.0 == blake3::hash(offered)
    }
}

/// 128 bits as base64, which nobody guesses.
const TOKEN_LEN_MIN: usize = 22;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn why(path: &Path) -> String {
        Token::open(path).unwrap_err().to_string()
    }

    #[test]
    fn g_11_a_token_is_made_once_and_matches_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.token");
        let made = Token::open(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let header = format!("Bearer {}", text.trim());
        for token in [made, Token::open(&path).unwrap()] {
            assert!(token.matches(Some(header.as_bytes())));
            assert!(!token.matches(None));
            assert!(!token.matches(Some(b"Bearer ")));
            assert!(!token.matches(Some(text.trim().as_bytes())), "the scheme is needed");
            assert!(!token.matches(Some(&header.as_bytes()[..header.len() - 1])));
            assert!(!token.matches(Some(format!("{header}x").as_bytes())));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn g_11_a_token_file_that_guards_nothing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.token");
        let at = path.display();
        fs::write(&path, "x".repeat(43)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(why(&path), format!("token file {at}: others may use it (mode 0644): chmod 600 {at}"));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short\n").unwrap();
        let short = "it holds 5 characters, 22 are needed: remove it, a new one is made";
        assert_eq!(why(&path), format!("token file {at}: {short}"));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert_eq!(why(&path), format!("token file {at}: it is no regular file: remove it, a new one is made"));
    }
}
