//! The network's keys, by their names, and who has them.

use std::cmp::Reverse;
use std::io::{self, Write};

use p2p_proto::v1::{NetworkKey, NetworkMember, NetworkMemberState, NetworkResponse, RotateResponse, Rotation};

use super::document::{Document, Fields};
use super::names::{Names, short};
use super::words::counted;
use super::{Shape, Style, escape, table, time};

/// Writes the keys that are accepted, and who has the new one.
pub(crate) fn render_network(network: &NetworkResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let is_wide = match style.write_data(|| document(network), out)? {
        Shape::Data => return Ok(()),
        Shape::Text => false,
        Shape::Wide => true,
    };
    let id = if is_wide { escape::line(&network.network).into_owned() } else { short(&network.network) };
    if network.open {
        return writeln!(out, "network {id}: open, without a secret");
    }
    writeln!(out, "network {id}: {}", counted(network.keys.len() as u64, "key"))?;
    let rows = network.keys.iter().map(|key| key_row(key, is_wide, style));
    let head = ["KEY", "USE", "UNTIL"].map(str::to_owned);
    table::write(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), out)?;
    match &network.rotation {
        Some(rotation) => write_rotation(rotation, is_wide, style, out),
        None => Ok(()),
    }
}

fn key_row(key: &NetworkKey, is_wide: bool, style: &Style) -> [String; 3] {
    let name = if is_wide { escape::line(&key.name).into_owned() } else { short(&key.name) };
    let until = if key.until_us == 0 { "-".to_owned() } else { time::date_and_clock(key.until_us, &style.zone) };
    [name, if key.dialed { "dialed" } else { "accepted" }.to_owned(), until]
}

fn write_rotation(rotation: &Rotation, is_wide: bool, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let names = names_of(rotation);
    let taken = rotation.members.iter().filter(|member| member.state() == NetworkMemberState::Taken).count();
    writeln!(
        out,
        "changed by {} at {}, here since {}: {taken} of {} have it",
        names.show(&rotation.author_name, &rotation.author),
        time::date_and_clock(rotation.at_us, &style.zone),
        time::date_and_clock(rotation.taken_us, &style.zone),
        counted(rotation.members.len() as u64, "member"),
    )?;
    let mut members: Vec<&NetworkMember> = rotation.members.iter().chain(&rotation.out).collect();
    members.sort_by_key(|member| (Reverse(rank(member.state())), &member.name, &member.id));
    let row = |member: &NetworkMember| {
        let since = match member.state() {
            NetworkMemberState::Away => time::ago(member.last_seen_us, style.now),
            NetworkMemberState::Unspecified
            | NetworkMemberState::Taken
            | NetworkMemberState::Linked
            | NetworkMemberState::Out => "-".to_owned(),
        };
        [names.show(&member.name, &member.id), state_name(member.state()).to_owned(), since]
    };
    let rows = members.iter().map(|member| row(member));
    if is_wide {
        let wide = members
            .iter()
            .zip(rows)
            .map(|(member, [name, state, since])| [name, state, since, escape::line(&member.id).into_owned()]);
        let head = ["NAME", "STATE", "SINCE", "ID"].map(str::to_owned);
        return table::write(&std::iter::once(head).chain(wide).collect::<Vec<_>>(), out);
    }
    let head = ["NAME", "STATE", "SINCE"].map(str::to_owned);
    table::write(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), out)
}

fn names_of(rotation: &Rotation) -> Names {
    let mut names = Names::default();
    names.add(&rotation.author_name, &rotation.author);
    names.call(&rotation.author, &rotation.author_petname);
    rotation.members.iter().chain(&rotation.out).for_each(|member| names.add_member(member));
    names
}

fn rank(state: NetworkMemberState) -> u8 {
    match state {
        NetworkMemberState::Unspecified => 0,
        NetworkMemberState::Out => 1,
        NetworkMemberState::Away => 2,
        NetworkMemberState::Linked => 3,
        NetworkMemberState::Taken => 4,
    }
}

fn state_name(state: NetworkMemberState) -> &'static str {
    match state {
        NetworkMemberState::Unspecified => "unknown",
        NetworkMemberState::Taken => "taken",
        NetworkMemberState::Linked => "linked",
        NetworkMemberState::Away => "away",
        NetworkMemberState::Out => "out",
    }
}

fn document(network: &NetworkResponse) -> Document<'_> {
    let keys = network.keys.iter().map(|key| {
        Fields::new()
            .add("name", key.name.as_str())
            .add("dialed", key.dialed)
            .add("until", Document::time(key.until_us))
            .done()
    });
    let rotation = network.rotation.as_ref();
    let text = |field: fn(&Rotation) -> &str| rotation.map_or(Document::Null, |one| Document::filled(field(one)));
    let list = |field: fn(&Rotation) -> &[NetworkMember]| members(rotation.map_or(&[], field));
    Fields::document("network")
        .add("network", network.network.as_str())
        .add("open", network.open)
        .add("keys", Document::List(keys.collect()))
        .add("author", text(|one| &one.author))
        .add("author_name", text(|one| &one.author_name))
        .add("author_petname", text(|one| &one.author_petname))
        .add("changed", Document::time(rotation.map_or(0, |one| one.at_us)))
        .add("taken", Document::time(rotation.map_or(0, |one| one.taken_us)))
        .add("members", list(|one| &one.members))
        .add("out", list(|one| &one.out))
        .add("shut_out", network.shut_out)
        .add("left_out", network.left_out)
        .add("lost", members(&network.lost))
        .done()
}

fn members(members: &[NetworkMember]) -> Document<'_> {
    let members = members.iter().map(|member| {
        Fields::new()
            .add("id", member.id.as_str())
            .add("name", Document::filled(&member.name))
            .add("petname", Document::filled(&member.petname))
            .add("name_owner", Document::filled(&member.name_owner))
            .add("state", state_name(member.state()))
            .add("last_seen", Document::time(member.last_seen_us))
            .done()
    });
    Document::List(members.collect())
}

/// Writes what became of a change: the name of the new key, and for whom it is.
pub(crate) fn render_rotated(rotated: &RotateResponse, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let document = || {
        Fields::document("rotated")
            .add("key", rotated.key.as_str())
            .add("members", u64::from(rotated.members))
            .add("until", Document::time(rotated.until_us))
            .add("out", Document::texts(&rotated.out))
            .done()
    };
    match style.write_data(document, out)? {
        Shape::Data => Ok(()),
        Shape::Text | Shape::Wide => {
            let members = counted(rotated.members.into(), "member");
            let out_note = if rotated.out.is_empty() {
                String::new()
            } else {
                format!(", {} out", counted(rotated.out.len() as u64, "peer"))
            };
            writeln!(out, "new key {} for {members}{out_note}", short(&rotated.key))
        }
    }
}
