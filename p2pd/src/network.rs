//! The network: who shares its secret may join.
//!
//! A key file holds up to three lines, one key each: the first is used for dialing, all for accepting. So a secret is
//! changed by installing the new one, using it, and removing the old one.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use p2p_mesh::id::{IdError, base32, from_base32};
use zeroize::Zeroizing;

use crate::keyfile::{self, KeyFileError, Secret};

/// A closed group: a random public id and a secret.
#[derive(Clone)]
pub struct NetworkKey {
    /// Public: shown in `status`.
    pub id: [u8; 16],
    /// Known to members only.
    pub secret: Zeroizing<[u8; 32]>,
}

/// Names a secret, and tells nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName(pub [u8; 16]);

/// A text that holds no network key. It never repeats the text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NetworkKeyError {
    /// Nothing is in it.
    #[error("no network key is in it: `p2pd keygen FILE` makes one")]
    Empty,
    /// Another form.
    #[error("line {0} is not `{NETWORK_TAG} ID SECRET`: `p2pd keygen FILE` makes one")]
    Form(usize),
    /// A broken id.
    #[error("the id on line {line} is broken: {error}")]
    Id {
        /// Counted from 1.
        line: usize,
        /// How.
        error: IdError,
    },
    /// A broken secret.
    #[error("the secret on line {line} is broken: {error}")]
    Secret {
        /// Counted from 1.
        line: usize,
        /// How.
        error: IdError,
    },
    /// A secret that everybody knows.
    #[error("the secret on line {0} is all zeros: `p2pd keygen FILE` makes a good one")]
    Zeros(usize),
    /// Each further one makes it dearer to refuse a stranger.
    #[error("{0} network keys are over the limit of {NETWORKS_MAX}")]
    TooMany(usize),
}

/// The keys of the networks that this daemon is in: the first is used for dialing, all for accepting. Shared, and may
/// change while links are open.
#[derive(Clone, Debug)]
pub struct Ring(Arc<RwLock<Arc<[NetworkKey]>>>);

/// What `p2pd keygen` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keygen {
    /// The file is new.
    Made,
    /// It was there.
    Kept,
}

/// Reads a network key file.
///
/// # Errors
///
/// It cannot be read, or holds something else.
pub fn load(path: &Path) -> Result<Vec<NetworkKey>, KeyFileError> {
    parse(&keyfile::read(path, OTHERWISE)?, path)
}

/// Reads network keys from a text. An error names `place` as where it is from.
pub(crate) fn parse(text: &str, place: &Path) -> Result<Vec<NetworkKey>, KeyFileError> {
    NetworkKey::parse_all(text).map_err(|error| KeyFileError::Content {
        path: place.to_owned(),
        why: error.to_string(),
        otherwise: OTHERWISE.into(),
    })
}

/// Puts keys into a key file, instead of what is there.
///
/// # Errors
///
/// The system refuses; then the file is as it was.
pub fn save(path: &Path, keys: &[NetworkKey]) -> Result<(), KeyFileError> {
    let lines: Vec<Secret> = keys.iter().map(NetworkKey::to_line).collect();
    let text: Zeroizing<String> = Zeroizing::new(lines.iter().map(Secret::reveal).collect());
    keyfile::replace(path, &text)
}

/// Makes a network key file. If several do so at once, one of them makes it.
///
/// # Errors
///
/// The system refuses, or the file is there and `if_missing` is false.
pub fn keygen(path: &Path, if_missing: bool) -> Result<Keygen, KeyFileError> {
    if if_missing && path.exists() {
        return Ok(Keygen::Kept);
    }
    match keyfile::create(path, NetworkKey::generate().to_line().reveal()) {
        Ok(()) => Ok(Keygen::Made),
        Err(KeyFileError::Exists(_)) if if_missing => Ok(Keygen::Kept),
        Err(error) => Err(error),
    }
}

impl Ring {
    /// Holds these.
    ///
    /// # Panics
    ///
    /// There is none.
    #[must_use]
    pub fn new(keys: Vec<NetworkKey>) -> Self {
        assert!(!keys.is_empty(), "a daemon always has a network, an open one in the worst case");
        Self(Arc::new(RwLock::new(keys.into())))
    }

    /// From now on these are held.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn set(&self, keys: Vec<NetworkKey>) {
        assert!(!keys.is_empty(), "a daemon always has a network");
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
    }

    /// Those that are held now: at least one.
    #[must_use]
    pub fn now(&self) -> Arc<[NetworkKey]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The public id of the network that is dialed.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        self.now()[0].id
    }
}

