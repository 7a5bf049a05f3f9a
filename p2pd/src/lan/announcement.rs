//! What is called out, as bytes and back.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use p2p_mesh::id::{IdError, PeerId, base32, from_base32};
use p2p_mesh::limits::ADDRS_PER_RECORD_MAX;

use super::reader::{Name, Reader, Record};

/// Where a peer can be dialed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Announcement {
    pub(super) peer: PeerId,
    pub(super) port: u16,
    /// The networks that it is in.
    pub(super) tags: Vec<Tag>,
    pub(super) addrs: Vec<IpAddr>,
}

/// Stands for a network: only who knows its id can make it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tag([u8; TAG_LEN]);

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Message {
    /// Somebody asks for these names.
    Question(Vec<Name>),
    /// Somebody calls out who is there.
    Answer(Vec<Announcement>),
}

/// Whether what is called out holds, or ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holds {
    /// For two minutes, in the memory of others.
    Now,
    /// It is over.
    NoMore,
}

impl Tag {
    pub(super) fn of(network: &[u8; 16]) -> Self {
        let mut tag = [0; TAG_LEN];
        blake3::Hasher::new_derive_key(TAG_CONTEXT).update(network).finalize_xof().fill(&mut tag);
        Self(tag)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&base32(&self.0))
    }
}

impl FromStr for Tag {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Ok(Self(from_base32(text)?))
    }
}

impl Announcement {
    /// Everything in one message, so that whoever reads it has to remember nothing.
    pub(super) fn encode(&self, holds: Holds) -> Vec<u8> {
        let ttl_s: u32 = match holds {
            Holds::Now => TTL_S,
            Holds::NoMore => 0,
        };
        let (instance, host) = (instance_of(self.peer), host_of(self.peer));
        let mut srv = vec![0; 4];
        srv.extend(self.port.to_be_bytes());
        srv.extend(encode_name(&host));
        let mut records = vec![
            (service(), PTR, SHARED, encode_name(&instance)),
            (instance.clone(), SRV, UNIQUE, srv),
            (instance, TXT, UNIQUE, self.encode_text()),
        ];
        records.extend(self.addrs.iter().map(|addr| match addr {
            IpAddr::V4(ip) => (host.clone(), A, UNIQUE, ip.octets().to_vec()),
            IpAddr::V6(ip) => (host.clone(), AAAA, UNIQUE, ip.octets().to_vec()),
        }));
        let mut message = encode_header(AUTHORITATIVE_ANSWER, 0, records.len() as u16);
        for (name, kind, class, content) in records {
            message.extend(encode_name(&name));
            message.extend(kind.to_be_bytes());
            message.extend(u16::to_be_bytes(class));
            message.extend(ttl_s.to_be_bytes());
            message.extend((content.len() as u16).to_be_bytes());
            message.extend(content);
        }
        message
    }

    fn encode_text(&self) -> Vec<u8> {
        let tags: Vec<String> = self.tags.iter().map(Tag::to_string).collect();
        let strings = [VERSION.to_owned(), format!("{NETWORKS}{}", tags.join(","))];
        strings.iter().flat_map(|text| std::iter::once(text.len() as u8).chain(text.bytes())).collect()
    }
}

/// Asks who is there.
pub(super) fn encode_question() -> Vec<u8> {
    let mut message = encode_header(0, 1, 0);
    message.extend(encode_name(&service()));
    message.extend(PTR.to_be_bytes());
    message.extend(u16::to_be_bytes(SHARED));
    message
}

/// Reads what somebody sent; none where it is no message of DNS, or says nothing that concerns us.
pub(super) fn parse(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader::new(bytes);
    let _id = reader.u16()?;
    let flags = reader.u16()?;
    let [questions, answers, authorities, others] = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    if flags & (OPCODE | RESULT) != 0 || usize::from(questions) > QUESTIONS_MAX {
        return None;
    }
    let names: Vec<Name> = (0..questions).map(|_| reader.question()).collect::<Option<_>>()?;
    if flags & ANSWER == 0 {
        return Some(Message::Question(names));
    }
    let count = usize::from(answers) + usize::from(authorities) + usize::from(others);
    let records = (0..count.min(RECORDS_MAX)).map(|_| reader.record()).collect::<Option<Vec<_>>>()?;
    let announcements = announcements(&records);
    (!announcements.is_empty()).then_some(Message::Answer(announcements))
}

/// Whether a name is asked for that a peer answers to.
pub(super) fn is_about(names: &[Name], peer: PeerId) -> bool {
    let own = [service(), instance_of(peer), host_of(peer)];
    names.iter().any(|name| own.contains(name))
}

