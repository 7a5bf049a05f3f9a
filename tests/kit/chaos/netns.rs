//! The network as namespaces of the kernel, one a peer, and a bridge in one more. Needs root; the network of the machine
//! itself is never touched.

use std::fmt::Write;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::ways::{PEERS, Way, Ways};

/// The namespaces of one run. They are removed when this is dropped.
#[derive(Debug)]
pub struct Netns {
    prefix: String,
    ways: Ways,
}

impl Netns {
    /// Makes the namespaces, each linked to the bridge.
    ///
    /// # Errors
    ///
    /// What this machine lacks: a right, a program or a part of the kernel.
    pub fn open() -> Result<Self, String> {
        remove_left_behind();
        let prefix = format!("{PREFIX}{}-{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        // From here on it is dropped, whatever fails.
        let netns = Self { prefix, ways: Ways::default() };
        let hub = netns.hub();
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "br0", "up"])?;
        for peer in 0..PEERS {
            netns.add(peer)?;
            // Says at once whether the rules that are needed later can be set.
            netns.restore(peer, &Ways::alone(peer, Way::Refuse))?;
            netns.restore(peer, &Ways::default())?;
        }
        Ok(netns)
    }

    /// What a program is started by, to live where a peer lives.
    #[must_use]
    pub fn under(&self, peer: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.name(peer)].map(str::to_owned).into()
    }

    /// Where a peer listens.
    #[must_use]
    pub fn addr(peer: usize) -> String {
        format!("{}:8080", ip_addr(peer))
    }

    /// Makes the ways as they should be.
    ///
    /// # Errors
    ///
    /// The rules cannot be set.
    pub fn apply(&mut self, ways: &Ways) -> Result<(), String> {
        for to in 0..PEERS {
            if (0..PEERS).any(|from| self.ways.between(from, to) != ways.between(from, to)) {
                self.restore(to, ways)?;
            }
        }
        self.ways = *ways;
        Ok(())
    }

    /// Everything from and to a peer shares this many bits a second; none for no limit.
    ///
    /// # Errors
    ///
    /// The limit cannot be set.
    pub fn slow(&self, peer: usize, bits: Option<u32>) -> Result<(), String> {
        for (name, device) in [(self.name(peer), "eth0".to_owned()), (self.hub(), format!("v{peer}"))] {
            // There may be none to remove.
            drop(run(Command::new("tc").args(["-n", &name, "qdisc", "del", "dev", &device, "root"]), ""));
            let Some(bits) = bits else { continue };
            let rate = format!("{bits}bit");
            let limit = ["tbf", "rate", &rate, "burst", "8kb", "latency", "400ms"];
            run(Command::new("tc").args(["-n", &name, "qdisc", "add", "dev", &device, "root"]).args(limit), "")?;
        }
        Ok(())
    }

    /// Ends every TCP connection between two peers at this moment, wherever in a frame that is.
    ///
    /// # Errors
    ///
    /// The kernel cannot do it.
    pub fn reset(&self, one: usize, two: usize) -> Result<(), String> {
        self.run(one, &["ss", "-tKH", "dst", &ip_addr(two)]).map(drop)
    }

    /// Runs a program of the system where a peer lives, and gives what it prints.
    ///
    /// # Errors
    ///
    /// It is not there, or fails.
    pub fn run(&self, peer: usize, args: &[&str]) -> Result<String, String> {
        self.within(peer, || output(Command::new(args[0]).args(&args[1..]), ""))?
    }

    /// Does something on a thread that lives where a peer lives. Sockets that it opens stay there.
    ///
    /// # Errors
    ///
    /// The namespace cannot be entered.
    pub fn within<T: Send>(&self, peer: usize, work: impl FnOnce() -> T + Send) -> Result<T, String> {
        let path = format!("/run/netns/{}", self.name(peer));
        let file = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        let enter = || {
            let entered = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network));
            entered.map(|()| work()).map_err(|error| format!("{path}: {error}"))
        };
        // The namespace belongs to the thread, so it ends with it.
        thread::scope(|scope| scope.spawn(enter).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// What the names of all its namespaces begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{}-", self.prefix)
    }

    fn name(&self, peer: usize) -> String {
        format!("{}-{peer}", self.prefix)
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    fn add(&self, peer: usize) -> Result<(), String> {
        let (name, hub, device) = (self.name(peer), self.hub(), format!("v{peer}"));
        ip(&["netns", "add", &name])?;
        ip(&["-n", &name, "link", "add", "eth0", "type", "veth", "peer", "name", &device, "netns", &hub])?;
        ip(&["-n", &hub, "link", "set", &device, "master", "br0", "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{}/24", ip_addr(peer)), "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])
    }

    /// All rules of one namespace at once: what arrives there from whom.
    fn restore(&self, to: usize, ways: &Ways) -> Result<(), String> {
        let mut rules = "*filter\n:INPUT ACCEPT [0:0]\n".to_owned();
        for from in 0..PEERS {
            let addr = ip_addr(from);
            let rule = match ways.between(from, to) {
                Way::Open => continue,
                Way::Hole => format!("-A INPUT -s {addr} -j DROP"),
                Way::Refuse => format!("-A INPUT -p tcp -s {addr} -j REJECT --reject-with tcp-reset"),
            };
            writeln!(rules, "{rule}").expect("a text takes everything");
        }
        rules.push_str("COMMIT\n");
        self.within(to, || run(&mut Command::new("iptables-restore"), &rules))?
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        for name in list().iter().filter(|name| name.starts_with(&self.prefix())) {
            drop(ip(&["netns", "del", name]));
        }
    }
}

/// The names of all namespaces of this machine.
#[must_use]
pub fn list() -> Vec<String> {
    let output = Command::new("ip").args(["netns", "list"]).env("PATH", PATH).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// A run that was killed could not remove its namespaces.
fn remove_left_behind() {
    for name in list() {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
            drop(ip(&["netns", "del", &name]));
        }
    }
}

pub(crate) fn ip_addr(peer: usize) -> String {
    format!("10.77.0.{}", peer + 1)
}

fn ip(args: &[&str]) -> Result<(), String> {
    run(Command::new("ip").args(args), "")
}

fn run(command: &mut Command, stdin: &str) -> Result<(), String> {
    output(command, stdin).map(drop)
}

fn output(command: &mut Command, stdin: &str) -> Result<String, String> {
    command.env("PATH", PATH).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let failed = |why: String| format!("{shown}: {why}");
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    // A program that does not read its input says by itself why.
    drop(child.stdin.take().map(|mut pipe| pipe.write_all(stdin.as_bytes())));
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    let why = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(why.trim().to_owned()))
}

const PREFIX: &str = "p2pchaos";
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Several runs may live in one process.
static RUNS: AtomicUsize = AtomicUsize::new(0);
