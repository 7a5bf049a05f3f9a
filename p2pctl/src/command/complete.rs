//! What a shell may put in place of a word: peers and rooms that the daemon knows, and words that a value has to be.
//!
//! The scripts of `completions` ask for it, with the words that were typed so far. Where nothing is found they go on with
//! what they know themselves.

use std::io::Write;

use clap::{Arg, CommandFactory};
use p2p_proto::v1::{Peer, PeersRequest, RoomsRequest};

use super::Session;
use crate::args::Cli;
use crate::exit::Outcome;
use crate::output::names::short;
use crate::output::peers::{names_of, show};
use crate::output::schema;

/// What stands at a place of a command line.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Wanted {
    Peer,
    Room,
    OneOf(Vec<String>),
}

/// Writes a candidate a line for the word at `at`, where word 0 is the program.
pub(crate) async fn run(at: usize, words: &[String], session: &mut Session) -> Outcome {
    let Some(wanted) = wanted(at, words) else { return Ok(()) };
    let begin = words.get(at).map_or("", String::as_str);
    let found = match wanted {
        Wanted::Peer => peers(session).await?,
        Wanted::Room => rooms(session).await?,
        Wanted::OneOf(words) => words,
    };
    for candidate in found.iter().filter(|candidate| candidate.starts_with(begin)) {
        writeln!(session.io.stdout, "{candidate}")?;
    }
    Ok(session.io.stdout.flush()?)
}

impl Wanted {
    fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self::OneOf(words.into_iter().map(str::to_owned).collect())
    }
}

async fn peers(session: &mut Session) -> Outcome<Vec<String>> {
    let client = session.client().await?;
    let known = session.answer("complete", client.mesh().peers(PeersRequest {})).await?.peers;
    let names = names_of(&known);
    let call = |peer: &Peer| {
        let shown = show(peer, &names);
        // It goes into a command line, so a name with a space or worse is left out for the key.
        if shown.chars().all(is_plain) { shown } else { short(&peer.id) }
    };
    Ok(known.iter().filter(|peer| !peer.id.is_empty()).map(call).collect())
}

async fn rooms(session: &mut Session) -> Outcome<Vec<String>> {
    let client = session.client().await?;
    let rooms = session.answer("complete", client.chat().rooms(RoomsRequest {})).await?.rooms;
    Ok(rooms.into_iter().map(|room| room.name).filter(|name| name.chars().all(is_plain)).collect())
}

/// No shell reads anything into these. A `~` is a home directory only at the beginning, where none of ours has one.
fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-' | '~')
}

/// Walks along the words before the one at `at`, as the command line is read.
fn wanted(at: usize, words: &[String]) -> Option<Wanted> {
    let mut command = Cli::command();
    command.build();
    let mut command = &command;
    let mut positionals = 0;
    let mut open: Option<&Arg> = None;
    let mut is_text = false;
    for word in words.get(1..at)? {
        if open.take().is_some() {
            continue;
        }
        if !is_text && word == "--" {
            is_text = true;
        } else if !is_text && word.len() > 1 && word.starts_with('-') {
            open = option(command, word);
        } else if let Some(inner) = command.find_subcommand(word).filter(|_| positionals == 0) {
            command = inner;
        } else {
            positionals += 1;
        }
    }
    let is_option = !is_text && words.get(at).is_some_and(|word| word.starts_with('-'));
    match open {
        Some(arg) => kind(arg),
        None if is_option => None,
        None => kind(positional(command, positionals)?),
    }
}

/// The option that the next word is the value of.
fn option<'a>(command: &'a clap::Command, word: &str) -> Option<&'a Arg> {
    let takes = |arg: &&Arg| arg.get_action().takes_values();
    if let Some(long) = word.strip_prefix("--") {
        return command.get_arguments().find(|arg| arg.get_long() == Some(long)).filter(takes);
    }
    let last = word.chars().last()?;
    command.get_arguments().find(|arg| arg.get_short() == Some(last)).filter(takes)
}

/// The positional at a place; the last one may stand for all that follow.
fn positional(command: &clap::Command, at: usize) -> Option<&Arg> {
    let many = |arg: &&Arg| matches!(arg.get_action(), clap::ArgAction::Append);
    command.get_positionals().nth(at).or_else(|| command.get_positionals().last().filter(many))
}

fn kind(arg: &Arg) -> Option<Wanted> {
    match arg.get_value_names()?.first()?.as_str() {
        "PEER" => Some(Wanted::Peer),
        "ROOM" => Some(Wanted::Room),
        "FILTER" => Some(Wanted::one_of(["error", "warn", "info", "debug", "trace", "off"])),
        "KIND" => Some(Wanted::one_of(schema::names())),
        // `stored|sent|N`: what is in capitals is for somebody else to know.
        words if words.contains('|') => {
            Some(Wanted::one_of(words.split('|').filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<Wanted>) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        assert_eq!(wanted(words.len() - 1, &words), expected, "{line:?}");
    }

    #[test]
    fn each_place_of_a_command_line_wants_what_its_help_says() {
        for line in [
            "p2pctl ping ",
            "p2pctl ping al",
            "p2pctl -s /run/x ping -n 3 ",
            "p2pctl peers show ",
            "p2pctl peers name ",
            "p2pctl peers block k5",
            "p2pctl watch general --from ",
            "p2pctl history --from a --from ",
        ] {
            check(line, Some(Wanted::Peer));
        }
        for line in ["p2pctl send -r ", "p2pctl send --room ge", "p2pctl watch a b ", "p2pctl history ", "p2pctl sync "]
        {
            check(line, Some(Wanted::Room));
        }
        for line in [
            "p2pctl ",
            "p2pctl pe",
            "p2pctl peers ",
            "p2pctl ping -",
            "p2pctl ping alice ",
            "p2pctl send ",
            "p2pctl send -- -r ",
            "p2pctl peers add ",
            "p2pctl watch --exec ",
        ] {
            check(line, None);
        }
        assert_eq!(wanted(9, &["p2pctl".to_owned()]), None);
        check("p2pctl send -w ", Some(Wanted::one_of(["stored", "sent", "online", "everyone"])));
        let one_of = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            if let Some(Wanted::OneOf(words)) = wanted(words.len() - 1, &words) { words } else { Vec::new() }
        };
        assert!(one_of("p2pctl daemon log-level ").contains(&"debug".to_owned()));
        assert!(one_of("p2pctl schema ").contains(&"post".to_owned()));
    }
}
