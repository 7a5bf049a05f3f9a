//! What is too small for a file of its own: rooms, answers to `send`, pings, versions.

use std::io::{self, Write};

use p2p_proto::v1::{MetricsResponse, RoomsResponse, SendResponse};

use super::document::{self, Document, Fields};
use super::names::Names;
use super::{Shape, Style, escape, posts, table, time};

/// Writes all rooms, and with whom we speak alone.
pub(crate) fn render_rooms(rooms: &RoomsResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    match style.write_data(|| rooms_document(rooms), out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => {
            let mut rows = vec![["ROOM", "POSTS", "NEWEST"].map(str::to_owned)];
            let mut add = |name: String, posts: u64, newest_us: i64| {
                let newest = match newest_us {
                    0 => "-".to_owned(),
                    newest_us => time::date_and_clock(newest_us, &style.zone),
                };
                rows.push([name, posts.to_string(), newest]);
            };
            for room in &rooms.rooms {
                add(escape::line(&room.name).into_owned(), room.posts, room.newest_us);
            }
            let mut names = Names::default();
            rooms.conversations.iter().for_each(|talk| names.add_partner(talk));
            for talk in &rooms.conversations {
                add(format!("@{}", names.show(&talk.name, &talk.peer)), talk.posts, talk.newest_us);
            }
            table::write(&rows, out)
        }
    }
}

fn rooms_document(rooms: &RoomsResponse) -> Document<'_> {
    let conversations = rooms.conversations.iter().map(|talk| {
        Fields::new()
            .add("peer", talk.peer.as_str())
            .add("name", talk.name.as_str())
            .add("petname", Document::filled(&talk.petname))
            .add("name_owner", Document::filled(&talk.name_owner))
            .add("posts", talk.posts)
            .add("newest", Document::time(talk.newest_us))
            .done()
    });
    let rooms = rooms.rooms.iter().map(|room| {
        Fields::new()
            .add("name", room.name.as_str())
            .add("posts", room.posts)
            .add("newest", Document::time(room.newest_us))
            .done()
    });
    Fields::document("rooms")
        .add("rooms", Document::List(rooms.collect()))
        .add("conversations", Document::List(conversations.collect()))
        .done()
}

/// Writes what became of a post that was sent.
pub(crate) fn render_sent(sent: &SendResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let id = sent.id.as_ref();
    let document = || {
        Fields::document("sent")
            .add("id", document::post_id(id))
            .add("author", id.map_or(Document::Null, |id| id.author.as_str().into()))
            .add("epoch", id.map_or(0, |id| id.epoch))
            .add("seq", id.map_or(0, |id| id.seq))
            .add("offset", sent.offset)
            .add("time", Document::time(sent.time_us))
            .add("repeated", sent.repeated)
            .done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text => writeln!(out, "{}", posts::short_id(id)),
        Shape::Wide => {
            let repeated = if sent.repeated { " repeated" } else { "" };
            let when = time::date_and_clock(sent.time_us, &style.zone);
            writeln!(out, "{} offset {} {when}{repeated}", posts::short_id(id), sent.offset)
        }
    }
}

/// One heartbeat's fate.
pub(crate) struct Pong<'a> {
    /// Escaped, as in `alice~k5x3`.
    pub(crate) name: &'a str,
    pub(crate) id: &'a str,
    /// Which heartbeat, from 1.
    pub(crate) n: u32,
    /// None where no answer came.
    pub(crate) rtt_us: Option<u32>,
}

/// Writes one heartbeat.
pub(crate) fn render_pong(pong: &Pong<'_>, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || {
        Fields::document("pong")
            .add("peer", pong.id)
            .add("n", u64::from(pong.n))
            .add("rtt_us", pong.rtt_us.map_or(Document::Null, |us| u64::from(us).into()))
            .done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => match pong.rtt_us {
            Some(us) => writeln!(out, "{}: {} {}", pong.name, pong.n, time::rtt(us.max(1))),
            None => writeln!(out, "{}: {} no answer", pong.name, pong.n),
        },
    }
}

/// Writes how all heartbeats to one peer went.
pub(crate) fn render_pongs(pong: &Pong<'_>, rtts_us: &[u32], style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let min = rtts_us.iter().min().copied();
    let max = rtts_us.iter().max().copied();
    let sum: u64 = rtts_us.iter().copied().map(u64::from).sum();
    let mean = sum.checked_div(rtts_us.len() as u64).and_then(|mean| u32::try_from(mean).ok());
    let document = || {
        let rtt = |us: Option<u32>| us.map_or(Document::Null, |us| u64::from(us).into());
        Fields::document("pings")
            .add("peer", pong.id)
            .add("sent", u64::from(pong.n))
            .add("answered", rtts_us.len() as u64)
            .add("rtt_min_us", rtt(min))
            .add("rtt_mean_us", rtt(mean))
            .add("rtt_max_us", rtt(max))
            .done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => {
            write!(out, "{}: {} of {} answered", pong.name, rtts_us.len(), pong.n)?;
            if let (Some(min), Some(mean), Some(max)) = (min, mean, max) {
                let [min, mean, max] = [min, mean, max].map(|us| time::rtt(us.max(1)));
                write!(out, ", min {min}, mean {mean}, max {max}")?;
            }
            writeln!(out)
        }
    }
}

/// Writes all figures, in the form that scrapers read.
pub(crate) fn render_metrics(metrics: &MetricsResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    match style.write_data(|| Fields::document("metrics").add("text", metrics.text.as_str()).done(), out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => metrics.text.lines().try_for_each(|line| writeln!(out, "{}", escape::line(line))),
    }
}

/// Writes the result of something that has no result but that it was done.
pub(crate) fn render_done(kind: &'static str, text: &str, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    match style.write_data(|| Fields::document(kind).add("ok", true).done(), out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => writeln!(out, "{}", escape::line(text)),
    }
}

/// Writes how many are being dialed.
pub(crate) fn render_reconnect(dials: u32, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || Fields::document("reconnect").add("ok", true).add("dials", u64::from(dials)).done();
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => match dials {
            0 => writeln!(out, "nobody is left to dial"),
            1 => writeln!(out, "dialing 1 peer"),
            _ => writeln!(out, "dialing {dials} peers"),
        },
    }
}

/// Writes both versions; the daemon's is not known where none runs.
pub(crate) fn render_version(daemon: Option<&str>, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || {
        let daemon = daemon.map_or(Document::Null, Document::from);
        Fields::document("version").add("p2pctl", env!("CARGO_PKG_VERSION")).add("p2pd", daemon).done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => {
            writeln!(out, "p2pctl {}", env!("CARGO_PKG_VERSION"))?;
            daemon.map_or(Ok(()), |version| writeln!(out, "p2pd {}", escape::line(version)))
        }
    }
}
