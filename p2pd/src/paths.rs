//! Where things are when nobody says where: what the environment and the machine suggest.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use p2p_proto::endpoint::Endpoint;

/// The identity's file in the data directory.
pub const IDENTITY_FILE: &str = "identity.key";
/// The network key's file in the data directory.
pub const NETWORK_FILE: &str = "network.key";
/// The network keys that came by rotation, where the configuration names others.
pub const ROTATED_FILE: &str = "network.rotated.key";
/// The history's file in the data directory.
pub const HISTORY_FILE: &str = "history.db";
/// The lock's file in the data directory.
pub const LOCK_FILE: &str = "lock";

/// What defaults depend on. Everything that is read from the machine is in here, so that the rest can be tested.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The environment.
    pub env: BTreeMap<OsString, OsString>,
    /// We run as root.
    pub is_root: bool,
    /// `/run/p2pd` is there for us.
    pub run_dir_is_writable: bool,
    /// What this machine calls itself.
    pub host_name: String,
    /// The configuration file of the whole machine.
    pub machine_config: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn here(env: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        Self {
            env: env.collect(),
            is_root: rustix::process::geteuid().is_root(),
            run_dir_is_writable: rustix::fs::access(SERVICE_RUN_DIR, access).is_ok(),
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            machine_config: MACHINE_CONFIG.into(),
        }
    }

    /// The data directory: that of the service manager, that of the user, that of the machine.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        let user = || self.dir("XDG_DATA_HOME").or_else(|| Some(self.home()?.join(".local/share")));
        self.first_dir("STATE_DIRECTORY")
            .or_else(|| Some(user()?.join("p2p")))
            .unwrap_or_else(|| SERVICE_DATA_DIR.into())
    }

    /// The socket of the API. p2pctl looks in all of these places by itself but that of a service manager, which is
    /// `/run/p2pd` too.
    #[must_use]
    pub fn socket(&self, data_dir: &Path) -> Endpoint {
        let machine = || (self.is_root || self.run_dir_is_writable).then(|| SERVICE_RUN_DIR.into());
        let dir = self.dir("XDG_RUNTIME_DIR").map(|dir| dir.join("p2p"));
        let dir = dir.or_else(|| self.first_dir("RUNTIME_DIRECTORY")).or_else(machine);
        Endpoint::Unix(dir.unwrap_or_else(|| data_dir.to_owned()).join("p2pd.sock"))
    }

    /// The configuration file to read if no file is named: none where there is none.
    #[must_use]
    pub fn config_file(&self) -> Option<PathBuf> {
        let user = self.dir("XDG_CONFIG_HOME").or_else(|| Some(self.home()?.join(".config")));
        let user = user.map(|dir| dir.join("p2p/config.yaml"));
        user.into_iter().chain([self.machine_config.clone()]).find(|path| path.exists())
    }

    /// A variable that has a value. An empty one counts as not set.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.env.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The user's home. Users that exist only as a number have `/` in its place, where they can write nothing.
    fn home(&self) -> Option<PathBuf> {
        self.dir("HOME").filter(|home| home != Path::new("/"))
    }

    /// A directory named by a variable. The XDG specification says to ignore relative ones.
    fn dir(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// The first of the directories that a service manager lists with colons.
    fn first_dir(&self, name: &str) -> Option<PathBuf> {
        let dirs = self.variable(name)?;
        std::env::split_paths(dirs).find(|path| path.is_absolute())
    }
}

const SERVICE_DATA_DIR: &str = "/var/lib/p2pd";
const SERVICE_RUN_DIR: &str = "/run/p2pd";
const MACHINE_CONFIG: &str = "/etc/p2pd/config.yaml";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(env: &[(&str, &str)]) -> Surroundings {
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Surroundings { env, machine_config: "/nowhere/config.yaml".into(), ..Surroundings::default() }
    }

    #[track_caller]
    fn check(surroundings: &Surroundings, data_dir: &str, socket: &str) {
        assert_eq!(surroundings.data_dir(), Path::new(data_dir));
        assert_eq!(surroundings.socket(Path::new(data_dir)).to_string(), format!("unix:{socket}"));
    }

    #[test]
    fn a_user_has_the_xdg_folders() {
        let home = ("HOME", "/home/a");
        check(&with(&[home]), "/home/a/.local/share/p2p", "/home/a/.local/share/p2p/p2pd.sock");
        let xdg = with(&[home, ("XDG_DATA_HOME", "/data"), ("XDG_RUNTIME_DIR", "/run/user/1")]);
        check(&xdg, "/data/p2p", "/run/user/1/p2p/p2pd.sock");
        let relative = with(&[home, ("XDG_DATA_HOME", "data"), ("XDG_RUNTIME_DIR", "")]);
        check(&relative, "/home/a/.local/share/p2p", "/home/a/.local/share/p2p/p2pd.sock");
    }

    #[test]
    fn a_service_has_the_folders_of_its_manager() {
        let dirs = [("HOME", "/home/a"), ("STATE_DIRECTORY", "/var/lib/x:/y"), ("RUNTIME_DIRECTORY", "/run/x")];
        check(&with(&dirs), "/var/lib/x", "/run/x/p2pd.sock");
    }

    #[test]
    fn p_09_without_a_home_the_machine_has_a_place() {
        let bare = with(&[("HOME", "/")]);
        check(&bare, "/var/lib/p2pd", "/var/lib/p2pd/p2pd.sock");
        check(&Surroundings { is_root: true, ..with(&[]) }, "/var/lib/p2pd", "/run/p2pd/p2pd.sock");
        check(&Surroundings { run_dir_is_writable: true, ..bare }, "/var/lib/p2pd", "/run/p2pd/p2pd.sock");
    }

    #[test]
    fn the_users_configuration_goes_before_the_machines() {
        let dir = tempfile::tempdir().unwrap();
        let mut surroundings = with(&[("XDG_CONFIG_HOME", dir.path().to_str().unwrap())]);
        assert_eq!(surroundings.config_file(), None);
        surroundings.machine_config = dir.path().join("machine.yaml");
        std::fs::write(&surroundings.machine_config, "").unwrap();
        assert_eq!(surroundings.config_file(), Some(dir.path().join("machine.yaml")));
        std::fs::create_dir(dir.path().join("p2p")).unwrap();
        std::fs::write(dir.path().join("p2p/config.yaml"), "").unwrap();
        assert_eq!(surroundings.config_file(), Some(dir.path().join("p2p/config.yaml")));
    }
}
