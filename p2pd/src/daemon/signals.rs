//! What the system's signals mean here.

use tokio::signal::unix::{Signal as Source, SignalKind, signal};

use super::DaemonError;

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signal {
    /// TERM: stop.
    Term,
    /// INT: stop.
    Int,
    /// HUP: read the configuration again and dial at once.
    Hangup,
    /// USR1: write the status to the log.
    Status,
}

/// Every signal that is listened to. Those that come between two looks are kept.
pub(super) struct Signals {
    term: Source,
    int: Source,
    hangup: Source,
    status: Source,
}

impl Signals {
    pub(super) fn open() -> Result<Self, DaemonError> {
        let open = |kind| signal(kind).map_err(|why| DaemonError::System { what: "signals".into(), why });
        Ok(Self {
            term: open(SignalKind::terminate())?,
            int: open(SignalKind::interrupt())?,
            hangup: open(SignalKind::hangup())?,
            status: open(SignalKind::user_defined1())?,
        })
    }

    pub(super) async fn recv(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.term.recv() => Signal::Term,
            _ = self.int.recv() => Signal::Int,
            _ = self.hangup.recv() => Signal::Hangup,
            _ = self.status.recv() => Signal::Status,
        }
    }

    /// The next one that ends a daemon.
    pub(super) async fn recv_stop(&mut self) -> Signal {
        loop {
            match self.recv().await {
                stop @ (Signal::Term | Signal::Int) => return stop,
                Signal::Hangup | Signal::Status => (),
            }
        }
    }
}

impl Signal {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Hangup => "HUP",
            Self::Status => "USR1",
        }
    }

    /// What a shell says of a process that it ended.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Int => 130,
            Self::Status => 138,
            Self::Term => 143,
        }
    }
}
