//! A switch in user space between the namespaces of peers, for what the kernel's own devices cannot do everywhere: lines
//! that lose, delay, reorder, double and corrupt packets. Needs root, `/dev/net/tun` and perl.

mod line;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

pub use self::line::{Counts, Trouble};

use self::line::Line;
use crate::chaos::netns::{Netns, ip_addr};

/// Carries packets between the first places of some namespaces, until it is dropped.
#[derive(Debug)]
pub struct Switch {
    line: Arc<Mutex<Line>>,
    /// The thread ends when this is closed.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Gives each of the first `count` places a TUN device instead of its way to the bridge: same name, same address.
    ///
    /// # Errors
    ///
    /// What this machine lacks.
    pub fn open(netns: &Netns, count: usize, trouble: Trouble, seed: u64) -> Result<Self, String> {
        let devices: Vec<File> = (0..count).map(|place| device(netns, place)).collect::<Result<_, _>>()?;
        let (stop, stopped) = UnixStream::pair().map_err(|error| error.to_string())?;
        let line = Arc::new(Mutex::new(Line::new(trouble, seed)));
        let thread = thread::spawn({
            let line = line.clone();
            move || carry(&devices, &stopped, &line)
        });
        Ok(Self { line, stop: Some(stop), thread: Some(thread) })
    }

    /// From now on the lines are this bad. What flies already goes on as it was.
    pub fn set(&self, trouble: Trouble) {
        lock(&self.line).trouble = trouble;
    }

    /// What the lines did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.line).counts()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// A device of a namespace. It goes away when the file is closed.
fn device(netns: &Netns, place: usize) -> Result<File, String> {
    let open = || OpenOptions::new().read(true).write(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(TUN);
    // The device will be where the file was opened, whoever asks for it.
    let file = netns.within(place, open)?.map_err(|error| format!("{TUN}: {error}"))?;
    netns.run(place, &["ip", "link", "del", "eth0"])?;
    attach(&file)?;
    netns.run(place, &["ip", "addr", "add", &format!("{}/24", ip_addr(place)), "dev", "eth0"])?;
    netns.run(place, &["ip", "link", "set", "eth0", "mtu", "1500", "up"])?;
    Ok(file)
}

/// Makes the device of a file.
fn attach(file: &File) -> Result<(), String> {
    // TUNSETIFF with IFF_TUN and IFF_NO_PI. An ioctl is unsafe in Rust, and nothing in this workspace is; but the device
    // belongs to the open file, and a child has the same one.
    let script = "my $ifr = pack('a16 s x22', 'eth0', 0x1001); ioctl(STDIN, 0x400454ca, $ifr) or die $!";
    let stdin = OwnedFd::from(file.try_clone().map_err(|error| error.to_string())?);
    let output = Command::new("perl").args(["-e", script]).stdin(Stdio::from(stdin)).output();
    let output = output.map_err(|error| format!("perl: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("a TUN device: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Passes packets on until `stopped` is closed at its other end.
fn carry(devices: &[File], stopped: &UnixStream, line: &Mutex<Line>) {
    let mut packet = vec![0; PACKET_LEN_MAX];
    loop {
        let mut files: Vec<PollFd> = devices.iter().map(|file| PollFd::new(file, PollFlags::IN)).collect();
        files.push(PollFd::new(stopped, PollFlags::IN));
        let wait = lock(line).next_at().map(|at| at.saturating_duration_since(Instant::now()));
        let wait = wait.map(|wait| Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() });
        // A signal that interrupts it is as good as a packet.
        let _ = poll(&mut files, wait.as_ref());
        if files.last().is_some_and(|stopped| !stopped.revents().is_empty()) {
            return;
        }
        let mut line = lock(line);
        for mut device in devices {
            while let Ok(len) = device.read(&mut packet) {
                if let Some(to) = receiver(&packet[..len]).filter(|to| *to < devices.len()) {
                    line.enter(to, packet[..len].to_vec(), Instant::now());
                }
            }
        }
        while let Some(packet) = line.leave(Instant::now()) {
            // A device that takes nothing loses it, as devices do.
            drop((&devices[packet.to]).write(&packet.bytes));
        }
    }
}

/// The place an IPv4 packet is for.
fn receiver(packet: &[u8]) -> Option<usize> {
    let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let [10, 77, 0, last] = to else { return None };
    (packet[0] >> 4 == 4).then(|| usize::from(last).checked_sub(1)).flatten()
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().expect("nobody panics with it")
}

const TUN: &str = "/dev/net/tun";
/// More than any device here carries.
const PACKET_LEN_MAX: usize = 1 << 16;
