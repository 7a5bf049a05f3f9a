//! The proxy does to bytes what it is told.

#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::super::ways::{Way, Ways};
use super::Proxy;

/// Peer 0 dials, and peer 1 listens.
struct Stage {
    proxy: Proxy,
    listener: TcpListener,
}

fn stage() -> Stage {
    let proxy = Proxy::open().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.on_started(1, listener.local_addr().unwrap());
    Stage { proxy, listener }
}

impl Stage {
    fn link(&self) -> (TcpStream, TcpStream) {
        let dialed = TcpStream::connect(self.proxy.addr(0, 1)).unwrap();
        let (accepted, _) = self.listener.accept().unwrap();
        for stream in [&dialed, &accepted] {
            stream.set_read_timeout(Some(SILENCE)).unwrap();
        }
        (dialed, accepted)
    }
}

fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.set_read_timeout(None).unwrap();
    stream.read_exact(&mut bytes).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    bytes
}

#[test]
fn an_open_way_carries_bytes_and_the_end_of_them() {
    let stage = stage();
    let (mut one, mut two) = stage.link();
    one.write_all(b"there").unwrap();
    two.write_all(b"back").unwrap();
    assert_eq!((read(&mut two, 5), read(&mut one, 4)), (b"there".to_vec(), b"back".to_vec()));
    drop(one);
    two.set_read_timeout(None).unwrap();
    assert_eq!(two.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_one_way_hole_holds_back_one_way_until_it_is_healed() {
    let stage = stage();
    let (mut one, mut two) = stage.link();
    stage.proxy.apply(&Ways::default().one_way(0, 1, Way::Hole));
    one.write_all(b"there").unwrap();
    two.write_all(b"back").unwrap();
    assert_eq!(read(&mut one, 4), b"back");
    assert_eq!(two.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    stage.proxy.apply(&Ways::default());
    assert_eq!(read(&mut two, 5), b"there");
}

#[test]
fn a_refused_way_resets_what_is_there_and_what_comes() {
    let stage = stage();
    let (mut one, mut two) = stage.link();
    stage.proxy.apply(&Ways::alone(0, Way::Refuse));
    for stream in [&mut one, &mut two] {
        stream.set_read_timeout(None).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    let mut again = TcpStream::connect(stage.proxy.addr(0, 1)).unwrap();
    assert_eq!(again.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_comes_behind_the_byte_it_is_told() {
    let stage = stage();
    let (mut one, mut two) = stage.link();
    stage.proxy.reset(0, 1, 3);
    one.write_all(b"there").unwrap();
    // A reset may overtake the bytes before it.
    let mut bytes = Vec::new();
    two.set_read_timeout(None).unwrap();
    assert_eq!(two.read_to_end(&mut bytes).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(b"the".starts_with(&bytes), "{bytes:?}");
}

#[test]
fn who_dials_a_peer_that_never_ran_is_reset() {
    let proxy = Proxy::open().unwrap();
    let mut stream = TcpStream::connect(proxy.addr(0, 1)).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_cut_between_two_is_no_cut_for_a_third() {
    let stage = stage();
    stage.proxy.apply(&Ways::alone(0, Way::Refuse));
    let mut third = TcpStream::connect(stage.proxy.addr(2, 1)).unwrap();
    let (mut accepted, _) = stage.listener.accept().unwrap();
    third.write_all(b"there").unwrap();
    assert_eq!(read(&mut accepted, 5), b"there");
}

/// Long enough to say that nothing comes.
const SILENCE: Duration = Duration::from_millis(200);
