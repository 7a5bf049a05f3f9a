//! One end of a link, as its kernel and its process see it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use p2p_mesh::input::CloseReason;
use p2p_mesh::limits::FRAME_LEN_MAX_BEFORE_HELLO;
use p2p_mesh::time::Mono;
use p2p_mesh::wire::frame::{PREFIX_LEN, split_frame};

use super::{Place, ProcessId};

/// What a process finds when it reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NextFrame {
    /// A frame, without its length.
    Frame(Bytes),
    /// Nothing whole yet.
    Nothing,
    /// No more will come.
    Closed(CloseReason),
}

/// One end of a link.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) place: Place,
    pub(super) process: ProcessId,
    pub(super) remote: Place,
    /// Its process was told of it.
    pub(super) opened: bool,
    pub(super) state: State,
    /// From the process, not yet taken.
    pub(super) unsent: VecDeque<Bytes>,
    pub(super) unsent_bytes: usize,
    /// Taken and not yet read by the other process.
    pub(super) taken: usize,
    /// Taken, and all of it so far.
    pub(super) sent: u64,
    /// The link is cut when this much was sent.
    pub(super) cut_at: Option<u64>,
    /// It was cut: nothing more is taken.
    severed: bool,
    /// On the way to the other end.
    pub(super) flight: VecDeque<Segment>,
    /// Segments whose time came while the way was blocked.
    pub(super) stuck: usize,
    pub(super) last_arrival: Mono,
    /// In this kernel, not yet fetched by this process.
    pub(super) arrived: VecDeque<Bytes>,
    /// Fetched, not yet whole.
    fetched: BytesMut,
    pub(super) eof: bool,
    pub(super) cut: bool,
    pub(super) frame_limit: usize,
    pub(super) give_up_armed: bool,
    pub(super) stall_armed: bool,
}

/// How far gone an end is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Open,
    /// Hung up; the rest is being written.
    Closing,
    Closed,
}

/// What travels together.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    Bytes(Bytes),
    /// No more bytes will follow.
    Fin,
    /// The link breaks here.
    Cut,
}

impl Socket {
    pub(super) fn new(place: Place, process: ProcessId, remote: Place) -> Self {
        Self {
            place,
            process,
            remote,
            opened: false,
            state: State::Open,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            taken: 0,
            sent: 0,
            cut_at: None,
            severed: false,
            flight: VecDeque::new(),
            stuck: 0,
            last_arrival: Mono::default(),
            arrived: VecDeque::new(),
            fetched: BytesMut::new(),
            eof: false,
            cut: false,
            frame_limit: FRAME_LEN_MAX_BEFORE_HELLO,
            give_up_armed: false,
            stall_armed: false,
        }
    }

    /// Everything that was written here and not yet read there, and what waits here to be read.
    pub(super) fn under_way(&self) -> impl Iterator<Item = &Bytes> {
        let flight = self.flight.iter().filter_map(|segment| match segment {
            Segment::Bytes(bytes) => Some(bytes),
            Segment::Fin | Segment::Cut => None,
        });
        self.unsent.iter().chain(flight).chain(&self.arrived)
    }

    /// Takes the next bytes from the process, as far as there is room.
    pub(super) fn take_segment(&mut self, socket_bytes: usize) -> Option<Segment> {
        if self.severed {
            return None;
        }
        let left = self.cut_at.map_or(u64::MAX, |cut_at| cut_at.saturating_sub(self.sent));
        if left == 0 {
            self.severed = true;
            return Some(Segment::Cut);
        }
        let room = socket_bytes.saturating_sub(self.taken).min(usize::try_from(left).unwrap_or(usize::MAX));
        let first = self.unsent.front_mut().filter(|_| room > 0)?;
        let bytes = first.split_to(first.len().min(room));
        if first.is_empty() {
            self.unsent.pop_front();
        }
        self.unsent_bytes -= bytes.len();
        self.taken += bytes.len();
        self.sent += bytes.len() as u64;
        Some(Segment::Bytes(bytes))
    }

    /// The process takes up to `bytes_max` of what has arrived; returns how many bytes that were.
    pub(super) fn fetch(&mut self, bytes_max: usize) -> usize {
        let mut fetched = 0;
        while let Some(first) = self.arrived.front_mut().filter(|_| fetched < bytes_max) {
            let bytes = first.split_to(first.len().min(bytes_max - fetched));
            if first.is_empty() {
                self.arrived.pop_front();
            }
            fetched += bytes.len();
            self.fetched.extend_from_slice(&bytes);
        }
        fetched
    }

    pub(super) fn next_frame(&mut self) -> NextFrame {
        let len = match split_frame(&self.fetched, self.frame_limit) {
            Ok(Some(split)) => split.frame.len(),
            Ok(None) if !self.arrived.is_empty() => return NextFrame::Nothing,
            Ok(None) if self.cut => return NextFrame::Closed(CloseReason::Failed("connection reset".to_owned())),
            Ok(None) if self.eof => return NextFrame::Closed(CloseReason::Closed),
            Ok(None) => return NextFrame::Nothing,
            Err(error) => return NextFrame::Closed(CloseReason::BadFrame(error)),
        };
        let mut frame = self.fetched.split_to(PREFIX_LEN + len);
        NextFrame::Frame(frame.split_off(PREFIX_LEN).freeze())
    }

    pub(super) fn close(&mut self) {
        self.state = State::Closed;
        self.unsent.clear();
        self.unsent_bytes = 0;
        self.arrived.clear();
        self.fetched.clear();
    }
}