fn announcements(records: &[Record<'_>]) -> Vec<Announcement> {
    let live: Vec<&Record<'_>> = records.iter().filter(|record| record.ttl_s > 0).collect();
    let places = live.iter().filter(|record| record.kind == SRV).filter_map(|record| read_place(record));
    places.take(ANNOUNCEMENTS_MAX).filter_map(|(peer, port, host)| announcement(&live, peer, port, &host)).collect()
}

fn announcement(live: &[&Record<'_>], peer: PeerId, port: u16, host: &Name) -> Option<Announcement> {
    let instance = instance_of(peer);
    let text = live.iter().find(|record| record.kind == TXT && record.name == instance)?;
    let addrs = live.iter().filter(|record| record.name == *host).filter_map(|record| read_addr(record));
    Some(Announcement { peer, port, tags: read_tags(text.content)?, addrs: addrs.take(ADDRS_MAX).collect() })
}

/// Of a service of ours: who, at which port, on which host.
fn read_place(record: &Record<'_>) -> Option<(PeerId, u16, Name)> {
    let (label, service_name) = record.name.split_first()?;
    if *service_name != service()[..] {
        return None;
    }
    let peer = std::str::from_utf8(label).ok()?.parse().ok()?;
    let mut reader = record.reader.clone();
    let _priority_and_weight = reader.bytes(4)?;
    Some((peer, reader.u16()?, reader.name()?))
}

fn read_addr(record: &Record<'_>) -> Option<IpAddr> {
    match record.kind {
        A => Some(IpAddr::from(<[u8; 4]>::try_from(record.content).ok()?)),
        AAAA => Some(IpAddr::from(<[u8; 16]>::try_from(record.content).ok()?).to_canonical()),
        _ => None,
    }
}

/// None where it is of another version.
fn read_tags(mut content: &[u8]) -> Option<Vec<Tag>> {
    let mut strings = Vec::new();
    while let Some((len, rest)) = content.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(*len))?;
        strings.push(string);
        content = rest;
    }
    if !strings.contains(&VERSION.as_bytes()) {
        return None;
    }
    let networks = strings.iter().find_map(|string| string.strip_prefix(NETWORKS.as_bytes()))?;
    let tags = std::str::from_utf8(networks).ok()?.split(',').take(TAGS_MAX);
    Some(tags.filter_map(|tag| tag.parse().ok()).collect())
}

fn service() -> Name {
    SERVICE.iter().map(|label| label.to_vec()).collect()
}

fn instance_of(peer: PeerId) -> Name {
    std::iter::once(peer.to_string().into_bytes()).chain(service()).collect()
}

/// A name of its own, for the machine may have one that others answer to.
fn host_of(peer: PeerId) -> Name {
    vec![format!("p2pd-{}", peer.short()).into_bytes(), b"local".to_vec()]
}

fn encode_header(flags: u16, questions: u16, answers: u16) -> Vec<u8> {
    [0, flags, questions, answers, 0, 0].iter().flat_map(|field| field.to_be_bytes()).collect()
}

/// Labels of ours are short and never empty.
fn encode_name(name: &Name) -> Vec<u8> {
    let labels = name.iter().flat_map(|label| std::iter::once(label.len() as u8).chain(label.iter().copied()));
    labels.chain([0]).collect()
}

const SERVICE: [&[u8]; 3] = [b"_p2pd", b"_tcp", b"local"];
const TAG_CONTEXT: &str = "p2pd lan tag v1";
const TAG_LEN: usize = 8;
const VERSION: &str = "v=1";
const NETWORKS: &str = "net=";
/// Records that name a host: RFC 6762, section 10.
const TTL_S: u32 = 120;

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;
/// The class of the internet.
const SHARED: u16 = 1;
/// The same, for what nobody else says under this name.
const UNIQUE: u16 = 0x8001;
const ANSWER: u16 = 0x8000;
const AUTHORITATIVE_ANSWER: u16 = 0x8400;
const OPCODE: u16 = 0x7800;
const RESULT: u16 = 0x000f;

/// Others ask for many services at once; beyond this nobody is answered.
const QUESTIONS_MAX: usize = 32;
/// Ours has seven.
const RECORDS_MAX: usize = 64;
/// Ours has one. A box that repeats for others may put some together.
const ANNOUNCEMENTS_MAX: usize = 8;
/// More than are used: some of them may be of other networks of that machine.
const ADDRS_MAX: usize = 4 * ADDRS_PER_RECORD_MAX;
/// A key file holds three.
const TAGS_MAX: usize = 8;

#[cfg(test)]
mod tests;
