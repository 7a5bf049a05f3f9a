#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::args::ConfigArgs;
use crate::network::NetworkKey;
use crate::paths::Surroundings;

/// A machine with a home, and a folder for configuration files.
struct Machine {
    dir: tempfile::TempDir,
    surroundings: Surroundings,
    args: ConfigArgs,
}

impl Machine {
    fn new() -> Self {
        let env = [("HOME".into(), "/home/a".into()), ("PATH".into(), "/bin".into())].into();
        let surroundings = Surroundings { env, host_name: "box.example".into(), ..Surroundings::default() };
        Self { dir: tempfile::tempdir().unwrap(), surroundings, args: ConfigArgs::default() }
    }

    fn with_file(name: &str, text: impl AsRef<[u8]>) -> Self {
        let mut machine = Self::new();
        let path = machine.dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        machine.args.config = Some(path);
        machine
    }

    fn with_yaml(text: &str) -> Self {
        Self::with_file("c.yaml", text)
    }

    fn var(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.surroundings.env.insert(name.into(), value.into());
        self
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        load_in(&self.args, &self.surroundings)
    }

    /// The mistakes, with FILE for the file's path.
    fn mistakes(&self) -> Vec<String> {
        let errors = self.load().expect_err("there are mistakes");
        assert_eq!(errors.exit_code(), 78);
        let file = self.args.config.as_deref().unwrap_or(Path::new("none")).display().to_string();
        errors.mistakes().iter().map(|mistake| mistake.replace(&file, "FILE")).collect()
    }
}

/// One mistake in a file, without `FILE: `.
#[track_caller]
fn wrong(yaml: &str, expected: &str) {
    assert_eq!(Machine::with_yaml(yaml).mistakes(), [format!("FILE: {expected}")], "{yaml}");
}

fn source(loaded: &Loaded, key: &str) -> String {
    let value = loaded.values.iter().find(|each| each.key == key).unwrap();
    value.source.to_string()
}

#[test]
fn f_01_without_a_file_the_defaults_are_in_force() {
    let loaded = Machine::new().load().unwrap();
    assert_eq!((loaded.file, loaded.warnings), (None, vec![]));
    assert!(loaded.values.iter().all(|each| each.source == Source::Default));
    let config = loaded.config;
    assert_eq!((config.listen_addr.as_str(), config.max_connections), ("localhost:8080", 50));
    assert_eq!((config.name.as_str(), config.data_dir.to_str().unwrap()), ("box", "/home/a/.local/share/p2p"));
}

#[test]
fn f_01_a_file_that_was_named_must_be_there() {
    let mut machine = Machine::new();
    machine.args.config = Some(machine.dir.path().join("none.yaml"));
    assert_eq!(machine.mistakes(), ["FILE: cannot be read: No such file or directory (os error 2)"]);
    machine.args.config = None;
    let machine = machine.var("P2P_CONFIG", "/nowhere/c.yaml");
    assert_eq!(machine.mistakes(), ["/nowhere/c.yaml: cannot be read: No such file or directory (os error 2)"]);
}

#[test]
fn a_flag_goes_before_a_variable_and_that_before_the_file() {
    let mut machine = Machine::with_yaml("name: a\npeers: [a:1, b:2]\nmax_connections: 7\nlog_level: warn\n")
        .var("P2P_NAME", "b")
        .var("P2P_PEERS", " c:3 ,d:4,")
        .var("P2P_LOG_LEVEL", "");
    machine.args.name = Some("c".into());
    let loaded = machine.load().unwrap();
    let config = &loaded.config;
    assert_eq!((config.name.as_str(), config.max_connections, config.log_level.as_str()), ("c", 7, "warn"));
    assert_eq!(config.peers, ["c:3".parse().unwrap(), "d:4".parse().unwrap()]);
    assert_eq!(source(&loaded, "name"), "--name");
    assert_eq!(source(&loaded, "peers"), "P2P_PEERS");
    assert_eq!(source(&loaded, "max_connections"), format!("{}:3", machine.args.config.as_ref().unwrap().display()));
    assert_eq!(source(&loaded, "durability"), "default");
}

