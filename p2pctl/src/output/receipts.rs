//! Who holds a post.

use std::cmp::Reverse;
use std::io::{self, Write};

use p2p_proto::v1::{Holder, HolderState, Receipt};

use super::document::{self, Document, Fields};
use super::names::Names;
use super::{Shape, Style, escape, table, time};

/// Writes who holds a post: how many, then each.
pub(crate) fn render_receipt(receipt: &Receipt, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    match style.write_data(|| document(receipt), out)? {
        Shape::Data => Ok(()),
        Shape::Text => {
            writeln!(out, "{}", summary(receipt))?;
            write_table(["NAME", "STATE", "SINCE"], receipt, |holder, names| short_row(holder, names, style), out)
        }
        Shape::Wide => {
            writeln!(out, "{}", summary(receipt))?;
            let row = |holder: &Holder, names: &Names| wide_row(holder, names, style);
            write_table(["NAME", "STATE", "SINCE", "SEEN", "ID"], receipt, row, out)
        }
    }
}

/// The names of these peers, told apart from each other.
pub(crate) fn names_of<'a>(holders: impl IntoIterator<Item = &'a Holder>) -> Names {
    let mut names = Names::default();
    for holder in holders {
        names.add(&holder.name, &holder.peer);
        names.call(&holder.peer, &holder.petname);
    }
    names
}

/// How near a state is to holding the post.
pub(crate) fn rank(state: HolderState) -> u8 {
    match state {
        HolderState::Unspecified => 0,
        HolderState::Away => 1,
        HolderState::Linked => 2,
        HolderState::Sent => 3,
        HolderState::Holds => 4,
    }
}

fn summary(receipt: &Receipt) -> String {
    let holders = receipt.holders.iter().filter(|holder| holder.state() == HolderState::Holds).count();
    let known = receipt.holders.len();
    let here = if receipt.held { "" } else { "not held here; " };
    let alone = if known == 0 { ": no other peer is known" } else { "" };
    format!("{here}held by {holders} of {known}{alone}")
}

fn write_table<const N: usize>(
    head: [&str; N],
    receipt: &Receipt,
    row: impl Fn(&Holder, &Names) -> [String; N],
    out: &mut dyn Write,
) -> io::Result<()> {
    if receipt.holders.is_empty() {
        return Ok(());
    }
    let names = names_of(&receipt.holders);
    let mut holders: Vec<&Holder> = receipt.holders.iter().collect();
    holders.sort_by_key(|holder| (Reverse(rank(holder.state())), &holder.name, &holder.peer));
    let rows = holders.into_iter().map(|holder| row(holder, &names));
    table::write(&std::iter::once(head.map(str::to_owned)).chain(rows).collect::<Vec<_>>(), out)
}

/// Only who is away is away since some time; of a link the time of its last word says nothing.
fn short_row(holder: &Holder, names: &Names, style: &Style) -> [String; 3] {
    let since = match holder.state() {
        HolderState::Away => time::ago(holder.last_seen_us, style.now),
        HolderState::Unspecified | HolderState::Linked | HolderState::Sent | HolderState::Holds => "-".to_owned(),
    };
    [names.show(&holder.name, &holder.peer), state_name(holder.state()).to_owned(), since]
}

fn wide_row(holder: &Holder, names: &Names, style: &Style) -> [String; 5] {
    let [name, state, since] = short_row(holder, names, style);
    let seen = time::ago(holder.last_seen_us, style.now);
    [name, state, since, seen, escape::line(&holder.peer).into_owned()]
}

fn state_name(state: HolderState) -> &'static str {
    match state {
        HolderState::Unspecified => "unknown",
        HolderState::Holds => "holds",
        HolderState::Sent => "sent",
        HolderState::Linked => "linked",
        HolderState::Away => "away",
    }
}

fn document(receipt: &Receipt) -> Document<'_> {
    let id = receipt.id.as_ref();
    let holders = receipt.holders.iter().map(|holder| {
        Fields::new()
            .add("peer", holder.peer.as_str())
            .add("name", Document::filled(&holder.name))
            .add("state", state_name(holder.state()))
            .add("petname", Document::filled(&holder.petname))
            .add("last_seen", Document::time(holder.last_seen_us))
            .done()
    });
    let holds = receipt.holders.iter().filter(|holder| holder.state() == HolderState::Holds).count();
    Fields::document("receipt")
        .add("id", document::post_id(id))
        .add("author", id.map_or(Document::Null, |id| id.author.as_str().into()))
        .add("epoch", id.map_or(0, |id| id.epoch))
        .add("seq", id.map_or(0, |id| id.seq))
        .add("held", receipt.held)
        .add("held_by", holds as u64)
        .add("known", receipt.holders.len() as u64)
        .add("holders", Document::List(holders.collect()))
        .done()
}
