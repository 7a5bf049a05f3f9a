//! Floods from outside: HTTP/2 as no client speaks it, and connections that only take up room.
//!
//! The frames are written by hand, because every library refuses to send them.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use p2p_tests::program::PATIENCE;

use super::attacked::Attacked;

/// One frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What begins a connection.
fn greeting() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The headers of a call, without compression; `token` is what TCP asks for.
fn headers(token: Option<&str>) -> Vec<u8> {
    let literal = |name: &str, value: &str| {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    };
    let mut block = Vec::new();
    let path = "/p2p.v1.Chat/SendStream";
    for (name, value) in [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")] {
        block.extend(literal(name, value));
    }
    block.extend(literal("content-type", "application/grpc"));
    block.extend(literal("te", "trailers"));
    if let Some(token) = token {
        block.extend(literal("authorization", &format!("Bearer {token}")));
    }
    block
}

/// Both kinds of socket that the API listens on.
trait Door: Read + Write + Send + Sync + 'static {
    fn second(&self) -> io::Result<Box<dyn Door>>;
    fn finish(&self);
}

impl Door for UnixStream {
    fn second(&self) -> io::Result<Box<dyn Door>> {
        Ok(Box::new(self.try_clone()?))
    }

    fn finish(&self) {
        drop(self.shutdown(Shutdown::Write));
    }
}

impl Door for TcpStream {
    fn second(&self) -> io::Result<Box<dyn Door>> {
        Ok(Box::new(self.try_clone()?))
    }

    fn finish(&self) {
        drop(self.shutdown(Shutdown::Write));
    }
}

/// Sends all of it, as far as it is taken, while everything that comes back is read, and gives that.
///
/// # Panics
///
/// The daemon neither takes it nor closes.
#[track_caller]
fn flood(mut door: Box<dyn Door>, chunks: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut answers = door.second().unwrap();
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        match answers.read_to_end(&mut bytes) {
            Ok(_) => (),
            Err(error) if [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()) => (),
            Err(error) => panic!("it did not close: {error}"),
        }
        bytes
    });
    let sent = chunks.map(|chunk| door.write_all(&chunk)).find_map(Result::err);
    if let Some(error) = sent {
        assert!(
            [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()),
            "it was not read: {error}"
        );
    }
    door.finish();
    reading.join().unwrap()
}

/// Kind, flags and payload of each whole frame.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, &[u8])> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(len) else { return frames };
        frames.push((head[3], head[4], payload));
        bytes = rest;
    }
    frames
}

/// The daemon read on until it had enough, said so, and closed.
#[track_caller]
fn check_calmed(answers: &[Vec<u8>; 2]) {
    for answer in answers {
        let goaways = frames(answer).into_iter().filter(|(kind, ..)| *kind == GOAWAY);
        let codes: Vec<&[u8]> = goaways.filter_map(|(_, _, payload)| payload.get(4..8)).collect();
        assert_eq!(codes, [ENHANCE_YOUR_CALM.to_be_bytes()]);
    }
}

/// Floods the socket and the TCP port of the API with the same frames, and gives what the daemon said to that.
#[track_caller]
fn flood_both(chunks: impl Fn(Option<&str>) -> Vec<Vec<u8>>) -> [Vec<u8>; 2] {
    let mut attacked = Attacked::with(&["--api", "127.0.0.1:0"]);
    let ready = attacked.one.ready().api.clone();
    let unix = UnixStream::connect(attacked.one.socket()).unwrap();
    unix.set_read_timeout(Some(PATIENCE)).unwrap();
    unix.set_write_timeout(Some(PATIENCE)).unwrap();
    let said_on_socket = flood(Box::new(unix), std::iter::once(greeting()).chain(chunks(None)));
    attacked.check_unharmed();
    let port = ready.iter().find(|endpoint| !endpoint.starts_with("unix:")).expect("it listens on TCP as well");
    let tcp = TcpStream::connect(port).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    let token = fs::read_to_string(attacked.one.data_dir().join("api.token")).unwrap();
    let said_on_tcp = flood(Box::new(tcp), std::iter::once(greeting()).chain(chunks(Some(token.trim()))));
    attacked.check_unharmed();
    [said_on_socket, said_on_tcp]
}

