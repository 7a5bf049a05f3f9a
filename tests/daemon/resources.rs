//! A machine that gives little: descriptors, memory, threads. And runs without number that leave nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use p2p_mesh::id::{Epoch, FeedId, Hash, Instance, Seq};
use p2p_mesh::wire::message::{Have, Message, Want};
use p2p_proto::v1::Health;
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::member::Member;
use p2p_tests::program::{PATIENCE, eventually, run};
use p2p_tests::skip::or_skip;
use p2pd::network::{self, NetworkKey};

use super::attacked::rss_bytes;
use super::check_equal;

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn network_key(network: &Network) -> NetworkKey {
    network::load(&network.dir().join("network.key")).unwrap().remove(0)
}

fn new_key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&rand::random())
}

/// A new member, if there is a place for it.
#[track_caller]
fn join(peer: &TestPeer, network: &NetworkKey) -> Option<Member> {
    let mut member = Member::try_knock(&peer.addr(), network, new_key()).ok()?;
    let hello = member.hello();
    member.send(&Message::Hello(Box::new(hello)));
    member.is_heard().then_some(member)
}

#[test]
fn p_01_links_leave_descriptors_for_the_store_and_the_api_and_come_back_when_there_are_enough() {
    let network = Network::new();
    let wrapper = words("prlimit --nofile=32");
    let one = network.start_with(Options { name: "one".into(), under: wrapper, ..Options::default() });
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    assert_eq!(one.status().problems, Vec::<String>::new());

    let key = network_key(&network);
    let members: Vec<Member> = (0..64).map_while(|_| join(&one, &key)).collect();
    assert!((1..64).contains(&members.len()), "{} have a place", members.len());
    let status = one.status();
    assert_eq!(status.health(), Health::Degraded);
    assert!(status.problems.iter().any(|problem| problem.contains("too many open files")), "{:?}", status.problems);
    // Everything but new links goes on.
    drop(one.p2pctl(&["send", "one still talks"]).ok());
    drop(two.p2pctl(&["send", "two is still heard"]).ok());
    check_equal(&[&one, &two], 2);
    let knocks = (0..50).filter(|_| Member::try_knock(&one.addr(), &key, new_key()).is_err());
    assert_eq!(knocks.count(), 50);
    let lines = one.log().lines().filter(|line| line.contains("WARN") && line.contains("too many open files")).count();
    assert!((1..=10).contains(&lines), "{lines} lines");
    let refused = one.status().counters["links_refused_total"];
    assert!(refused >= 51, "{refused} were counted");

    drop(members);
    eventually(PATIENCE, "there is no problem any more", || one.status().problems.is_empty());
    let three = network.start("three", &[&one]);
    three.wait_for_peers(2);
    check_equal(&[&one, &two, &three], 2);
}

/// A group of processes that may have so much memory together, and no more. Where one asks for more, the kernel kills.
struct MemoryGroup {
    dir: PathBuf,
    is_second_version: bool,
}

