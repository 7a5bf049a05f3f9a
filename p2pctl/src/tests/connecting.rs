//! Where the daemon is looked for, and what is said when it is not there.

use std::os::unix::net::UnixListener;

use super::*;

async fn run_with_socket(socket: &std::path::Path) -> Ran {
    let env = Env { socket: Some(socket.display().to_string()), ..Env::default() };
    Setting { env, ..Setting::nowhere() }.run(&["rooms"]).await
}

#[tokio::test]
async fn c_01_every_way_of_not_being_there_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    drop(UnixListener::bind(path("stale")).unwrap());
    for (name, why) in [
        ("none", "no such file"),
        ("file", "it is no socket"),
        ("stale", "its socket is there, but nobody listens on it"),
    ] {
        let ran = run_with_socket(&path(name)).await;
        assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Unreachable, ""), "{name}");
        let expected = format!(
            "p2pctl: error: connect: no daemon at unix:{} ({why}) (UNREACHABLE)\nhint: start it with: p2pd\n",
            path(name).display()
        );
        assert_eq!(ran.stderr, expected);
    }
}

#[tokio::test]
async fn the_list_of_places_is_tried_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let [runtime_dir, data_dir] = ["run", "data"].map(|name| Some(dir.path().join(name)));
    let env = Env { runtime_dir, data_dir, ..Env::default() };
    let ran = Setting { env: env.clone(), ..Setting::nowhere() }.run(&["rooms"]).await;
    assert_eq!(ran.exit, Exit::Unreachable);
    let first = format!(
        "no daemon at unix:{0}/run/p2p/p2pd.sock (no such file) or unix:{0}/data/p2pd.sock (no such file) or \
         unix:/run/p2pd/p2pd.sock (",
        dir.path().display()
    );
    assert!(ran.stderr.contains(&first), "{}", ran.stderr);
    let fake = Fake::start();
    for place in ["run/p2p", "data"] {
        std::fs::create_dir_all(dir.path().join(place)).unwrap();
        let socket = dir.path().join(place).join("p2pd.sock");
        std::os::unix::fs::symlink(fake.socket(), &socket).unwrap();
        let ran = Setting { env: env.clone(), ..Setting::nowhere() }.run(&["rooms"]).await;
        assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr);
        std::fs::remove_file(socket).unwrap();
    }
}

#[test]
fn a_users_daemon_without_a_runtime_directory_is_looked_for_in_its_data() {
    let dir = |data_home: &str, home: &str| {
        let path = |text: &str| Some(PathBuf::from(text)).filter(|path| path.is_absolute());
        data_dir(path(data_home), path(home)).display().to_string()
    };
    assert_eq!(dir("", "/home/a"), "/home/a/.local/share/p2p");
    assert_eq!(dir("/data", "/home/a"), "/data/p2p");
    assert_eq!(dir("", "/"), "/var/lib/p2pd");
    assert_eq!(dir("", ""), "/var/lib/p2pd");
}

#[tokio::test]
async fn an_option_goes_before_the_variable() {
    let fake = Fake::start();
    let env = Env { socket: Some("/nowhere".to_owned()), ..Env::default() };
    let socket = format!("unix:{}", fake.socket().display());
    let ran = Setting { env, ..Setting::nowhere() }.run(&["rooms", "-s", &socket]).await;
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr);
}

#[tokio::test]
async fn nonsense_is_no_socket_and_others_cannot_be_asked() {
    for socket in ["nonsense", "192.0.2.7:8080"] {
        let ran = run_with_socket(std::path::Path::new(socket)).await;
        assert_eq!(ran.exit, Exit::Usage, "{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_token_file_that_is_not_there_is_denied() {
    let ran = Setting::nowhere().run(&["rooms", "--token-file", "/nowhere/token"]).await;
    assert_eq!(ran.exit, Exit::Denied);
    assert!(ran.stderr.starts_with("p2pctl: error: token file /nowhere/token: "), "{}", ran.stderr);
}

#[tokio::test]
async fn a_daemon_that_starts_late_is_waited_for() {
    let mut fake = Fake::start();
    fake.stop();
    std::fs::remove_file(fake.socket()).unwrap();
    let setting = Setting::at(&fake);
    let start = async {
        tokio::task::yield_now().await;
        fake.restart();
    };
    let (ran, ()) = tokio::join!(setting.run(&["rooms", "--connect-wait", "20s"]), start);
    assert_eq!(ran.exit, Exit::Ok, "{}", ran.stderr);
}

#[tokio::test]
async fn a_silent_daemon_is_not_waited_for_for_ever() {
    let fake = Fake::start();
    fake.state().mute = true;
    let commands =
        [&["rooms"][..], &["send", "x"], &["history"], &["peers"], &["status"], &["watch"], &["daemon", "stop"]];
    let runs = commands.map(|args| {
        let fake = &fake;
        async move { run_at(fake, &[args, &["--timeout", "500ms"]].concat()).await }
    });
    for ran in futures_util::future::join_all(runs).await {
        assert_eq!(ran.exit, Exit::Timeout, "{ran:?}");
        assert!(ran.stderr.contains("no answer in 500ms (TIMEOUT)"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn c_09_a_daemon_of_another_version_is_named() {
    let fake = Fake::start();
    fake.state().old = true;
    let ran = run_at(&fake, &["rooms"]).await;
    assert_eq!(ran.exit, Exit::Failed);
    let expected = format!(
        "p2pctl: error: rooms: the daemon does not know this request: p2pctl is {}, p2pd is 9.9.9 (UNIMPLEMENTED)\n\
         hint: install the same version of both\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(ran.stderr, expected);
}

#[tokio::test]
async fn the_daemon_s_version_is_shown_where_there_is_one() {
    let fake = Fake::start();
    let own = format!("p2pctl {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run_at(&fake, &["version"]).await.stdout, format!("{own}p2pd 9.9.9\n"));
    let alone = Setting::nowhere().run(&["version", "-s", "/nowhere/sock"]).await;
    assert_eq!((alone.exit, alone.stdout, alone.stderr.as_str()), (Exit::Ok, own, ""));
}

#[test]
fn a_machine_without_a_database_of_zones_is_in_utc_unless_it_says_another() {
    let zone = |said: Option<&str>, link: Option<&str>| {
        zone(TimeZone::unknown(), said.map(str::to_owned), link.map(PathBuf::from)).is_unknown()
    };
    for said in ["UTC", "UTC0", "", "Etc/UTC", ":UTC"] {
        assert!(!zone(Some(said), Some("/usr/share/zoneinfo/Europe/Berlin")), "{said}");
    }
    assert!(!zone(None, None) && !zone(None, Some("/usr/share/zoneinfo/Etc/UTC")));
    assert!(zone(Some("Europe/Berlin"), None) && zone(None, Some("../usr/share/zoneinfo/Asia/Tokyo")));
    assert_eq!(
        crate::zone(TimeZone::UTC, Some("Europe/Berlin".to_owned()), None),
        TimeZone::UTC,
        "what is found stays"
    );
}