#[test]
fn f_02_an_unknown_key_comes_with_the_one_that_was_meant() {
    let start = "# ours\n\nname: a\n";
    let expected = "unknown key \"max_conections\" (line 4). Did you mean \"max_connections\"?";
    wrong(&format!("{start}max_conections: 3\n"), expected);
    wrong("listen-addr: a:1\n", "unknown key \"listen-addr\" (line 1). Did you mean \"listen_addr\"?");
    wrong("listen: a:1\n", "unknown key \"listen\" (line 1). Did you mean \"listen_addr\"?");
    wrong(&format!("? {}\n: x\n", "k".repeat(5_000)), &format!("unknown key {:?} (line 1)", "k".repeat(5_000)));
}

#[test]
fn f_05_figures_are_off_or_at_an_address() {
    let config = |yaml: &str| Machine::with_yaml(yaml).load().unwrap().config.metrics_addr;
    assert_eq!(config("metrics_addr: off\n"), None);
    assert_eq!(config("name: a\n"), None);
    assert_eq!(config("metrics_addr: localhost:9464\n"), Some("localhost:9464".to_owned()));
    wrong(
        "metrics_addr: '9464'\n",
        "metrics_addr (line 1): \"9464\" has no host: write localhost:9464 for this machine only, or 0.0.0.0:9464 for every network",
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mut machine =
        Machine::with_yaml("name: ''\nnaem: x\npeers:\n  - a:1\n  - b\n  - c:0\n").var("P2P_DURABILITY", "x");
    machine.args.log_format = Some("xml".into());
    let expected = [
        "FILE: name (line 1): a name cannot be empty",
        "FILE: unknown key \"naem\" (line 2). Did you mean \"name\"?",
        "FILE: peers (line 5): \"b\" has no port: write b:8080",
        "FILE: peers (line 6): \"c:0\": port \"0\" is not a number from 1 to 65535",
        "P2P_DURABILITY: \"x\" is not always, batch or never",
        "--log-format: \"xml\" is not text or json",
    ];
    assert_eq!(machine.mistakes(), expected);
}

#[test]
fn json_files_say_the_same_as_yaml_files() {
    let json = "{\n\t\"name\": \"\\ud83d\\ude00 a\",\n\t\"peers\": [\n\t\t\"a:1\",\n\t\t\"b:2\"\n\t],\n\t\"open_network\": true,\n\t\
                \"max_connections\": 7, \"network_secret\": null\n}\n";
    let loaded = Machine::with_file("c.json", json).load().unwrap();
    assert_eq!((loaded.config.name.as_str(), loaded.config.peers.len()), ("\u{1f600} a", 2));
    assert!(loaded.config.open_network && loaded.config.network_secret.is_none());
    assert!(source(&loaded, "open_network").ends_with("c.json:7"));

    let wrong =
        "{\n\"name\": 1e3,\n\"nam\": 1,\n\"peers\": [\"a:1\",\n\"b\"],\n\"allow\": {\"a\": 1}, \"allow\": []\n}";
    let expected = [
        "FILE: unknown key \"nam\" (line 3). Did you mean \"name\"?",
        "FILE: peers (line 5): \"b\" has no port: write b:8080",
        "FILE: allow (line 6): a list of plain values is needed",
        "FILE: allow (line 6): the key stands on line 6 already",
    ];
    assert_eq!(Machine::with_file("c.json", wrong).mistakes(), expected);
}

#[test]
fn a_file_that_is_broken_is_told_with_the_line() {
    let mistake = |name: &str, text: &[u8]| Machine::with_file(name, text).mistakes().join("|");
    assert_eq!(
        mistake("c.json", b"{\n\"a\": \n}"),
        "FILE: line 3: this is not JSON: expected value at line 3 column 1"
    );
    assert_eq!(
        mistake("c.json", b"[]"),
        "FILE: line 1: keys with values are needed, such as `listen_addr: localhost:8080`"
    );
    assert_eq!(mistake("c.yaml", b"name: a\npeers: [a:1\n"), "FILE: line 2: this is not YAML: unclosed bracket '['");
    assert_eq!(
        mistake("c.yaml", b"- a\n"),
        "FILE: line 1: keys with values are needed, such as `listen_addr: localhost:8080`"
    );
    assert_eq!(mistake("c.yaml", b"name: a\n---\nname: b\n"), "FILE: line 3: there is more than one document");
    assert_eq!(mistake("c.yaml", b"name: a\npeers: \xff\n"), "FILE: line 2: the file is not UTF-8");
    assert_eq!(mistake("c.toml", b"name = 1"), "FILE: the ending \"toml\" is none of .yaml, .yml and .json");
    assert_eq!(mistake("c.yaml", b"name: &a x\ndefault_room: *a\n"), "FILE: line 2: aliases (*name) are not used here");
    assert!(Machine::with_yaml("").load().is_ok() && Machine::with_yaml("\u{feff}# nothing\n").load().is_ok());
}

#[test]
fn the_same_key_twice_is_a_mistake() {
    wrong("name: a\nopen_network: false\nname: b\n", "name (line 3): the key stands on line 1 already");
}

#[test]
fn a_value_of_the_wrong_shape_is_a_mistake() {
    wrong("name: [a]\n", "name (line 1): one value is needed, not a list");
    wrong("heartbeat_interval:\n  every: 5s\n", "heartbeat_interval (line 1): one plain value is needed");
    wrong("peers: [[a:1], b:2]\n", "peers (line 1): a list of plain values is needed");
    wrong("open_network: yes\n", "open_network (line 1): \"yes\" is not true or false");
    wrong("max_connections: 0\n", "max_connections (line 1): 0 is not between 1 and 1024");
    wrong("max_connections: 5.0\n", "max_connections (line 1): \"5.0\" is not a whole number");
    let huge = "9".repeat(40);
    wrong(&format!("full_mesh_max: {huge}\n"), &format!("full_mesh_max (line 1): {huge} is not between 1 and 1024"));
    let loaded = Machine::with_yaml("name: no\napi_addr: unix:/s\npeers:\ndefault_room: 0755\n").load().unwrap();
    assert_eq!((loaded.config.name.as_str(), loaded.config.default_room.as_str()), ("no", "0755"));
    assert_eq!(loaded.config.api_addr, ["unix:/s".parse().unwrap()]);
}

#[test]
fn f_04_durations_have_a_unit() {
    let read = |text: &str| {
        let loaded = Machine::with_yaml(&format!("heartbeat_interval: {text}\n")).load();
        loaded.map(|loaded| loaded.config.heartbeat_interval.as_millis())
    };
    assert_eq!(read("30s"), Ok(30_000));
    assert_eq!(read("1h"), Ok(3_600_000));
    assert_eq!(read("1.5s"), Ok(1_500));
    assert_eq!(read("1m30s"), Ok(90_000));
    let check = |text: &str, expected: &str| {
        wrong(&format!("heartbeat_interval: {text}\n"), &format!("heartbeat_interval (line 1): {expected}"));
    };
    check("30", "\"30\" needs a unit, such as 30s");
    check("-1s", "\"-1s\" is negative");
    check("1h30m", "1h30m is not between 1s and 1h");
    check("99999999999d", "99999999999d is not between 1s and 1h");
    check("99999999999999999999s", "\"99999999999999999999s\" is too large or too fine for a duration");
    check("NaN", "\"NaN\" is not a duration such as 500ms, 10s or 1m30s");
    check("5 parsecs", "\"5 parsecs\" has the unknown unit \"parsecs\": ms, s, m, h and d are known");
    check("0s", "0s is not between 1s and 1h");
    check("''", "\"\" is not a duration such as 500ms, 10s or 1m30s");
}

#[test]
fn f_04_an_age_may_be_days_and_none() {
    let read = |text: &str| {
        let loaded = Machine::with_yaml(&format!("retention_age: {text}\n")).load().unwrap();
        let shown = loaded.values.iter().find(|each| each.key == "retention_age").unwrap().value.clone();
        (loaded.config.retention_age.map(|age| age.as_secs()), shown)
    };
    assert_eq!(read("30d"), (Some(30 * 86_400), "30d".into()));
    assert_eq!(read("52w"), (Some(364 * 86_400), "364d".into()));
    assert_eq!(read("1d12h"), (Some(129_600), "1day12h".into()));
    assert_eq!(read("90m"), (Some(5_400), "1h30m".into()));
    assert_eq!(read("none"), (None, "none".into()));
    let check = |text: &str, expected: &str| {
        wrong(&format!("retention_age: {text}\n"), &format!("retention_age (line 1): {expected}"));
    };
    check("30", "\"30\" needs a unit, such as 30s");
    check("-30d", "\"-30d\" is negative");
    check("59s", "59s is not between 1m and 36500d");
    check("99999999999d", "99999999999d is not between 1m and 36500d");
    check("None", "\"None\" is not a duration such as 500ms, 10s or 1m30s");
    let loaded = Machine::new().var("P2P_RETENTION_AGE", "7d").load().unwrap();
    assert_eq!(
        (loaded.config.retention_age, source(&loaded, "retention_age")),
        (Some(7 * DAY), "P2P_RETENTION_AGE".into())
    );
}

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn f_04_sizes_have_a_unit_and_none_is_no_limit() {
    let read = |text: &str| {
        let loaded = Machine::with_yaml(&format!("retention_bytes: {text}\n")).load().unwrap();
        let shown = loaded.values.iter().find(|each| each.key == "retention_bytes").unwrap().value.clone();
        (loaded.config.retention_bytes, shown)
    };
    assert_eq!(read("1GiB"), (Some(1 << 30), "1GiB".into()));
    assert_eq!(read("500MB"), (Some(500_000_000), "500MB".into()));
    assert_eq!(read("2048 mib"), (Some(2 << 30), "2GiB".into()));
    assert_eq!(read("1000kB"), (Some(1_000_000), "1MB".into()));
    assert_eq!(read("1234567B"), (Some(1_234_567), "1234567B".into()));
    assert_eq!(read("none"), (None, "none".into()));
    assert_eq!(Machine::new().load().unwrap().config.retention_bytes, Some(1 << 30));
    let check = |text: &str, expected: &str| {
        wrong(&format!("retention_bytes: {text}\n"), &format!("retention_bytes (line 1): {expected}"));
    };
    check("500", "\"500\" needs a unit, such as 500MB");
    check("-1MB", "\"-1MB\" is negative");
    check("1.5GB", "\"1.5GB\" is not a size such as 500MB, 1GiB or none");
    check("''", "\"\" is not a size such as 500MB, 1GiB or none");
    check("MB", "\"MB\" is not a size such as 500MB, 1GiB or none");
    check(
        "5 parsecs",
        "\"5 parsecs\" has the unknown unit \"parsecs\": B, kB, MB, GB, TB and KiB, MiB, GiB, TiB are known",
    );
    check("999kB", "999kB is not between 1MB and 1024TiB");
    check("99999999999999999999MB", "99999999999999999999MB is not between 1MB and 1024TiB");
    check("99999999999TB", "99999999999TB is not between 1MB and 1024TiB");
    let loaded = Machine::new().var("P2P_RETENTION_BYTES", "5MB").load().unwrap();
    assert_eq!(loaded.config.retention_bytes, Some(5_000_000));
    let mistakes = Machine::new().var("P2P_RETENTION_BYTE", "5MB").mistakes();
    assert_eq!(mistakes, ["unknown variable \"P2P_RETENTION_BYTE\". Did you mean \"P2P_RETENTION_BYTES\"?"]);
}

#[test]
fn f_05_addresses_are_checked_and_what_to_write_is_said() {
    let listen = |text: &str, expected: &str| {
        wrong(&format!("listen_addr: '{text}'\n"), &format!("listen_addr (line 1): {expected}"));
    };
    listen("localhost", "\"localhost\" has no port: write localhost:8080");
    listen(
        ":8080",
        "\":8080\" has no host: write localhost:8080 for this machine only, or 0.0.0.0:8080 for every network",
    );
    listen("host:99999", "\"host:99999\": port \"99999\" is not a number from 1 to 65535");
    listen("::1", "\"::1\" has no port: write [::1]:8080");
    listen("fe80::1%eth0:80", "\"fe80::1%eth0:80\": \"fe80::1%eth0\" is not a host name or an IP address");
    listen(
        "bücher.example:80",
        "\"bücher.example:80\": \"bücher.example\" is not a host name or an IP address; \
         a name in other letters is written in its xn-- form",
    );
    for good in ["[::1]:0", "0.0.0.0:8080", "localhost:0", "[::]:8080"] {
        let loaded = Machine::with_yaml(&format!("listen_addr: '{good}'\n")).load().unwrap();
        assert_eq!(loaded.config.listen_addr, good);
    }
    wrong(
        "peers: ['0.0.0.0:80']\n",
        "peers (line 1): nobody can be dialed at \"0.0.0.0:80\": it does not name one machine",
    );
    wrong("peers: ['[::1]:0']\n", "peers (line 1): \"[::1]:0\": port \"0\" is not a number from 1 to 65535");
}

#[test]
fn f_05_oneself_and_duplicates_in_peers_are_warnings() {
    let loaded = Machine::with_yaml("peers: [a:1, b:2, a:1, '127.0.0.1:8080']\n").load().unwrap();
    assert_eq!(loaded.config.peers.len(), 3);
    let warnings = loaded.warnings.join("|");
    assert!(warnings.contains("a:1 is there twice|"), "{warnings}");
    assert!(warnings.ends_with("127.0.0.1:8080 is this daemon's own address"), "{warnings}");
}

#[test]
fn f_06_a_file_of_brackets_is_refused_at_once() {
    let over = "[".repeat(100_000);
    assert_eq!(Machine::with_yaml(&over).mistakes(), ["FILE: the file is over the limit of 64 KiB"]);
    for (name, text) in [
        ("c.yaml", "[".repeat(60_000)),
        ("c.yaml", format!("peers: {}", "[".repeat(60_000))),
        ("c.yaml", "- ".repeat(30_000)),
        ("c.yaml", "{a: ".repeat(15_000)),
        ("c.json", "[".repeat(60_000)),
        ("c.json", format!("{{\"peers\": {}", "[".repeat(60_000))),
        ("c.json", format!("{{\"peers\": {}{}}}", "[".repeat(30_000), "]".repeat(30_000))),
    ] {
        assert_eq!(Machine::with_file(name, &text).mistakes().len(), 1);
    }
}

#[test]
fn f_07_a_bad_or_unknown_variable_is_named() {
    let machine = Machine::new()
        .var("P2P_LISTENADDR", "a:1")
        .var("P2P_MAX_CONNECTIONS", "many")
        .var("P2P_PEERS", "127.0.0.1:1,foo")
        .var("P2P_NAME", OsString::from_vec(vec![0xff]))
        .var("P2PCTL_SOCKET", "/s");
    let expected = [
        "unknown variable \"P2P_LISTENADDR\". Did you mean \"P2P_LISTEN_ADDR\"?",
        "P2P_MAX_CONNECTIONS: \"many\" is not a whole number",
        "P2P_NAME: the value is not UTF-8",
        "P2P_PEERS: \"foo\" has no port: write foo:8080",
    ];
    assert_eq!(machine.mistakes(), expected);
}

#[test]
fn f_08_a_file_that_everybody_can_change_is_a_warning() {
    let machine = Machine::with_yaml("name: a\n");
    let path = machine.args.config.as_ref().unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o646)).unwrap();
    let shown = path.display();
    assert_eq!(machine.load().unwrap().warnings, [format!("{shown} can be changed by everybody: chmod o-w {shown}")]);
    let mut device = Machine::new();
    device.args.config = Some("/dev/null".into());
    assert_eq!(device.load().unwrap().warnings, [""; 0]);
}