impl NetworkKey {
    /// A new network, from the system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self { id: rand::random(), secret: Zeroizing::new(rand::random()) }
    }

    /// The line that a key file holds.
    #[must_use]
    pub fn to_line(&self) -> Secret {
        let secret = Zeroizing::new(base32(&*self.secret));
        Secret::new(&Zeroizing::new(format!("{NETWORK_TAG} {} {}\n", base32(&self.id), *secret)))
    }

    /// The keys of a text as a file holds it: one a line. Empty lines and those that begin with `#` are left out.
    ///
    /// # Errors
    ///
    /// There is none, or one is broken.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, NetworkKeyError> {
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<Self> = lines.map(|(at, line)| Self::parse(line, at)).collect::<Result<_, _>>()?;
        match keys.len() {
            0 => Err(NetworkKeyError::Empty),
            1..=NETWORKS_MAX => Ok(keys),
            count => Err(NetworkKeyError::TooMany(count)),
        }
    }

    fn parse(text: &str, line: usize) -> Result<Self, NetworkKeyError> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [NETWORK_TAG, id, secret] = words[..] else { return Err(NetworkKeyError::Form(line)) };
        let id = from_base32(id).map_err(|error| NetworkKeyError::Id { line, error })?;
        let secret = from_base32(secret).map_err(|error| NetworkKeyError::Secret { line, error })?;
        let secret = Zeroizing::new(secret);
        if *secret == [0; 32] { Err(NetworkKeyError::Zeros(line)) } else { Ok(Self { id, secret }) }
    }

    /// The network without a secret, for `open_network: true`.
    #[must_use]
    pub fn open() -> Self {
        Self { id: [0; 16], secret: Zeroizing::new([0; 32]) }
    }

    /// What this key is called where others may hear it. From a random secret of 256 bits nothing can be guessed by it.
    #[must_use]
    pub fn name(&self) -> KeyName {
        let mut hasher = blake3::Hasher::new_derive_key("p2pd network key name v1");
        hasher.update(&self.id);
        hasher.update(&*self.secret);
        let hash = hasher.finalize();
        KeyName(std::array::from_fn(|at| hash.as_bytes()[at]))
    }

    /// The pre-shared key of the handshake.
    #[must_use]
    pub fn psk(&self) -> Zeroizing<[u8; 32]> {
        let mut hasher = blake3::Hasher::new_derive_key("p2pd link psk v1");
        hasher.update(&self.id);
        hasher.update(&*self.secret);
        Zeroizing::new(*hasher.finalize().as_bytes())
    }
}

impl KeyName {
    /// Enough of it for people.
    #[must_use]
    pub fn short(&self) -> String {
        base32(&self.0)[..8].to_owned()
    }
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&base32(&self.0))
    }
}

impl std::fmt::Debug for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.short())
    }
}

impl std::str::FromStr for KeyName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(from_base32(text)?))
    }
}

impl std::fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NetworkKey({}, secret hidden)", p2p_mesh::id::base32(&self.id))
    }
}

/// Of a line of a key file.
const NETWORK_TAG: &str = "p2pd-network-v1";
/// Keys held at a time. Protocol, section 11: the old secret, the new one, and one that is being brought in.
pub const NETWORKS_MAX: usize = 3;
const OTHERWISE: &str = "make a new network with: p2pd keygen FILE";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaae";

    fn line(secret: &str) -> String {
        format!("{NETWORK_TAG} {ID} {secret}")
    }

    #[test]
    fn a_key_comes_back_from_its_line() {
        let key = NetworkKey::generate();
        let text = format!("# of the office\n\n{}\r\n", key.to_line().reveal());
        let parsed = NetworkKey::parse_all(&text).unwrap();
        assert_eq!((parsed[0].id, &parsed[0].secret), (key.id, &key.secret));
        assert_eq!(parsed.len(), 1);
    }

    #[test]
    fn f_11_what_is_no_secret_is_refused_without_repeating_it() {
        let short = NetworkKey::parse_all(&line("hunter2")).unwrap_err();
        assert_eq!(short, NetworkKeyError::Secret { line: 1, error: IdError::Length { got: 7, want: 52 } });
        assert!(!short.to_string().contains("hunter2"));
        assert_eq!(NetworkKey::parse_all(&line(&"a".repeat(52))).unwrap_err(), NetworkKeyError::Zeros(1));
        assert_eq!(NetworkKey::parse_all("my password").unwrap_err(), NetworkKeyError::Form(1));
        assert_eq!(NetworkKey::parse_all("# none\n").unwrap_err(), NetworkKeyError::Empty);
        let broken = NetworkKey::parse_all(&format!("{NETWORK_TAG} {} x", "A".repeat(26))).unwrap_err();
        assert_eq!(broken, NetworkKeyError::Id { line: 1, error: IdError::Character { at: 1 } });
    }

    #[test]
    fn three_keys_can_be_held_and_four_cannot() {
        let lines =
            |count| -> String { (0..count).map(|_| NetworkKey::generate().to_line().reveal().to_owned()).collect() };
        assert_eq!(NetworkKey::parse_all(&lines(3)).unwrap().len(), 3);
        assert_eq!(NetworkKey::parse_all(&lines(4)).unwrap_err(), NetworkKeyError::TooMany(4));
    }

    #[test]
    fn a_key_file_is_for_its_owner_and_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("network.key");
        assert_eq!(keygen(&path, false).unwrap(), Keygen::Made);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let before = load(&path).unwrap();
        assert_eq!(keygen(&path, true).unwrap(), Keygen::Kept);
        assert!(matches!(keygen(&path, false), Err(KeyFileError::Exists(_))));
        assert_eq!(load(&path).unwrap()[0].secret, before[0].secret);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn of_many_that_make_the_key_at_once_one_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("network.key");
        let make = || keygen(&path, true).unwrap();
        let results: Vec<Keygen> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| **result == Keygen::Made).count(), 1);
        assert_eq!(load(&path).unwrap().len(), 1);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn f_11_a_key_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("network.key");
        assert_eq!(load(&path).unwrap_err().exit_code(), crate::exit::BAD_CONFIG);
        keygen(&path, false).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = load(&path).unwrap_err();
        assert_eq!(error.exit_code(), crate::exit::KEY_EXPOSED);
        assert!(error.to_string().ends_with(&format!("(mode 0640): chmod 600 {path:?}")), "{error}");
    }

    #[test]
    fn nothing_shows_a_secret() {
        let key = NetworkKey::generate();
        let secret = base32(&*key.secret);
        assert!(!format!("{key:?} {:?}", key.to_line()).contains(&secret));
    }
}
