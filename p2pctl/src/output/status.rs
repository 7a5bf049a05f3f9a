//! The daemon's state.

use std::io::{self, Write};

use p2p_proto::v1::{Health, StatusResponse};

use super::document::{Document, Fields};
use super::names::Names;
use super::words::counted;
use super::{Shape, Style, escape, table, time};

/// Writes the state, a field a line.
pub(crate) fn render_status(status: &StatusResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    match style.write_data(|| document(status), out)? {
        Shape::Data => Ok(()),
        Shape::Text => table::write(&facts(status), out),
        Shape::Wide => {
            let mut rows = facts(status);
            rows.extend(counters(status).map(|(name, count)| [escape::line(name).into_owned(), count.to_string()]));
            table::write(&rows, out)
        }
    }
}

/// Writes the answer to `health`.
pub(crate) fn render_health(status: &StatusResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || {
        Fields::document("health")
            .add("health", health_name(status.health()))
            .add("ready", status.ready)
            .add("problems", Document::texts(&status.problems))
            .done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => {
            writeln!(out, "{}", health_line(status))?;
            status.problems.iter().try_for_each(|problem| writeln!(out, "{}", escape::line(problem)))
        }
    }
}

/// The state in one word, as it is named everywhere.
pub(crate) fn health_name(health: Health) -> &'static str {
    match health {
        Health::Unspecified => "UNKNOWN",
        Health::Starting => "STARTING",
        Health::Recovering => "RECOVERING",
        Health::Isolated => "ISOLATED",
        Health::Syncing => "SYNCING",
        Health::Ready => "READY",
        Health::Degraded => "DEGRADED",
        Health::Stopping => "STOPPING",
    }
}

/// The state, and whether it counts as ready where the word does not say so.
pub(crate) fn health_line(status: &StatusResponse) -> String {
    let name = health_name(status.health());
    match (status.ready, status.health() == Health::Ready) {
        (true, false) => format!("{name} (ready)"),
        (false, true) => format!("{name} (not ready)"),
        (true, true) | (false, false) => name.to_owned(),
    }
}

fn facts(status: &StatusResponse) -> Vec<[String; 2]> {
    let name = Names::default().add_and_show(&status.name, &status.id);
    let list = |items: &[String]| {
        let items: Vec<_> = items.iter().map(|item| escape::line(item)).collect();
        if items.is_empty() { "-".to_owned() } else { items.join(" ") }
    };
    let text = |text: &str| escape::line(text).into_owned();
    let network = if status.open_network { "open to everybody" } else { "closed" };
    let mut facts = vec![("peer", name), ("id", text(&status.id)), ("health", health_line(status))];
    // What a person should see stands where a small screen still shows it.
    facts.extend(status.problems.iter().map(|problem| ("problem", text(problem))));
    facts.extend([
        ("network", format!("{} ({network})", text(&status.network))),
        ("peers", format!("{} up, {} known", status.peers_up, status.peers_known)),
        (
            "posts",
            format!("{} ({}) in {}", status.posts, time::bytes(status.bytes), counted(status.feeds.into(), "feed")),
        ),
        ("missing", counted(status.missing_posts, "post")),
    ]);
    // Worth a line only where there are some.
    let rare = [
        ("unacknowledged", status.unacked_own_posts, "own post", "held by nobody else"),
        ("unavailable", status.unavailable_posts, "post", "held by no linked peer any more"),
        ("expired", status.expired_posts, "post", "dropped by retention"),
    ];
    let rare = rare.into_iter().filter(|(_, count, _, _)| *count > 0);
    facts.extend(rare.map(|(key, count, what, why)| (key, format!("{}, {why}", counted(count, what)))));
    facts.extend([
        ("digest", text(&status.digest)),
        ("offset", status.offset.to_string()),
        ("default room", text(&status.default_room)),
        ("listen", list(&status.listen)),
        ("advertise", list(&status.advertise)),
        ("api", list(&status.api)),
        ("data", text(&status.data_dir)),
        ("version", text(&status.version)),
        ("epoch", status.epoch.to_string()),
        ("uptime", time::span_ms(status.uptime_ms)),
        ("pid", status.pid.to_string()),
    ]);
    facts.into_iter().map(|(key, value)| [key.to_owned(), value]).collect()
}

fn document(status: &StatusResponse) -> Document<'_> {
    let counted = counters(status).fold(Fields::new(), |fields, (name, count)| fields.add(name, count));
    Fields::document("status")
        .add("id", status.id.as_str())
        .add("name", Document::filled(&status.name))
        .add("epoch", status.epoch)
        .add("version", status.version.as_str())
        .add("health", health_name(status.health()))
        .add("ready", status.ready)
        .add("problems", Document::texts(&status.problems))
        .add("network", status.network.as_str())
        .add("open_network", status.open_network)
        .add("listen", Document::texts(&status.listen))
        .add("advertise", Document::texts(&status.advertise))
        .add("api", Document::texts(&status.api))
        .add("data_dir", status.data_dir.as_str())
        .add("uptime_ms", status.uptime_ms)
        .add("peers_up", u64::from(status.peers_up))
        .add("peers_known", u64::from(status.peers_known))
        .add("posts", status.posts)
        .add("bytes", status.bytes)
        .add("offset", status.offset)
        .add("digest", status.digest.as_str())
        .add("feeds", u64::from(status.feeds))
        .add("missing_posts", status.missing_posts)
        .add("default_room", status.default_room.as_str())
        .add("pid", u64::from(status.pid))
        .add("counters", counted.done())
        .add("unacked_own_posts", status.unacked_own_posts)
        .add("expired_posts", status.expired_posts)
        .add("unavailable_posts", status.unavailable_posts)
        .done()
}

/// Sorted by name, since the map of the message has no order.
fn counters(status: &StatusResponse) -> impl Iterator<Item = (&str, u64)> {
    let mut counters: Vec<_> = status.counters.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    counters.sort_unstable();
    counters.into_iter()
}
