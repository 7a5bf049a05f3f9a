//! One vocabulary of errors, from the store to the exit code.

use std::fmt;

use tonic::metadata::MetadataValue;
use tonic::{Code as GrpcCode, Status};

use crate::v1::Failure;

/// What went wrong, by a name that stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// Anything that has no name of its own.
    Failed,
    /// No daemon answers.
    Unreachable,
    /// The socket's owner is somebody else.
    PermissionDenied,
    /// The token is missing or wrong.
    Unauthenticated,
    /// No such peer, room or post.
    NotFound,
    /// A request that makes no sense.
    InvalidArgument,
    /// The text is empty.
    TextEmpty,
    /// The text is over the limit.
    TextTooLong,
    /// The text cannot be carried.
    TextInvalid,
    /// Not a room's name.
    RoomInvalid,
    /// Not a petname.
    NameInvalid,
    /// Somebody else has this petname.
    NameTaken,
    /// What was given is no ticket, or is damaged.
    TicketInvalid,
    /// The ticket lets nobody in here, or not any more.
    TicketRefused,
    /// The peer is blocked.
    Untrusted,
    /// The idempotency key is over the limit.
    KeyTooLong,
    /// The idempotency key stands for another message.
    KeyReused,
    /// A request is over the limit.
    TooLarge,
    /// More waits than may wait.
    Busy,
    /// The store takes nothing: disk full or failed.
    StoreFailed,
    /// The daemon is on its way out.
    Stopping,
    /// It took too long.
    Timeout,
    /// The peer is known and not linked.
    PeerOffline,
    /// Stored, but not delivered as far as was asked. The client says so; no daemon does.
    Partial,
}

/// An error as people and programs see it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Error {
    /// For programs.
    pub code: Code,
    /// For people, with the actual numbers and names.
    pub message: String,
    /// The one thing to do; may be empty.
    pub hint: String,
}

