//! Addresses, and the signed record in which a peer says where it is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ed25519_dalek::SigningKey;
use serde::Serialize;

use crate::envelope::{AuthorKey, sign_hashed};
use crate::id::{Epoch, PeerId};
use crate::json::{Bodies, JsonError, parse_object};
use crate::limits::{ADDR_LEN_MAX, ADDRS_PER_RECORD_MAX, BODY_DEPTH_MAX, NAME_LEN_MAX, RECORD_LEN_MAX};

/// `HOST:PORT`, where the host is a name, an IPv4 address or an IPv6 address in brackets. The port is never 0.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr(String);

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddrError {
    /// No `:PORT` at its end.
    #[error("a port is missing: HOST:PORT is needed")]
    Port,
    /// The port is no number from 1 to 65535.
    #[error("port {0:?} is not a number from 1 to 65535")]
    PortRange(String),
    /// The host is empty, too long, or has characters that no host has.
    #[error("{0:?} is not a host name or an IP address")]
    Host(String),
}

/// What a peer says of itself, signed by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whose.
    pub id: PeerId,
    /// The highest wins.
    pub rev: u64,
    /// Where it can be dialed, best first.
    pub addrs: Vec<Addr>,
    /// The name it gives itself.
    pub name: String,
    /// Its current run.
    pub epoch: Epoch,
    body: String,
    signature: [u8; 64],
}

/// A record that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Larger than any valid one.
    #[error("a record of {0} bytes is over the limit of {RECORD_LEN_MAX}")]
    TooLong(usize),
    /// Not the JSON it should be.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A version this program does not know.
    #[error("version {0} of records is not known")]
    Version(u64),
    /// Not signed by the peer it speaks of.
    #[error("the signature does not match")]
    Signature,
}

impl Addr {
    /// From an IP address and a port that is not 0.
    #[must_use]
    pub fn of(ip: IpAddr, port: u16) -> Self {
        Self(std::net::SocketAddr::new(ip, port).to_string())
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or("", |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }

    /// The host as an IP address, where it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host().parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
    }

    /// It names this machine, whoever reads it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.ip().map_or_else(|| self.host().eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
    }

    /// Nobody can be dialed there: unspecified, broadcast or multicast.
    #[must_use]
    pub fn is_unroutable(&self) -> bool {
        self.ip().is_some_and(|ip| {
            ip.is_unspecified() || ip.is_multicast() || matches!(ip, IpAddr::V4(four) if four.is_broadcast())
        })
    }
}

impl FromStr for Addr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddrError::Port)?;
        let host_error = || AddrError::Host(host.chars().take(ADDR_LEN_MAX).collect());
        if text.len() > ADDR_LEN_MAX || !is_host(host) {
            return Err(host_error());
        }
        match port.parse::<u16>() {
            Ok(1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self(text.to_owned())),
            _ => Err(AddrError::PortRange(port.chars().take(16).collect())),
        }
    }
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let letters = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    letters && !host.is_empty() && !host.starts_with(['-', '.']) && !host.contains("..")
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Record {
    /// Signs one's own. Of the addresses the first four are kept, of the name the first 64 bytes.
    #[must_use]
    pub fn sign(key: &SigningKey, rev: u64, addrs: &[Addr], name: &str, epoch: Epoch) -> Self {
        let id = PeerId(key.verifying_key().to_bytes());
        let addrs: Vec<Addr> = addrs.iter().take(ADDRS_PER_RECORD_MAX).cloned().collect();
        let name = cut_name(name);
        let encoding = BodyEncoding {
            v: VERSION,
            id: id.to_string(),
            rev,
            addrs: addrs.iter().map(Addr::as_str).collect(),
            name,
            epoch: epoch.0,
        };
        let body = serde_json::to_string(&encoding).expect("strings and integers always encode");
        let signature = sign_hashed(key, CONTEXT, body.as_bytes());
        Self { id, rev, addrs, name: name.to_owned(), epoch, body, signature }
    }

    /// Reads and verifies one. Addresses that nobody can dial are left out, and so are those beyond the fourth.
    ///
    /// # Errors
    ///
    /// It is not a record, or not signed by the peer it speaks of.
    pub fn parse(body: &str, signature: [u8; 64]) -> Result<Self, RecordError> {
        if body.len() > RECORD_LEN_MAX {
            return Err(RecordError::TooLong(body.len()));
        }
        let object = parse_object(body.as_bytes(), BODY_DEPTH_MAX, Bodies::Read)?;
        match object.integer("v")? {
            VERSION => (),
            other => return Err(RecordError::Version(other)),
        }
        let id: PeerId = object.parsed("id", "a peer id")?;
        let key = AuthorKey::new(&id).map_err(|_| RecordError::Signature)?;
        if !key.verify_hashed(CONTEXT, body.as_bytes(), &signature) {
            return Err(RecordError::Signature);
        }
        let addrs = object.list("addrs")?.iter().filter_map(|addr| addr.text("addrs").ok()?.parse().ok());
        let addrs = addrs.filter(|addr: &Addr| !addr.is_unroutable()).take(ADDRS_PER_RECORD_MAX).collect();
        let name = cut_name(object.text("name")?).to_owned();
        let (rev, epoch) = (object.integer("rev")?, Epoch(object.integer("epoch")?));
        Ok(Self { id, rev, addrs, name, epoch, body: body.to_owned(), signature })
    }

    /// The exact text that was signed.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The signature of its peer.
    #[must_use]
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
}

