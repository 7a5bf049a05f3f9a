//! Telling the service manager how we are: systemd's `sd_notify`, which is a few words in a datagram.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use crate::paths::Surroundings;

/// The way to the service manager. Where there is none, nothing is told. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    socket: Option<Arc<UnixDatagram>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The one that `NOTIFY_SOCKET` names, and how often `WATCHDOG_USEC` wants to hear that we are alive.
    ///
    /// # Errors
    ///
    /// There is one and it cannot be reached, in a sentence.
    pub fn of_service(surroundings: &Surroundings) -> Result<Self, String> {
        let Some(name) = surroundings.variable("NOTIFY_SOCKET") else { return Ok(Self::default()) };
        let socket = connect(name).map_err(|why| format!("NOTIFY_SOCKET={name:?}: {why}"))?;
        Ok(Self { socket: Some(Arc::new(socket)), watchdog: watchdog(surroundings, std::process::id()) })
    }

    /// Somebody listens.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.socket.is_some()
    }

    /// The longest silence before we are taken for dead; none where nobody watches.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Everything is open, or what changed is in force.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// What people are told who ask how we are: one line.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// The configuration is read again; `ready` follows.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let us = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={us}"));
    }

    /// We are on our way out.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Stopping");
    }

    /// We are alive.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        // A manager that is gone or busy is no reason to stop, and a later line says the same.
        if let Err(error) = socket.send(state.as_bytes()) {
            tracing::debug!(%error, "service_manager_not_told");
        }
    }
}

/// A name that begins with `@` is none of a file.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let addr = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&addr)?;
    // A manager whose queue is full may make us wait, but not for long: the loop that tells it serves everybody.
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    Ok(socket)
}

/// `WATCHDOG_PID` says for whom it is meant, because variables are inherited.
fn watchdog(surroundings: &Surroundings, pid: u32) -> Option<Duration> {
    let number = |name| surroundings.variable(name)?.to_str()?.parse::<u64>().ok();
    let is_ours = surroundings.variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(pid.into());
    number("WATCHDOG_USEC").filter(|us| is_ours && *us > 0).map(Duration::from_micros)
}

const SEND_TIMEOUT: Duration = Duration::from_millis(200);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(env: &[(&str, &str)]) -> Surroundings {
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Surroundings { env, ..Surroundings::default() }
    }

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        let asked = |env: &[(&str, &str)]| watchdog(&with(env), 7);
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[("WATCHDOG_USEC", "3000000")]), Some(Duration::from_secs(3)));
        assert_eq!(asked(&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "7")]), Some(Duration::from_secs(3)));
        assert_eq!(asked(&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "8")]), None);
        assert_eq!(asked(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(asked(&[("WATCHDOG_USEC", "soon")]), None);
    }

    #[test]
    fn without_a_manager_nothing_is_told_and_a_wrong_name_is_said() {
        assert!(!Notifier::of_service(&with(&[])).unwrap().is_on());
        let error = Notifier::of_service(&with(&[("NOTIFY_SOCKET", "vsock:2:1234")])).unwrap_err();
        assert!(error.contains("vsock:2:1234"), "{error}");
        Notifier::of_service(&with(&[("NOTIFY_SOCKET", "/nowhere/at/all")])).unwrap_err();
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _silent = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::of_service(&with(&[("NOTIFY_SOCKET", path.to_str().unwrap())])).unwrap();
        (0..20).for_each(|_| notifier.alive());
    }
}