#[test]
fn f_08_a_file_with_a_secret_is_refused_if_others_can_read_it() {
    let secret = NetworkKey::generate().to_line();
    let machine = Machine::with_yaml(&format!("name: a\nnetwork_secret: {}", secret.reveal()));
    assert_eq!(machine.load().unwrap().config.network_secret.unwrap().reveal(), secret.reveal().trim());
    fs::set_permissions(machine.args.config.as_ref().unwrap(), Permissions::from_mode(0o640)).unwrap();
    let expected = "FILE: network_secret (line 2): the file can be read by others: chmod 600 FILE";
    assert_eq!(machine.mistakes(), [expected]);
}

#[test]
fn f_11_a_secret_is_read_without_its_newline_and_never_shown() {
    let key = NetworkKey::generate();
    let machine = Machine::new().var("P2P_NETWORK_SECRET", format!("{}\r\n", key.to_line().reveal().trim()));
    let loaded = machine.load().unwrap();
    assert_eq!(loaded.config.networks().unwrap()[0].secret, key.secret);
    let secret = p2p_mesh::id::base32(&*key.secret);
    assert!(!format!("{loaded:?}{}", render(&loaded)).contains(&secret));
    assert!(render(&loaded).contains("\nnetwork_secret: (hidden) "), "{}", render(&loaded));

    let short = Machine::new().var("P2P_NETWORK_SECRET", "hunter2");
    let expected = "P2P_NETWORK_SECRET: line 1 is not `p2pd-network-v1 ID SECRET`: `p2pd keygen FILE` makes one";
    assert_eq!(short.mistakes(), [expected]);
}