/// The longest start of `name` that is not over the limit.
fn cut_name(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_LEN_MAX)]
}

#[derive(Serialize)]
struct BodyEncoding<'a> {
    v: u64,
    id: String,
    rev: u64,
    addrs: Vec<&'a str>,
    name: &'a str,
    epoch: u64,
}

const VERSION: u64 = 1;
const CONTEXT: &[u8] = b"p2pd record v1\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn addr(text: &str) -> Addr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_hosts_and_ports() {
        for text in ["localhost:8080", "10.0.0.7:1", "[::1]:65535", "peer-1.example.org:80", "bootstrap_1:8080"] {
            assert_eq!(addr(text).to_string(), text);
        }
        assert_eq!(addr("[::1]:80").host(), "::1");
        assert_eq!("localhost".parse::<Addr>(), Err(AddrError::Port));
        assert_eq!("host:99999".parse::<Addr>(), Err(AddrError::PortRange("99999".into())));
        assert_eq!("host:+80".parse::<Addr>(), Err(AddrError::PortRange("+80".into())));
        assert_eq!("host:0".parse::<Addr>(), Err(AddrError::PortRange("0".into())));
        for host in ["", "a b", "ho\u{202e}st", "::1", "[::1", "[x]", "-a", "a..b"] {
            assert_eq!(format!("{host}:80").parse::<Addr>(), Err(AddrError::Host(host.into())));
        }
        assert!("a".repeat(ADDR_LEN_MAX).parse::<Addr>().is_err());
    }

    #[test]
    fn addresses_that_name_nobody_or_only_this_machine_are_told_apart() {
        for text in ["0.0.0.0:1", "[::]:1", "255.255.255.255:1", "224.0.0.1:1", "[ff02::1]:1", "[::ffff:0.0.0.0]:1"] {
            assert!(addr(text).is_unroutable(), "{text}");
        }
        for text in ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(addr(text).is_loopback(), "{text}");
            assert!(!addr(text).is_unroutable(), "{text}");
        }
        assert!(!addr("10.0.0.7:1").is_loopback());
    }

    #[test]
    fn a_record_comes_back_as_it_was_signed() {
        let record = Record::sign(&key(1), 9, &[addr("10.0.0.7:8080")], "alice", Epoch(3));
        assert_eq!(Record::parse(record.body(), *record.signature()), Ok(record));
    }

    #[test]
    fn w_21_a_record_signed_by_another_is_refused() {
        let record = Record::sign(&key(1), 9, &[], "alice", Epoch(3));
        let other = PeerId(key(2).verifying_key().to_bytes());
        let body = record.body().replace(&record.id.to_string(), &other.to_string());
        assert_eq!(Record::parse(&body, *record.signature()), Err(RecordError::Signature));
    }

    #[test]
    fn w_20_of_many_addresses_the_first_four_that_can_be_dialed_are_kept() {
        let mut texts = vec!["0.0.0.0:1".to_owned(), "255.255.255.255:1".into(), "nonsense".into(), "h:0".into()];
        texts.extend((1..30).map(|n| format!("10.0.0.{n}:80")));
        let id = PeerId(key(1).verifying_key().to_bytes());
        let encoding = BodyEncoding {
            v: 1,
            id: id.to_string(),
            rev: 1,
            addrs: texts.iter().map(String::as_str).collect(),
            name: "",
            epoch: 1,
        };
        let body = serde_json::to_string(&encoding).unwrap();
        let record = Record::parse(&body, sign_hashed(&key(1), CONTEXT, body.as_bytes())).unwrap();
        assert_eq!(record.addrs, [addr("10.0.0.1:80"), addr("10.0.0.2:80"), addr("10.0.0.3:80"), addr("10.0.0.4:80")]);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let record = Record::sign(&key(1), 1, &[], &"é".repeat(40), Epoch(1));
        assert_eq!(record.name, "é".repeat(32));
    }
}