impl MemoryGroup {
    fn new(name: &str, bytes: u64) -> Result<Self, String> {
        let (first, second) = (Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup"));
        let is_second_version = second.join("cgroup.controllers").exists();
        let dir = if is_second_version { second } else { first }.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let group = Self { dir, is_second_version };
        let limit = if is_second_version { "memory.max" } else { "memory.limit_in_bytes" };
        let limit = group.dir.join(limit);
        fs::write(&limit, bytes.to_string()).map_err(|error| format!("{}: {error}", limit.display()))?;
        Ok(group)
    }

    /// What makes a program start in this group.
    fn wrapper(&self) -> Vec<String> {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.dir.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }

    /// The most that it ever had.
    fn peak_bytes(&self) -> Option<u64> {
        let file = if self.is_second_version { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.dir.join(file)).ok()?.trim().parse().ok()
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Processes that were killed are gone a moment later.
        eventually(PATIENCE, "the group is empty", || fs::remove_dir(&self.dir).is_ok());
    }
}

/// All that one member can make us keep.
fn greed(member: &mut Member, said: FeedId) {
    let unknown = |_| Have { feed: FeedId(rand::random()), head: Seq(1_000), floor: Seq(1) };
    member.send(&Message::Have((0..512).map(unknown).collect()));
    let text = "x".repeat(16_000);
    for n in 0..5 {
        let beyond = member.write_run(Seq(100 + 10 * n), Some(Hash([1; 32])), &[text.as_str(); 4]);
        member.send_envelopes(vec![beyond]);
    }
    for _ in 0..100 {
        member.send(&Message::Want(Want { feed: said, ranges: vec![(Seq(1), None)], push: true }));
    }
    // Most of a frame, and never its end.
    member.send_plain(&[&131_072u32.to_be_bytes()[..], &vec![b' '; 131_000]].concat());
}

#[test]
fn p_02_a_hundred_greedy_members_do_not_make_a_peer_need_more_than_64_mib() {
    // Where there are no such groups, what is resident must do.
    let group = or_skip(MemoryGroup::new("p2pd-test", MEMORY_BYTES));
    let network = Network::new();
    let wrapper = group.as_ref().map(MemoryGroup::wrapper).unwrap_or_default();
    let flags = words("--log-level info");
    let one = network.start_with(Options { name: "one".into(), under: wrapper, flags, ..Options::default() });
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    let lines: String = (0..200).map(|number| format!("{number} {}\n", "z".repeat(2_000))).collect();
    drop(one.p2pctl_with(&["send", "-l", "-q"], lines.as_bytes()).ok());
    let epoch = one.posts()[0].id.clone().unwrap().epoch;
    let said = Instance { id: one.id().parse().unwrap(), epoch: Epoch(epoch) }.feed_id();
    let (since_us, rss) = (two.peers()[0].since_us, rss_bytes(&one));

    let key = network_key(&network);
    let mut members: Vec<Member> = (0..100).filter_map(|_| join(&one, &key)).collect();
    assert_eq!(members.len(), 49, "so many links there may be, and one is taken");
    members.iter_mut().for_each(|member| greed(member, said));
    for number in 0..5 {
        drop(two.p2pctl(&["send", &format!("still here {number}")]).ok());
    }
    eventually(PATIENCE, "it hears who is honest", || one.status().posts >= 205);
    let grown = rss_bytes(&one).saturating_sub(rss);
    println!("grew by {} KiB, peak {:?} bytes", grown >> 10, group.as_ref().and_then(MemoryGroup::peak_bytes));
    assert!(grown < MEMORY_BYTES, "it grew by {grown} bytes");
    drop(members);
    check_equal(&[&one, &two], 205);
    let links: Vec<i64> = two.peers().iter().filter(|peer| peer.id == one.id()).map(|peer| peer.since_us).collect();
    assert_eq!(links, [since_us], "the honest link was not lost");
    // Before its group.
    drop(one);
}

/// Whose only processes are those of one test.
const LONELY_USER: u32 = 54_321;

/// As that user.
fn as_lonely_user() -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={LONELY_USER}"), format!("--regid={LONELY_USER}"), "--clear-groups".to_owned()]);
    command
}

/// As that user, who may have so many threads.
fn with_threads(threads: &str) -> Vec<String> {
    words(&format!("prlimit --nproc={threads} setpriv --reuid={LONELY_USER} --regid={LONELY_USER} --clear-groups"))
}

/// A network with a folder and a copy of its key for that user, where this machine has the means.
fn lonely_network() -> Result<(Network, PathBuf, MutexGuard<'static, ()>), String> {
    // One test at a time is that user: its limit counts the processes of all.
    static LONELY: Mutex<()> = Mutex::new(());
    let alone = LONELY.lock().unwrap_or_else(PoisonError::into_inner);
    if !rustix::process::geteuid().is_root() {
        return Err("only root can be somebody else".to_owned());
    }
    let network = Network::new();
    let (dir, key) = (network.dir().join("one"), network.dir().join("one/network.key"));
    fs::set_permissions(network.dir(), fs::Permissions::from_mode(0o711)).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::copy(network.dir().join("network.key"), &key).unwrap();
    [&dir, &key].iter().for_each(|path| chown(path, Some(LONELY_USER), None).unwrap());
    match as_lonely_user().arg(network.p2pd().get_program()).arg("--version").output() {
        Ok(output) if output.status.success() => Ok((network, key, alone)),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("setpriv: {error}")),
    }
}

