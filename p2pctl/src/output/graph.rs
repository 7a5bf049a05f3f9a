//! Who is linked to whom: as lines, for graphviz, and as a picture.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write};

use p2p_proto::v1::{GraphPeer, GraphResponse};

use super::document::{Document, Fields};
use super::names::Names;
use super::{Shape, Style, escape, table};
use crate::args::GraphFormat;

/// A link as its two ends tell of it: the smaller id first.
struct Edge<'a> {
    ends: (&'a str, &'a str),
    /// One end tells of its links and does not name this one: it is old, or new.
    is_doubtful: bool,
}

/// Writes the mesh.
pub(crate) fn render_graph(
    graph: &GraphResponse,
    format: GraphFormat,
    style: &Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    match (style.write_data(|| document(graph), out)?, format) {
        (Shape::Data, _) => Ok(()),
        (Shape::Text | Shape::Wide, GraphFormat::Text) => write_text(graph, out),
        (Shape::Text | Shape::Wide, GraphFormat::Dot) => write_dot(graph, out),
        (Shape::Text | Shape::Wide, GraphFormat::Svg) => write_svg(graph, out),
    }
}

fn document(graph: &GraphResponse) -> Document<'_> {
    let peers = graph.peers.iter().map(|peer| {
        Fields::new()
            .add("id", peer.id.as_str())
            .add("name", Document::filled(&peer.name))
            .add("petname", Document::filled(&peer.petname))
            .add("told", peer.told)
            .add("neighbors", Document::texts(&peer.neighbors))
            .add("strangers", u64::from(peer.strangers))
            .done()
    });
    Fields::document("graph").add("peers", Document::List(peers.collect())).done()
}

/// A line a peer. Of those that tell nothing themselves, others may.
fn write_text(graph: &GraphResponse, out: &mut dyn Write) -> io::Result<()> {
    let names = names_of(graph);
    let mut rows = vec![["PEER", "LINKS", "NEIGHBORS"].map(str::to_owned)];
    for peer in &graph.peers {
        let mut shown: Vec<&str> = if peer.told {
            peer.neighbors.iter().filter_map(|id| Some(names.get(id.as_str())?.as_str())).collect()
        } else {
            graph
                .peers
                .iter()
                .filter(|other| other.neighbors.contains(&peer.id))
                .filter_map(|other| Some(names.get(other.id.as_str())?.as_str()))
                .collect()
        };
        shown.sort_unstable();
        let more = format!("and {} more", peer.strangers);
        shown.extend((peer.strangers > 0).then_some(more.as_str()));
        let links =
            if peer.told { (peer.neighbors.len() + peer.strangers as usize).to_string() } else { "?".to_owned() };
        let neighbors = if shown.is_empty() { "-".to_owned() } else { shown.join(" ") };
        rows.push([names[peer.id.as_str()].clone(), links, neighbors]);
    }
    table::write(&rows, out)
}

fn write_dot(graph: &GraphResponse, out: &mut dyn Write) -> io::Result<()> {
    let names = names_of(graph);
    writeln!(out, "graph p2p {{\n  node [shape=box];")?;
    for (index, peer) in graph.peers.iter().enumerate() {
        let look = match (index, peer.told) {
            (0, _) => ", style=bold",
            (_, true) => "",
            (_, false) => ", style=dotted",
        };
        writeln!(out, "  {} [label={}{look}];", quoted(&peer.id), quoted(&names[peer.id.as_str()]))?;
    }
    for Edge { ends: (one, other), is_doubtful } in edges(graph) {
        let look = if is_doubtful { " [style=dashed]" } else { "" };
        writeln!(out, "  {} -- {}{look};", quoted(one), quoted(other))?;
    }
    writeln!(out, "}}")
}

fn write_svg(graph: &GraphResponse, out: &mut dyn Write) -> io::Result<()> {
    let names = names_of(graph);
    let radius = RADIUS_MIN.max(PEER_SPACE * graph.peers.len() as f64 / std::f64::consts::TAU);
    let (width, height) = (2.0 * (radius + NAME_SPACE), 2.0 * (radius + MARGIN));
    let place = |index: usize| {
        let angle = std::f64::consts::TAU * index as f64 / graph.peers.len().max(1) as f64;
        (width / 2.0 + radius * angle.sin(), height / 2.0 - radius * angle.cos())
    };
    let places: BTreeMap<&str, (f64, f64)> =
        graph.peers.iter().enumerate().map(|(index, peer)| (peer.id.as_str(), place(index))).collect();
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>"
    )?;
    for Edge { ends, is_doubtful } in edges(graph) {
        let ((x1, y1), (x2, y2)) = (places[ends.0], places[ends.1]);
        let dash = if is_doubtful { " stroke-dasharray=\"4\"" } else { "" };
        writeln!(out, "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"gray\"{dash}/>")?;
    }
    for (index, peer) in graph.peers.iter().enumerate() {
        let (x, y) = places[peer.id.as_str()];
        let fill = match (index, peer.told) {
            (0, _) => "orange",
            (_, true) => "steelblue",
            (_, false) => "lightgray",
        };
        // Names stand outside of the circle.
        let (anchor, dx) = if x < width / 2.0 - 1.0 { ("end", -12.0) } else { ("start", 12.0) };
        let name = xml(&names[peer.id.as_str()]);
        writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"7\" fill=\"{fill}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{name}</text>",
            x + dx,
            y + 4.0
        )?;
    }
    writeln!(out, "</svg>")
}

/// Every link that anybody tells of, once. What a daemon names that it does not list is left out.
fn edges(graph: &GraphResponse) -> Vec<Edge<'_>> {
    let peers: BTreeMap<&str, &GraphPeer> = graph.peers.iter().map(|peer| (peer.id.as_str(), peer)).collect();
    let mut ends = BTreeSet::new();
    for peer in &graph.peers {
        let known = peer.neighbors.iter().filter(|id| **id != peer.id && peers.contains_key(id.as_str()));
        ends.extend(known.map(|other| (peer.id.as_str().min(other), peer.id.as_str().max(other))));
    }
    let denies = |one: &str, other: &str| {
        peers.get(one).is_some_and(|peer| peer.told && !peer.neighbors.iter().any(|id| id == other))
    };
    let edge = |ends: (_, _)| Edge { ends, is_doubtful: denies(ends.0, ends.1) || denies(ends.1, ends.0) };
    ends.into_iter().map(edge).collect()
}

/// By id: as people are shown them.
fn names_of(graph: &GraphResponse) -> BTreeMap<&str, String> {
    let mut names = Names::default();
    for peer in &graph.peers {
        names.add(&peer.name, &peer.id);
        names.call(&peer.id, &peer.petname);
    }
    graph.peers.iter().map(|peer| (peer.id.as_str(), names.show(&peer.name, &peer.id))).collect()
}

/// As graphviz wants text that may hold anything.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escape::line(text).replace('\\', "\\\\").replace('"', "\\\""))
}

fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '"' | '\'' => {
                write!(safe, "&#{};", u32::from(character)).expect("writing into a String cannot fail");
            }
            _ => safe.push(character),
        }
    }
    safe
}

/// Of the circle on which peers stand, in pixels.
const RADIUS_MIN: f64 = 120.0;
/// Between two peers on it.
const PEER_SPACE: f64 = 24.0;
/// For a name beside it.
const NAME_SPACE: f64 = 280.0;
const MARGIN: f64 = 24.0;