#[test]
fn only_one_thing_says_who_may_join() {
    let machine = Machine::with_yaml("network_secret_file: /k\nopen_network: true\n");
    let expected = "FILE: open_network (line 2): network_secret_file (FILE:1) is set too, and only one of them can be";
    assert_eq!(machine.mistakes(), [expected]);
}

#[test]
fn g_13_the_api_on_a_network_is_refused_and_what_to_write_is_said() {
    let expected = "api_addr (line 1): 0.0.0.0:9000 is not a loopback address: the API has no encryption, so it is served \
                    on this machine only. Write `api_addr: 127.0.0.1:9000`, and from elsewhere use \
                    `ssh -L 9000:127.0.0.1:9000`";
    wrong("api_addr: 0.0.0.0:9000\n", expected);
    wrong("api_addr: []\n", "api_addr (line 1): the list is empty, so nothing could control the daemon");
    let long = "x".repeat(200);
    wrong(
        &format!("api_addr: unix:/{long}\n"),
        "api_addr (line 1): a socket path of 201 bytes is over the system's limit of 107",
    );
}

#[test]
fn x_06_a_name_that_misleads_is_refused() {
    wrong(
        "name: \"a\\u001b[2J\"\n",
        "name (line 1): \"a\\u{1b}[2J\" has control characters or characters that cannot be seen",
    );
    wrong(
        "name: \"a\\u200d\"\n",
        "name (line 1): \"a\\u{200d}\" has control characters or characters that cannot be seen",
    );
    wrong("name: System\n", "name (line 1): \"System\" is a name that programs use for something else");
    wrong(&format!("name: {}\n", "ä".repeat(33)), "name (line 1): a name of 66 bytes is over the limit of 64");
    let mut machine = Machine::new();
    machine.surroundings.host_name = "\u{1b}".into();
    assert_eq!(machine.load().unwrap().config.name, "peer");
}