#[test]
fn p_03_a_daemon_that_gets_no_thread_says_so_and_does_not_start() {
    let Some((network, key, _alone)) = or_skip(lonely_network()) else { return };
    let wrapper = with_threads("1:64");
    let (program, args) = wrapper.split_first().unwrap();
    let mut command = Command::new(program);
    command.args(args).arg(network.p2pd().get_program()).args(["run", "-l", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(network.dir().join("one/data"));
    command.arg("--api").arg(format!("unix:{}", network.dir().join("one/p2pd.sock").display()));
    command.env("P2P_NETWORK_SECRET_FILE", key);
    let output = run(&mut command, b"");
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("p2pd: error: cannot start the thread of the store: "), "{}", output.stderr);
}

#[test]
fn p_03_a_daemon_that_gets_no_more_threads_goes_on_and_resolves_names_later() {
    let Some((network, key, _alone)) = or_skip(lonely_network()) else { return };
    let (wrapper, network_key) = (with_threads("64:64"), Some(key));
    let one = network.start_with(Options { name: "one".into(), under: wrapper, network_key, ..Options::default() });
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    let limit = |threads: &str| {
        // Its own user may, where not even root may for others.
        let mut prlimit = as_lonely_user();
        prlimit.arg("prlimit").arg(format!("--pid={}", one.pid())).arg(format!("--nproc={threads}"));
        assert!(prlimit.status().unwrap().success());
    };
    limit("1:64");
    let alone = network.start("alone", &[]);
    let name = alone.addr().replace("127.0.0.1", "localhost");
    drop(one.p2pctl(&["peers", "add", &name]).ok());
    let error = || one.peers().iter().find(|peer| peer.address == name).map(|peer| peer.last_error.clone());
    eventually(PATIENCE, "the dial failed", || error().is_some_and(|error| !error.is_empty()));
    drop(one.p2pctl(&["send", "one goes on"]).ok());
    check_equal(&[&one, &two], 1);
    limit("64:64");
    eventually(PATIENCE, "the name is resolved", || {
        drop(one.p2pctl(&["peers", "reconnect"]));
        alone.status().peers_up >= 1
    });
    check_equal(&[&one, &two, &alone], 1);
}

/// Every file below, and how many bytes each has.
fn files(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files.extend(self::files(&entry.path()));
        } else {
            files.insert(entry.path(), entry.metadata().unwrap().len());
        }
    }
    files
}

#[test]
fn p_06_a_hundred_runs_leave_nothing_behind() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let mut two = network.start("two", &[&one]);
    drop(two.p2pctl(&["send", "hello"]).ok());
    two.wait_for_peers(1);
    assert!(two.stop().success());
    let dir = two.data_dir().parent().unwrap().to_owned();
    // What it logs is no state.
    let state = || files(&dir).into_iter().filter(|(path, _)| !path.ends_with("log")).collect::<BTreeMap<_, _>>();
    let before = state();
    for run in 1..=RUNS {
        two.restart();
        if run % 2 == 0 {
            assert!(two.stop().success());
        }
    }
    let after = state();
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    let grown = after.values().sum::<u64>().saturating_sub(before.values().sum());
    println!("{RUNS} runs left {grown} bytes");
    assert!(grown <= 100 * RUNS, "{grown} bytes are left of {RUNS} runs");
    let status = one.status();
    assert_eq!((status.feeds, status.posts, status.peers_known), (1, 1, 1));
}

const MEMORY_BYTES: u64 = 64 << 20;
const RUNS: u64 = 100;
