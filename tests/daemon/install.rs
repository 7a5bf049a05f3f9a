//! What an administrator installs: programs, manual, completions, the service, a Debian package.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use p2p_tests::daemon::{Network, Options};
use p2p_tests::program::{Output, PATIENCE, eventually, program, run};
use p2p_tests::skip::or_skip;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs `make` with the programs that the tests use.
#[track_caller]
fn make(target: &str, dest: &Path, more: &[String]) -> Output {
    let p2pd = program("p2pd", dest);
    let bin = Path::new(p2pd.get_program()).parent().unwrap();
    let mut command = Command::new("make");
    command.current_dir(top()).args(["-s", target, "PREFIX=/usr"]).args(more);
    command.arg(format!("BIN_DIR={}", bin.display())).arg(format!("DESTDIR={}", dest.display()));
    run(&mut command, b"")
}

/// Every file below a folder, and its mode.
fn files(dir: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let path = entry.path().strip_prefix(dir).unwrap().display().to_string();
            found.push((path, entry.metadata().unwrap().permissions().mode() & 0o777));
        }
    }
    found.sort();
    found
}

/// A program of the machine, or why it is not there.
fn tool(name: &str) -> Result<Command, String> {
    let found = ["/usr/bin", "/bin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(name).exists());
    if found { Ok(Command::new(name)) } else { Err(format!("{name} is not installed")) }
}

#[test]
fn an_installation_is_whole_keeps_a_configuration_and_goes_away_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(make("install", dir.path(), &[]).ok());
    let installed = files(dir.path());
    for (path, mode) in [
        ("usr/bin/p2pd", 0o755),
        ("usr/bin/p2pctl", 0o755),
        ("usr/lib/systemd/system/p2pd.service", 0o644),
        ("usr/lib/sysusers.d/p2pd.conf", 0o644),
        ("usr/share/man/man8/p2pd.8", 0o644),
        ("usr/share/man/man5/p2pd.yaml.5", 0o644),
        ("usr/share/man/man1/p2pctl.1", 0o644),
        ("usr/share/man/man1/p2pctl-daemon-log-level.1", 0o644),
        ("usr/share/bash-completion/completions/p2pctl", 0o644),
        ("usr/share/zsh/site-functions/_p2pd", 0o644),
        ("usr/share/fish/vendor_completions.d/p2pctl.fish", 0o644),
        ("etc/p2pd/config.yaml", 0o644),
    ] {
        assert!(installed.contains(&(path.to_owned(), mode)), "{path} {mode:o} is not in {installed:?}");
    }
    let config = dir.path().join("etc/p2pd/config.yaml");
    let checked = run(program("p2pd", dir.path()).arg("check").arg("-c").arg(&config), b"");
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "the configuration is a good one");

    fs::write(&config, "name: mine\n").unwrap();
    drop(make("install", dir.path(), &[]).ok());
    assert_eq!(fs::read_to_string(&config).unwrap(), "name: mine\n");
    let left = make("uninstall", dir.path(), &[]).ok();
    assert!(left.contains("etc/p2pd/config.yaml"), "{left}");
    assert_eq!(files(dir.path()), [("etc/p2pd/config.yaml".to_owned(), 0o644)]);
}

#[test]
fn the_unit_stands_where_the_programs_are_and_systemd_finds_nothing_wrong_with_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(make("install", dir.path(), &["PREFIX=/opt/p2p".to_owned()]).ok());
    let unit = fs::read_to_string(dir.path().join("opt/p2p/lib/systemd/system/p2pd.service")).unwrap();
    assert!(unit.contains("ExecStart=/opt/p2p/bin/p2pd run\n") && !unit.contains("/usr/bin/p2pd"), "{unit}");

    let Some(mut verify) = or_skip(tool("systemd-analyze")) else { return };
    let here = unit.replace("/opt/p2p", &dir.path().join("opt/p2p").display().to_string());
    let path = dir.path().join("p2pd.service");
    fs::write(&path, here).unwrap();
    let verified = run(verify.args(["verify", "--man=no"]).arg(&path), b"");
    assert_eq!((verified.code, verified.stderr.as_str()), (Some(0), ""), "{verified:?}");
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", "--threshold=20"]).arg(&path);
    let security = run(&mut security, b"");
    assert_eq!(security.code, Some(0), "more exposed than 2.0:\n{}", security.stdout);
}

#[test]
fn what_the_unit_asks_of_p2pd_is_something_that_it_does() {
    let unit = fs::read_to_string(top().join("p2pd/systemd/p2pd.service")).unwrap();
    let network = Network::new();
    let commands: Vec<&str> =
        unit.split("/usr/bin/p2pd ").skip(1).filter_map(|rest| rest.split_whitespace().next()).collect();
    assert_eq!(commands, ["run", "check"]);
    for command in commands {
        drop(run(network.p2pd().args([command, "--help"]), b"").ok());
    }
    // A small system has no more than these: `/bin/kill` is in a package of its own.
    let started = unit.lines().filter_map(|line| line.strip_prefix("Exec").and_then(|line| line.split_once('=')));
    let started: BTreeSet<&str> = started.filter_map(|(_, line)| line.split(' ').next()).collect();
    assert_eq!(started, BTreeSet::from(["/bin/sh", "/usr/bin/p2pd"]));
}