#[test]
fn rooms_paths_and_lists_are_checked() {
    let rule = "1 to 64 of a-z, 0-9, `.`, `_`, `-`, with a letter or digit first";
    wrong("default_room: '#general'\n", &format!("default_room (line 1): \"#general\" is not a room: {rule}"));
    wrong("data_dir: ~/p2p\n", "data_dir (line 1): \"~/p2p\": `~` is not replaced here, write the whole path");
    wrong("data_dir: ''\n", "data_dir (line 1): \"\" is not a path: cannot make an empty path absolute");
    wrong(
        "advertise_addr: [a:1, a:2, a:3, a:4, a:5]\n",
        "advertise_addr (line 1): 5 addresses are over the limit of 4",
    );
    wrong("block: [k5x3]\n", "block (line 1): \"k5x3\": 4 characters where 52 are needed");
    let id = "a".repeat(52);
    wrong(&format!("allow: [{id}]\nblock: [{id}]\n"), &format!("block (line 2): {id} is in `allow` too"));
}

#[test]
fn the_socket_follows_the_data_dir_where_nothing_else_is_known() {
    let loaded = Machine::with_yaml("data_dir: /d\n").load().unwrap();
    assert_eq!(loaded.config.api_addr, ["unix:/d/p2pd.sock".parse().unwrap()]);
    assert_eq!(loaded.config.network_file(), Path::new("/d/network.key"));
}

