//! How a run ends: exit codes, and errors in one shape for people and programs.

use std::io::{self, Write};

use p2p_proto::error::{Code, Error};
use tonic::Status;

use crate::output::Format;
use crate::output::document::{Document, Fields};
use crate::output::escape;

/// What the process returns to whoever started it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// It was done.
    Ok = 0,
    /// It did not work, or the daemon is not well.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// No daemon answers.
    Unreachable = 3,
    /// The socket or the token is not ours.
    Denied = 4,
    /// No such peer, room or post.
    NotFound = 5,
    /// The content was refused.
    Rejected = 6,
    /// It took too long.
    Timeout = 7,
    /// Stored, but not delivered as far as was asked.
    Partial = 8,
    /// An ambiguous peer, or a key used for something else.
    Conflict = 9,
    /// The peer is blocked, or its key is not the expected one.
    Untrusted = 10,
    /// A limit, a full disk, or a daemon that stops.
    Busy = 11,
    /// Ctrl-C.
    Interrupted = 130,
    /// Whoever read our output is gone.
    BrokenPipe = 141,
}

/// An error on its way to the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    pub(crate) exit: Exit,
    /// The name that stays, as in `TEXT_TOO_LONG`.
    pub(crate) code: &'static str,
    /// What was asked, and why it did not work.
    pub(crate) message: String,
    /// The one thing to do; may be empty.
    pub(crate) hint: String,
    /// The same may work later.
    pub(crate) retryable: bool,
}

/// Why a command ended before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// An error that is still to be shown.
    Problem(Box<Problem>),
    /// Everything was said already.
    Said(Exit),
}

/// What commands give.
pub(crate) type Outcome<T = ()> = Result<T, Stop>;

impl Problem {
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code, message: message.into(), hint: String::new(), retryable: false }
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "USAGE", message)
    }

    /// Time is up.
    pub(crate) fn timeout(message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::new(Exit::Timeout, Code::Timeout.name(), message) }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Says what was asked before why it failed.
    pub(crate) fn of(what: &str, error: Error) -> Self {
        Self {
            exit: exit_of(error.code),
            code: error.code.name(),
            message: format!("{what}: {}", error.message),
            hint: error.hint,
            retryable: error.code.is_retryable(),
        }
    }

    /// The same for what a call gave.
    pub(crate) fn of_status(what: &str, status: Status) -> Self {
        if status.code() == tonic::Code::Unimplemented {
            return Self::new(Exit::Failed, UNIMPLEMENTED, format!("{what}: the daemon does not know this request"));
        }
        Self::of(what, status.into())
    }

    /// Writes it in one or two lines, or as one line of JSON.
    pub(crate) fn render(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Json => Fields::document("error")
                .add("code", self.code)
                .add("message", self.message.as_str())
                .add("hint", Document::filled(&self.hint))
                .add("retryable", self.retryable)
                .add("exit", self.exit as u64)
                .done()
                .write_json(out),
            Format::Text | Format::Wide | Format::Yaml => {
                writeln!(out, "p2pctl: error: {} ({})", escape::line(&self.message), self.code)?;
                if self.hint.is_empty() { Ok(()) } else { writeln!(out, "hint: {}", escape::line(&self.hint)) }
            }
        }
    }
}

/// The exit code of each name.
pub(crate) fn exit_of(code: Code) -> Exit {
    match code {
        Code::Failed => Exit::Failed,
        Code::Unreachable => Exit::Unreachable,
        Code::PermissionDenied | Code::Unauthenticated => Exit::Denied,
        Code::NotFound => Exit::NotFound,
        Code::InvalidArgument
        | Code::TextEmpty
        | Code::TextTooLong
        | Code::TextInvalid
        | Code::RoomInvalid
        | Code::NameInvalid
        | Code::KeyTooLong
        | Code::TooLarge
        | Code::TicketInvalid
        | Code::TicketRefused
        | Code::PeerOffline => Exit::Rejected,
        Code::KeyReused | Code::NameTaken => Exit::Conflict,
        Code::Untrusted => Exit::Untrusted,
        Code::Timeout => Exit::Timeout,
        Code::Partial => Exit::Partial,
        Code::Busy | Code::StoreFailed | Code::Stopping => Exit::Busy,
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

/// Commands do no input or output that may fail but for writing results.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Said(Exit::BrokenPipe);
        }
        Problem::new(Exit::Failed, Code::Failed.name(), format!("write the output: {error}")).into()
    }
}

/// The daemon is of another version.
pub(crate) const UNIMPLEMENTED: &str = "UNIMPLEMENTED";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rendered(problem: &Problem, format: Format) -> String {
        let mut out = Vec::new();
        problem.render(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_error_is_one_line_and_a_hint() {
        let error = Error::new(Code::TextTooLong, "text of 20000 bytes\n\x1b[2J").with_hint("split it");
        let problem = Problem::of("send", error);
        insta::assert_snapshot!(rendered(&problem, Format::Text), @r"
        p2pctl: error: send: text of 20000 bytes^J^[[2J (TEXT_TOO_LONG)
        hint: split it
        ");
        insta::assert_snapshot!(rendered(&problem, Format::Json), @r#"{"v":1,"type":"error","code":"TEXT_TOO_LONG","message":"send: text of 20000 bytes\n\u001b[2J","hint":"split it","retryable":false,"exit":6}"#);
    }

    #[test]
    fn every_status_of_grpc_has_the_exit_code_of_the_table() {
        let exit = |code| Problem::of_status("x", Status::new(code, "")).exit;
        let table = [
            (tonic::Code::Unavailable, Exit::Unreachable),
            (tonic::Code::Unauthenticated, Exit::Denied),
            (tonic::Code::PermissionDenied, Exit::Denied),
            (tonic::Code::NotFound, Exit::NotFound),
            (tonic::Code::InvalidArgument, Exit::Rejected),
            (tonic::Code::FailedPrecondition, Exit::Rejected),
            (tonic::Code::DeadlineExceeded, Exit::Timeout),
            (tonic::Code::AlreadyExists, Exit::Conflict),
            (tonic::Code::Aborted, Exit::Conflict),
            (tonic::Code::ResourceExhausted, Exit::Busy),
            (tonic::Code::Internal, Exit::Failed),
            (tonic::Code::Unimplemented, Exit::Failed),
        ];
        for (code, expected) in table {
            assert_eq!(exit(code), expected, "{code:?}");
        }
        let stopping = Status::from(Error::new(Code::Stopping, "draining"));
        assert_eq!(Problem::of_status("x", stopping).exit, Exit::Busy);
    }

    #[test]
    fn c_04_a_closed_pipe_needs_no_words() {
        let stop = Stop::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(stop, Stop::Said(Exit::BrokenPipe)));
    }
}