impl Code {
    /// The name, as in `TEXT_TOO_LONG`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "FAILED",
            Self::Unreachable => "UNREACHABLE",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::NotFound => "NOT_FOUND",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::TextEmpty => "TEXT_EMPTY",
            Self::TextTooLong => "TEXT_TOO_LONG",
            Self::TextInvalid => "TEXT_INVALID",
            Self::RoomInvalid => "ROOM_INVALID",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameTaken => "NAME_TAKEN",
            Self::TicketInvalid => "TICKET_INVALID",
            Self::TicketRefused => "TICKET_REFUSED",
            Self::Untrusted => "UNTRUSTED",
            Self::KeyTooLong => "KEY_TOO_LONG",
            Self::KeyReused => "KEY_REUSED",
            Self::TooLarge => "TOO_LARGE",
            Self::Busy => "BUSY",
            Self::StoreFailed => "STORE_FAILED",
            Self::Stopping => "STOPPING",
            Self::Timeout => "TIMEOUT",
            Self::PeerOffline => "PEER_OFFLINE",
            Self::Partial => "PARTIAL",
        }
    }

    /// The code of a name, where this version knows it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|code| code.name() == name)
    }

    /// The gRPC status it travels as.
    #[must_use]
    pub fn grpc(self) -> GrpcCode {
        match self {
            Self::Failed => GrpcCode::Internal,
            Self::Unreachable | Self::Stopping => GrpcCode::Unavailable,
            Self::PermissionDenied => GrpcCode::PermissionDenied,
            Self::Unauthenticated => GrpcCode::Unauthenticated,
            Self::NotFound => GrpcCode::NotFound,
            Self::InvalidArgument
            | Self::TextEmpty
            | Self::TextTooLong
            | Self::TextInvalid
            | Self::RoomInvalid
            | Self::NameInvalid
            | Self::TicketInvalid
            | Self::KeyTooLong => GrpcCode::InvalidArgument,
            Self::KeyReused | Self::NameTaken => GrpcCode::AlreadyExists,
            Self::TooLarge | Self::Busy | Self::StoreFailed => GrpcCode::ResourceExhausted,
            Self::Timeout | Self::Partial => GrpcCode::DeadlineExceeded,
            Self::PeerOffline | Self::Untrusted | Self::TicketRefused => GrpcCode::FailedPrecondition,
        }
    }

    /// The same request may work later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Unreachable | Self::Busy | Self::StoreFailed | Self::Stopping | Self::Timeout | Self::PeerOffline => {
                true
            }
            Self::Failed
            | Self::PermissionDenied
            | Self::Unauthenticated
            | Self::NotFound
            | Self::InvalidArgument
            | Self::TextEmpty
            | Self::TextTooLong
            | Self::TextInvalid
            | Self::RoomInvalid
            | Self::NameInvalid
            | Self::NameTaken
            | Self::TicketInvalid
            | Self::TicketRefused
            | Self::Untrusted
            | Self::KeyTooLong
            | Self::KeyReused
            | Self::TooLarge
            // It is stored: the same request would say it twice.
            | Self::Partial => false,
        }
    }

    fn of_grpc(code: GrpcCode) -> Self {
        match code {
            GrpcCode::Unavailable => Self::Unreachable,
            GrpcCode::PermissionDenied => Self::PermissionDenied,
            GrpcCode::Unauthenticated => Self::Unauthenticated,
            GrpcCode::NotFound => Self::NotFound,
            GrpcCode::InvalidArgument | GrpcCode::FailedPrecondition | GrpcCode::OutOfRange => Self::InvalidArgument,
            GrpcCode::AlreadyExists | GrpcCode::Aborted => Self::KeyReused,
            GrpcCode::ResourceExhausted => Self::Busy,
            GrpcCode::DeadlineExceeded => Self::Timeout,
            GrpcCode::Ok
            | GrpcCode::Cancelled
            | GrpcCode::Unknown
            | GrpcCode::Unimplemented
            | GrpcCode::Internal
            | GrpcCode::DataLoss => Self::Failed,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Error {
    /// Without a hint.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: String::new() }
    }

    /// The same with the one thing to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut status = Self::new(error.code.grpc(), error.message);
        let metadata = status.metadata_mut();
        metadata.insert(CODE_KEY, MetadataValue::from_static(error.code.name()));
        if !error.hint.is_empty() {
            metadata.insert_bin(HINT_KEY, MetadataValue::from_bytes(error.hint.as_bytes()));
        }
        status
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let named = status.metadata().get(CODE_KEY).and_then(|name| Code::from_name(name.to_str().ok()?));
        let hint = status.metadata().get_bin(HINT_KEY).and_then(|hint| hint.to_bytes().ok());
        Self {
            code: named.unwrap_or(Code::of_grpc(status.code())),
            message: status.message().to_owned(),
            hint: hint.map(|hint| String::from_utf8_lossy(&hint).into_owned()).unwrap_or_default(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            code: error.code.name().to_owned(),
            message: error.message,
            hint: error.hint,
            retryable: error.code.is_retryable(),
            grpc_code: error.code.grpc() as i32,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let code = Code::from_name(&failure.code).unwrap_or(Code::of_grpc(GrpcCode::from_i32(failure.grpc_code)));
        Self { code, message: failure.message, hint: failure.hint }
    }
}

const CODE_KEY: &str = "p2p-code";
const HINT_KEY: &str = "p2p-hint-bin";
const ALL: [Code; 24] = [
    Code::Failed,
    Code::Unreachable,
    Code::PermissionDenied,
    Code::Unauthenticated,
    Code::NotFound,
    Code::InvalidArgument,
    Code::TextEmpty,
    Code::TextTooLong,
    Code::TextInvalid,
    Code::RoomInvalid,
    Code::NameInvalid,
    Code::NameTaken,
    Code::TicketInvalid,
    Code::TicketRefused,
    Code::Untrusted,
    Code::KeyTooLong,
    Code::KeyReused,
    Code::TooLarge,
    Code::Busy,
    Code::StoreFailed,
    Code::Stopping,
    Code::Timeout,
    Code::PeerOffline,
    Code::Partial,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_survives_the_way_through_grpc() {
        for code in ALL {
            let error = Error::new(code, "what: why 7").with_hint("do – this");
            assert_eq!(Error::from(Status::from(error.clone())), error);
            assert_eq!(Error::from(Failure::from(error.clone())), error);
        }
    }

    #[test]
    fn a_status_of_another_program_keeps_its_meaning() {
        assert_eq!(Error::from(Status::unavailable("gone")), Error::new(Code::Unreachable, "gone"));
        assert_eq!(Error::from(Status::unknown("odd")).code, Code::Failed);
    }

    #[test]
    fn what_is_stored_already_is_not_to_be_sent_again() {
        assert!(!Code::Partial.is_retryable());
        // What has no name is an end of patience, not half a delivery.
        assert_eq!(Error::from(Status::deadline_exceeded("slow")).code, Code::Timeout);
    }
}