#[test]
fn what_check_prints_is_a_configuration_that_says_the_same() {
    let yaml = "name: 'a # \"b\" \\ é'\npeers: ['[::1]:7', b:2]\nblock: []\nlog_level: info,p2pd::link=debug\n\
                heartbeat_interval: 90s\nopen_network: false\n";
    let loaded = Machine::with_yaml(yaml).load().unwrap();
    let text = render(&loaded);
    assert!(text.lines().next().unwrap().ends_with("# default"), "{text}");
    let again = Machine::with_yaml(&text).load().unwrap();
    let values = |loaded: &Loaded| loaded.values.iter().map(|each| (each.key, each.value.clone())).collect::<Vec<_>>();
    assert_eq!(values(&again), values(&loaded));
}

#[test]
fn the_example_file_has_every_key_with_its_default() {
    let file = include_str!("../../../example-config.yaml");
    assert!(file == example(), "example-config.yaml is not what the code says:\n{}", example());
    let example = Machine::with_yaml(file).load().unwrap();
    let default = Machine::new().load().unwrap();
    let values = |loaded: &Loaded| loaded.values.iter().map(|each| (each.key, each.value.clone())).collect::<Vec<_>>();
    assert_eq!(values(&example), values(&default));
    for each in &default.values {
        let lines = [format!("\n{}:", each.key), format!("\n# {}:", each.key)];
        assert!(lines.iter().any(|line| file.contains(line)), "{} is missing", each.key);
    }
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(text in "([a-z_]{0,4}|name|peers|\\[|\\]|\\{|\\}|: |- |\n|\"|'|[&*!|>%@#,?~]|\\PC|\t|\\\\u00){0,40}") {
        for name in ["c.yaml", "c.json"] {
            // What comes out is for the other tests: this one is about coming out.
            let _ = file::parse(Path::new(name), &text);
        }
    }

    #[test]
    fn no_value_makes_it_panic(text in "\\PC{0,20}|[-0-9.:smhd\\[\\] ]{0,20}") {
        let mut machine = Machine::new();
        for key in keys::KEYS {
            machine = machine.var(&key.variable(), text.clone());
        }
        let _ = machine.load();
    }
}

