//! A slow line: bytes through it take their time, and share it with all others that go the same way.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

/// A line with a rate, each way. Everything that goes through any of its ends shares it.
#[derive(Clone, Debug)]
pub struct Line {
    ways: [Arc<Way>; 2],
}

#[derive(Debug)]
struct Way {
    bits_per_second: u32,
    /// When all that was taken so far is through.
    until: Mutex<Option<Instant>>,
}

impl Line {
    /// A line of so many bits a second.
    #[must_use]
    pub fn new(bits_per_second: u32) -> Self {
        let way = || Arc::new(Way { bits_per_second, until: Mutex::new(None) });
        Self { ways: [way(), way()] }
    }

    /// An end of the line: whoever connects there is connected to `target` through it. It lasts as long as the process.
    ///
    /// # Panics
    ///
    /// The system gives no socket.
    #[must_use]
    #[track_caller]
    pub fn open(&self, target: &str) -> String {
        let target: SocketAddr = target.parse().expect("an address of a peer");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        // Connections inherit it. A kernel that takes megabytes for us would be a fast line with a long wait.
        set_socket_recv_buffer_size(&listener, BUFFER_BYTES).expect("a small buffer");
        let addr = listener.local_addr().expect("it is bound").to_string();
        let line = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A peer that is not there: closing says so.
                if let Ok(onward) = TcpStream::connect(target) {
                    line.carry(&stream, &onward);
                }
            }
        });
        addr
    }

    fn carry(&self, here: &TcpStream, there: &TcpStream) {
        drop((here.set_nodelay(true), there.set_nodelay(true)));
        let _ = set_socket_recv_buffer_size(there, BUFFER_BYTES);
        for ((from, to), way) in [(here, there), (there, here)].into_iter().zip(&self.ways) {
            let (Ok(from), Ok(to), way) = (from.try_clone(), to.try_clone(), Arc::clone(way)) else { return };
            thread::spawn(move || pump(from, to, &way));
        }
    }
}

impl Way {
    /// Takes its turn on the line, and waits until it is through.
    fn pass(&self, bytes: usize) {
        let span = Duration::from_secs(8) * u32::try_from(bytes).unwrap_or(u32::MAX) / self.bits_per_second;
        let now = Instant::now();
        let until = {
            let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
            let through = until.map_or(now, |until| until.max(now)) + span;
            *until = Some(through);
            through
        };
        thread::sleep(until.saturating_duration_since(now));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, way: &Way) {
    let mut bytes = [0; PACKET_BYTES];
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        way.pass(len);
        if to.write_all(&bytes[..len]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
    drop(from.shutdown(Shutdown::Read));
}

const PACKET_BYTES: usize = 1_024;
/// Of each socket of a line. The system doubles it.
const BUFFER_BYTES: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_through_unchanged_and_all_connections_share_the_line() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = Line::new(400_000).open(&server.local_addr().expect("it is bound").to_string());
        let begun = Instant::now();
        let sent: Vec<u8> = (0..5_000u32).flat_map(u32::to_be_bytes).collect();
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let (addr, sent) = (addr.clone(), sent.clone());
                thread::spawn(move || TcpStream::connect(addr).and_then(|mut stream| stream.write_all(&sent)))
            })
            .collect();
        for _ in 0..2 {
            let mut received = Vec::new();
            server.accept().expect("somebody comes").0.read_to_end(&mut received).expect("all of it");
            assert!(received == sent);
        }
        senders.into_iter().for_each(|sender| sender.join().expect("no panic").expect("all is sent"));
        // 40,000 bytes at 50,000 a second.
        assert!(begun.elapsed() >= Duration::from_millis(780), "{:?}", begun.elapsed());
    }
}