#[test]
fn g_04_ten_thousand_calls_that_are_reset_at_once_are_too_many() {
    let said = flood_both(|token| {
        let call = |stream: u32| {
            let opened = frame(HEADERS, END_HEADERS, stream, &headers(token));
            [opened, frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
        };
        (0..10_000u32).map(|at| call(2 * at + 1)).collect::<Vec<_>>().chunks(50).map(<[_]>::concat).collect()
    });
    check_calmed(&said);
}

#[test]
fn g_04_headers_that_never_end_are_too_many() {
    let said = flood_both(|token| {
        let begin = frame(HEADERS, 0, 1, &headers(token));
        // None says that it is the last.
        let field = [&[0, 1, b'x', 100][..], &[b'y'; 100]].concat();
        let more = std::iter::repeat_n(frame(CONTINUATION, 0, 1, &field.repeat(100)), 1_000);
        std::iter::once(begin).chain(more).collect()
    });
    check_calmed(&said);
}

#[test]
fn g_04_headers_that_say_nothing_and_never_end_are_too_many() {
    let said = flood_both(|token| {
        let begin = frame(HEADERS, 0, 1, &headers(token));
        let empty = frame(CONTINUATION, 0, 1, &[]).repeat(1_000);
        std::iter::once(begin).chain(std::iter::repeat_n(empty, 100)).collect()
    });
    check_calmed(&said);
}

#[test]
fn g_04_a_million_frames_without_data_are_too_many() {
    let said = flood_both(|token| {
        let begin = frame(HEADERS, END_HEADERS, 1, &headers(token));
        let empty = frame(DATA, 0, 1, &[]).repeat(5_000);
        std::iter::once(begin).chain(std::iter::repeat_n(empty, 200)).collect()
    });
    check_calmed(&said);
}

#[test]
fn g_04_settings_and_pings_without_end_are_answered_one_by_one_and_do_not_pile_up() {
    let said = flood_both(|_| {
        let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(500);
        let pings = frame(PING, 0, 0, b"12345678").repeat(500);
        (0..200).map(|at| if at % 2 == 0 { settings.clone() } else { pings.clone() }).collect()
    });
    for answers in said {
        let acknowledged = |kind| frames(&answers).iter().filter(|frame| (frame.0, frame.1) == (kind, ACK)).count();
        // One more: the settings of the greeting.
        assert_eq!((acknowledged(PING), acknowledged(SETTINGS)), (50_000, 50_001));
    }
}

#[test]
fn g_04_who_floods_and_reads_no_answer_is_made_to_wait() {
    let mut attacked = Attacked::new();
    let mut deaf = UnixStream::connect(attacked.one.socket()).unwrap();
    deaf.set_nonblocking(true).unwrap();
    deaf.write_all(&greeting()).unwrap();
    let pings = frame(PING, 0, 0, b"12345678").repeat(500);
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(500);
    // Without its answers being read it is soon not read itself: the system's buffers are full, and nothing else is.
    let frames = [pings, settings].concat().repeat(1_000);
    let mut taken = 0;
    for _ in 0..5 {
        while let Ok(len) = deaf.write(&frames[taken..]) {
            taken += len;
        }
        attacked.check_unharmed();
    }
    assert!(taken < frames.len(), "all of {taken} bytes were taken");
}

#[test]
fn n_08_two_hundred_connections_that_say_nothing_keep_no_member_out() {
    let mut attacked = Attacked::new();
    let silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(attacked.one.addr()).unwrap()).collect();
    let three = attacked.start("three");
    three.wait_for_peers(2);
    drop(three);
    attacked.check_unharmed();
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Ok(_) => (),
            // Those that newer ones pushed out are reset.
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert_eq!(bytes, b"", "who says nothing is told nothing");
    }
}

#[test]
fn n_09_who_begins_and_does_not_go_on_is_closed_at_the_mesh_and_at_the_api() {
    let mut attacked = Attacked::new();
    let mut mesh = TcpStream::connect(attacked.one.addr()).unwrap();
    mesh.write_all(&[0]).unwrap();
    let slow: Vec<UnixStream> = (0..100).map(|_| UnixStream::connect(attacked.one.socket()).unwrap()).collect();
    for (at, mut stream) in slow.iter().enumerate() {
        stream.write_all(&greeting()[..at % 24]).unwrap();
    }
    attacked.check_unharmed();
    mesh.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(mesh.read(&mut [0; 64]).unwrap(), 0, "closed without a byte");
    for mut stream in slow {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Ok(_) => (),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    attacked.check_unharmed();
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;