#[test]
fn a_network_key_is_made_in_the_data_dir_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Machine::with_yaml(&format!("data_dir: {}\n", dir.path().display())).load().unwrap().config;
    let made = config.networks().unwrap();
    assert!(dir.path().join("network.key").exists());
    assert_eq!(config.networks().unwrap()[0].id, made[0].id);
    config.network_secret_file = Some(dir.path().join("other.key"));
    let error = config.networks().unwrap_err();
    assert_eq!((error.exit_code(), dir.path().join("other.key").exists()), (78, false));
    assert!(error.to_string().contains("other.key\" is missing: put it there, or make a new one with: p2pd keygen "));
    config.open_network = true;
    assert_eq!(*config.networks().unwrap()[0].secret, [0; 32]);
}

#[test]
fn a_new_network_comes_with_the_way_into_it() {
    let invite = |listen_addr: &str| {
        let mut config = Machine::with_yaml("data_dir: /d\n").load().unwrap().config;
        config.listen_addr = listen_addr.to_owned();
        config.invite()
    };
    assert_eq!(invite("0.0.0.0:8080"), "p2pctl invite");
    assert_eq!(invite("[::]:0"), "p2pctl invite");
    for (listen_addr, port) in [("localhost:8080", "8080"), ("127.0.0.1:0", "PORT"), ("[::1]:9", "9")] {
        let only = format!("{listen_addr} is for this machine only, so start here with -l 0.0.0.0:{port}");
        assert_eq!(invite(listen_addr), format!("p2pctl invite; {only}"));
    }
}

#[test]
fn h_12_a_mistyped_ticket_is_a_mistake_that_does_not_repeat_it() {
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let issuer = p2p_mesh::id::PeerId(key.verifying_key().to_bytes());
    let pass = crate::invite::Pass::Bearer(zeroize::Zeroizing::new([4; 32]));
    let ticket = crate::invite::Ticket { network: [3; 16], issuer, addrs: vec!["a:1".parse().unwrap()], pass };
    let text = ticket.to_text(&key).to_string();
    let loaded = Machine::new().var("P2P_JOIN", &text).load().unwrap();
    assert!(loaded.values.iter().any(|value| value.key == "join" && value.value == "(hidden)"));
    assert_eq!(loaded.config.join.unwrap().reveal(), text);
    let cut_off = "P2P_JOIN: the ticket is cut off: its end is missing behind character 60";
    assert_eq!(Machine::new().var("P2P_JOIN", &text[..60]).mistakes(), [cut_off]);
    let machine = Machine::with_yaml(&format!("join: {text}\n"));
    let file = machine.args.config.clone().unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let mistakes = machine.mistakes();
    assert!(mistakes[0].contains("join (line 1): the file can be read by others: chmod 600"), "{mistakes:?}");
}

