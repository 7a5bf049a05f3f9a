//! A request over HTTP, byte by byte as it was sent and answered.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::program::PATIENCE;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Such as 200.
    pub code: u16,
    /// All headers, as they came.
    pub headers: String,
    /// The rest.
    pub body: String,
}

/// Asks for a page.
///
/// # Panics
///
/// There is no answer, or none of HTTP.
#[must_use]
#[track_caller]
pub fn fetch(addr: &str, path: &str) -> Answer {
    ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n"))
        .unwrap_or_else(|| panic!("{addr}{path}: no answer"))
}

/// Sends a request as it is, and reads until the other side closes; none where nothing came.
///
/// # Panics
///
/// Nobody is there, or the answer is none of HTTP.
#[must_use]
#[track_caller]
pub fn ask(addr: &str, request: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(addr).unwrap_or_else(|error| panic!("{addr}: {error}"));
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    // Whoever refuses a request early may close before all of it is sent.
    drop(stream.write_all(request.as_bytes()));
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes));
    let text = String::from_utf8(bytes).expect("an answer in UTF-8");
    if text.is_empty() {
        return None;
    }
    let (headers, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no end of headers: {text}"));
    let code = headers.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    let code = code.unwrap_or_else(|| panic!("no answer of HTTP: {headers}"));
    Some(Answer { code, headers: headers.to_ascii_lowercase(), body: body.to_owned() })
}