/// The calls of a group of systemd's, with the groups in it.
fn calls(group: &str) -> BTreeSet<String> {
    let output = run(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager", group]), b"").ok();
    let names = output.lines().skip(1).map(str::trim).filter(|line| !line.starts_with('#') && !line.is_empty());
    names.flat_map(|name| if name.starts_with('@') { calls(name) } else { BTreeSet::from([name.to_owned()]) }).collect()
}

#[test]
fn the_unit_lets_every_call_of_the_system_through_that_p2pd_makes() {
    let unit = fs::read_to_string(top().join("p2pd/systemd/p2pd.service")).unwrap();
    let Some(_) = or_skip(tool("systemd-analyze").and(tool("strace"))) else { return };
    let mut allowed = BTreeSet::new();
    for groups in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match groups.strip_prefix('~') {
            None => allowed.extend(groups.split(' ').flat_map(calls)),
            Some(groups) => {
                allowed = allowed.difference(&groups.split(' ').flat_map(calls).collect()).cloned().collect()
            }
        }
    }
    allowed.extend(calls("@default"));
    let network = Network::new();
    let trace = network.dir().join("trace");
    let under = ["strace", "-D", "-f", "-q", "-o", &trace.display().to_string()].map(str::to_owned).into();
    let mut peer = network.start_with(Options { name: "one".into(), under, ..Options::default() });
    let other = network.start("two", &[&peer]);
    peer.wait_for_peers(1);
    drop(other.p2pctl(&["send", "hello"]).ok());
    drop(peer.p2pctl(&["send", "-w", "1", "hello too"]).ok());
    for command in [&["daemon", "reload"][..], &["search", "hello"], &["sync", "--now"], &["daemon", "stop"]] {
        drop(peer.p2pctl(command).ok());
    }
    assert_eq!(peer.wait_exit().code(), Some(0));
    let mut used = BTreeSet::new();
    eventually(PATIENCE, "the trace is whole", || {
        let text = fs::read_to_string(&trace).unwrap_or_default();
        used = text.lines().filter_map(call_of).map(str::to_owned).collect();
        text.contains("+++ exited with 0 +++")
    });
    assert!(used.len() > 20, "{used:?}");
    // Its own start, before the filter holds; and what the database does only for root, who the service is not.
    ["execve", "fchown"].iter().for_each(|call| {
        used.remove(*call);
    });
    let refused: Vec<&String> = used.difference(&allowed).collect();
    assert!(refused.is_empty(), "the unit refuses {refused:?}");
}

/// `fsync` of `1234  fsync(7) = 0`.
fn call_of(line: &str) -> Option<&str> {
    let call = line.split_whitespace().nth(1)?.split('(').next()?;
    call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some(call)
}

#[test]
fn the_manual_is_right_in_the_eyes_of_groff() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["p2pd", "p2pctl"] {
        drop(run(program(name, dir.path()).arg("man").arg(dir.path()), b"").ok());
    }
    let pages = files(dir.path());
    assert!(pages.len() > 30, "{pages:?}");
    let Some(_) = or_skip(tool("groff")) else { return };
    for (page, _) in pages {
        let mut groff = Command::new("groff");
        let warnings = run(groff.args(["-man", "-ww", "-z", "-Tutf8"]).arg(dir.path().join(&page)), b"");
        assert_eq!((warnings.code, warnings.stderr.as_str()), (Some(0), ""), "{page}");
    }
}

#[test]
fn completions_are_scripts_that_their_shells_read() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["p2pd", "p2pctl"] {
        for shell in ["bash", "zsh", "fish"] {
            let script = run(program(name, dir.path()).args(["completions", shell]), b"").ok();
            assert!(script.contains(name), "{shell}: {script}");
            let Ok(mut command) = tool(shell) else { continue };
            let mut child = command.arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            let checked = child.wait_with_output().unwrap();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        }
    }
}

#[test]
fn a_debian_package_says_what_it_needs_and_owns_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_) = or_skip(tool("dpkg-deb").and(tool("dpkg"))) else { return };
    // Programs with all that a debugger wants are large, and packing them well takes a minute.
    let options = [format!("DEB_DIR={}", dir.path().display()), "DEB_COMPRESSION=none".to_owned()];
    let deb = make("deb", dir.path(), &options).ok();
    let deb = Path::new(deb.trim());
    let name = deb.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with(&format!("p2pd_{}_", env!("CARGO_PKG_VERSION"))), "{name}");
    let field = |name: &str| run(Command::new("dpkg-deb").arg("-f").arg(deb).arg(name), b"").ok();
    assert_eq!((field("Package").trim(), field("Version").trim()), ("p2pd", env!("CARGO_PKG_VERSION")));
    assert!(field("Depends").starts_with("libc6 (>= 2."), "{}", field("Depends"));
    let out = dir.path().join("out");
    drop(run(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&out), b"").ok());
    assert_eq!(fs::read_to_string(out.join("DEBIAN/conffiles")).unwrap(), "/etc/p2pd/config.yaml\n");
    for script in ["postinst", "prerm", "postrm"] {
        drop(run(Command::new("sh").arg("-n").arg(out.join("DEBIAN").join(script)), b"").ok());
    }
    drop(run(Command::new("md5sum").args(["-c", "--quiet", "DEBIAN/md5sums"]).current_dir(&out), b"").ok());
    let paths: Vec<String> = files(&out).into_iter().map(|(path, _)| path).collect();
    for path in ["usr/bin/p2pd", "usr/share/man/man8/p2pd.8.gz", "usr/share/zsh/vendor-completions/_p2pctl"] {
        assert!(paths.iter().any(|have| have == path), "{path} is not in {paths:?}");
    }
    let owners = run(Command::new("dpkg-deb").arg("-c").arg(deb), b"").ok();
    assert!(owners.lines().all(|line| line.contains("root/root")), "{owners}");
}