/// What a file says after it said something else: (key, is it applied) of each change.
#[track_caller]
fn reloaded(before: &str, after: &str) -> (Reloaded, Vec<(&'static str, bool)>) {
    let machine = Machine::with_yaml(before);
    let old = machine.load().unwrap();
    fs::write(machine.args.config.as_ref().unwrap(), after).unwrap();
    let reloaded = reload_in(&machine.args, &machine.surroundings, &old).unwrap();
    let changes = reloaded.changes.iter().map(|change| (change.key, change.is_applied)).collect();
    (reloaded, changes)
}

#[test]
fn what_changed_is_taken_over_or_said_to_need_a_restart() {
    let (reloaded, changes) = reloaded(
        "peers: [a:1]\nlisten_addr: localhost:1\nheartbeat_interval: 60s\n",
        "listen_addr: localhost:2\npeers: [b:1, c:1]\nheartbeat_interval: 1m\n",
    );
    assert_eq!(changes, [("listen_addr", false), ("peers", true)], "60s and 1m are the same");
    let Loaded { config, values, .. } = reloaded.loaded;
    assert_eq!((config.listen_addr.as_str(), config.peers.len()), ("localhost:1", 2));
    let value = |key: &str| values.iter().find(|each| each.key == key).unwrap().value.clone();
    assert_eq!((value("listen_addr").as_str(), value("peers").as_str()), ("localhost:1", "[b:1, c:1]"));
    let change = &reloaded.changes[1];
    assert_eq!((change.old.as_str(), change.new.as_str()), ("[a:1]", "[b:1, c:1]"));
}

#[test]
fn what_needs_a_restart_is_said_again_until_there_was_one() {
    let machine = Machine::with_yaml("durability: batch\n");
    let old = machine.load().unwrap();
    fs::write(machine.args.config.as_ref().unwrap(), "durability: never\n").unwrap();
    let first = reload_in(&machine.args, &machine.surroundings, &old).unwrap();
    let second = reload_in(&machine.args, &machine.surroundings, &first.loaded).unwrap();
    assert_eq!(first.changes.len(), 1);
    assert_eq!(first.changes, second.changes);
}

#[test]
fn every_key_that_is_taken_over_is() {
    // A value that is not the default, for each key that needs no restart.
    let text = "peers: [a:1]\nmax_connections: 7\nheartbeat_interval: 9s\nheartbeat_timeout: 3s\ndedup_cache_size: 9\n\
                log_level: debug\nname: other\nadvertise_addr: [a:2]\nretention_age: 9d\nretention_bytes: 9GiB\n\
                full_mesh_max: 5\ndefault_room: other\nlan_discovery: true\n";
    let id = p2p_mesh::id::PeerId([7; 32]);
    for list in [format!("allow: [{id}]\n"), format!("block: [{id}]\n")] {
        let (reloaded, changes) = reloaded("", &format!("{text}{list}"));
        assert_eq!(changes.len(), 14, "{changes:?}");
        let shown = |config: &Config| keys::KEYS.iter().map(|key| (key.show)(config)).collect::<Vec<_>>();
        let wanted = Machine::with_yaml(&format!("{text}{list}")).load().unwrap().config;
        assert_eq!(shown(&reloaded.loaded.config), shown(&wanted));
    }
    let live = keys::KEYS.iter().filter(|key| key.take.is_some()).count();
    assert_eq!(live, 15, "a new one belongs into this test");
}

#[test]
fn another_secret_is_a_change_that_nobody_is_shown() {
    let line = || format!("network_secret: {}\n", NetworkKey::generate().to_line().reveal().trim());
    let one = line();
    assert_eq!(reloaded(&one, &one).1, []);
    let (reloaded, changes) = reloaded(&one, &line());
    assert_eq!(changes, [("network_secret", false)]);
    assert_eq!((reloaded.changes[0].old.as_str(), reloaded.changes[0].new.as_str()), ("(hidden)", "(hidden)"));
}

#[test]
fn f_09_a_bad_file_or_one_that_is_gone_changes_nothing() {
    let machine = Machine::with_yaml("name: a\n");
    let old = machine.load().unwrap();
    let path = machine.args.config.clone().unwrap();
    fs::write(&path, "nam: a\nheartbeat_interval: 30\n").unwrap();
    let errors = reload_in(&machine.args, &machine.surroundings, &old).unwrap_err();
    assert_eq!(errors.mistakes().len(), 2, "{errors}");
    fs::remove_file(&path).unwrap();
    let gone = reload_in(&machine.args, &machine.surroundings, &old).unwrap_err();
    assert!(gone.mistakes()[0].contains("cannot be read"), "{gone}");
    // The same for a file that nobody named.
    let unnamed = ConfigArgs::default();
    let gone = reload_in(&unnamed, &machine.surroundings, &old).unwrap_err();
    assert!(gone.mistakes()[0].contains("is gone"), "{gone}");
    let pipe = ConfigArgs { config: Some("/dev/null".into()), ..unnamed };
    let pipe = reload_in(&pipe, &machine.surroundings, &old).unwrap_err();
    assert!(pipe.mistakes()[0].contains("cannot be read again"), "{pipe}");
}
