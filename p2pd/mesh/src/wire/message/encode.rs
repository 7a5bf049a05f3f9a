//! Messages to frames.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Digest, Have, Hello, Message, Role};
use crate::envelope::{Envelope, RawEnvelope};
use crate::id::{FeedId, base64url};
use crate::membership::record::{Addr, Record};
use crate::wire::frame::{PREFIX_LEN, finish_frame};

impl Message {
    /// The message as a frame with its length in front.
    ///
    /// # Panics
    ///
    /// For `Reserved` and `Unknown`, which this version never sends.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Hello(hello) => encode(&Encoding::hello(hello)),
            Self::Bye(bye) => encode(&Encoding::Bye {
                code: bye.code.name(),
                why: &bye.why,
                retry_ms: bye.retry_ms,
                records: bye.records.iter().map(Signed::record).collect(),
            }),
            Self::Ping(ping) => encode(&Encoding::Ping { n: ping.n, t: ping.t, digest: ping.digest.encoding() }),
            Self::Pong(pong) => {
                encode(&Encoding::Pong { n: pong.n, t: pong.t, r: pong.r, digest: pong.digest.encoding() })
            }
            Self::Suspect(instance) => {
                encode(&Encoding::Suspect { id: instance.id.to_string(), epoch: instance.epoch.0 })
            }
            Self::Peers(records) => encode(&Encoding::Peers { records: records.iter().map(Signed::record).collect() }),
            Self::View(view) => encode(&Encoding::View {
                mode: if view.full { "full" } else { "partial" },
                neighbors: &view.neighbors,
                estimate: view.estimate,
            }),
            Self::Envelopes(envelopes) => {
                let items: Vec<RawEnvelope> = envelopes.items.iter().map(Envelope::raw).collect();
                encode_envelopes(&items, envelopes.hop, envelopes.live, envelopes.more)
            }
            Self::Have(haves) => encode(&Encoding::Have { h: haves.iter().map(HaveEncoding::of).collect() }),
            Self::Want(want) => encode(&Encoding::Want {
                feed: want.feed.to_string(),
                ranges: want.ranges.iter().map(|(from, to)| (from.0, to.map(|to| to.0))).collect(),
                push: want.push,
            }),
            Self::Prune(feeds) => encode(&Encoding::Prune { feeds: feeds.iter().map(FeedId::to_string).collect() }),
            Self::Gone { feed, floor } => encode(&Encoding::Gone { feed: feed.to_string(), floor: floor.0 }),
            Self::Heads(heads) => encode(&Encoding::Heads {
                part: heads.part,
                of: heads.of,
                h: heads
                    .heads
                    .iter()
                    .map(|head| {
                        (head.feed.id.to_string(), head.feed.epoch.0, head.floor.0, head.head.0, base64url(&head.hash))
                    })
                    .collect(),
            }),
            Self::Reserved(_) | Self::Unknown => unreachable!("this version sends no such frame"),
        }
    }
}

/// The frame for some envelopes, without reading them.
pub(crate) fn encode_envelopes(items: &[RawEnvelope], hop: u64, live: bool, more: bool) -> Bytes {
    let len = items.iter().map(|item| item.bytes.len() + ITEM_OVERHEAD).sum::<usize>() + FRAME_OVERHEAD;
    let mut out = Vec::with_capacity(len);
    out.resize(PREFIX_LEN, 0);
    let more = if more { r#","more":true"# } else { "" };
    out.extend_from_slice(format!(r#"{{"type":"envelopes","hop":{hop},"live":{live}{more},"items":["#).as_bytes());
    for (at, item) in items.iter().enumerate() {
        out.extend_from_slice(if at == 0 { br#"{"body":"# } else { br#",{"body":"# });
        out.extend_from_slice(&item.bytes);
        out.extend_from_slice(br#","sig":""#);
        out.extend_from_slice(base64url(&item.signature).as_bytes());
        out.extend_from_slice(br#""}"#);
    }
    out.extend_from_slice(b"]}");
    Bytes::from(finish_frame(out))
}

impl Digest {
    fn encoding(self) -> DigestEncoding {
        let fingerprint = base64url(&self.fingerprint);
        match self.holes {
            0 => DigestEncoding::Whole(fingerprint, self.feeds),
            holes => DigestEncoding::Holed(fingerprint, self.feeds, holes),
        }
    }
}

fn encode(encoding: &Encoding<'_>) -> Bytes {
    let mut out = vec![0; PREFIX_LEN];
    serde_json::to_writer(&mut out, encoding).expect(INFALLIBLE);
    Bytes::from(finish_frame(out))
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Encoding<'a> {
    Hello {
        proto: (u64, u64),
        epoch: u64,
        agent: &'a str,
        name: &'a str,
        listen: Vec<&'a str>,
        observed: &'a str,
        caps: &'a [String],
        dial: u64,
        role: &'a str,
        time: u64,
        record: Signed<'a>,
    },
    Bye {
        code: &'a str,
        why: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        records: Vec<Signed<'a>>,
    },
    Ping {
        n: u64,
        t: u64,
        digest: DigestEncoding,
    },
    Pong {
        n: u64,
        t: u64,
        r: u64,
        digest: DigestEncoding,
    },
    Suspect {
        id: String,
        epoch: u64,
    },
    Peers {
        records: Vec<Signed<'a>>,
    },
    View {
        mode: &'a str,
        neighbors: &'a [String],
        estimate: u64,
    },
    Have {
        h: Vec<HaveEncoding>,
    },
    Want {
        feed: String,
        ranges: Vec<(u64, Option<u64>)>,
        push: bool,
    },
    Prune {
        feeds: Vec<String>,
    },
    Gone {
        feed: String,
        floor: u64,
    },
    Heads {
        part: u64,
        of: u64,
        h: Vec<(String, u64, u64, u64, String)>,
    },
}

impl<'a> Encoding<'a> {
    fn hello(hello: &'a Hello) -> Self {
        Self::Hello {
            proto: hello.proto,
            epoch: hello.epoch.0,
            agent: &hello.agent,
            name: &hello.record.name,
            listen: hello.record.addrs.iter().map(Addr::as_str).collect(),
            observed: &hello.observed,
            caps: &hello.caps,
            dial: hello.dial,
            role: match hello.role {
                Role::Peer => "peer",
                Role::Feeler => "feeler",
            },
            time: hello.time,
            record: Signed::record(&hello.record),
        }
    }
}

#[derive(Serialize)]
struct Signed<'a> {
    body: &'a RawValue,
    sig: String,
}

impl<'a> Signed<'a> {
    fn record(record: &'a Record) -> Self {
        let body =
            serde_json::from_str(record.body()).expect("a record's body is JSON: it was read or written as such");
        Self { body, sig: base64url(record.signature()) }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum DigestEncoding {
    Whole(String, u64),
    Holed(String, u64, u64),
}

#[derive(Serialize)]
#[serde(untagged)]
enum HaveEncoding {
    Whole(String, u64),
    Floored(String, u64, u64),
}

impl HaveEncoding {
    fn of(have: &Have) -> Self {
        let feed = have.feed.to_string();
        if have.floor.0 <= 1 { Self::Whole(feed, have.head.0) } else { Self::Floored(feed, have.head.0, have.floor.0) }
    }
}

/// `{"body":,"sig":""},` and 86 characters of signature.
const ITEM_OVERHEAD: usize = 19 + 86;
/// Length, type, hop and the rest around the items.
const FRAME_OVERHEAD: usize = 96;
const INFALLIBLE: &str = "writing to memory does not fail";
