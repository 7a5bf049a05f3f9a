//! Which peer a person means.

use p2p_proto::error::Code;
use p2p_proto::v1::{Peer, PeersRequest, PostId};

use super::{Session, fetch_status};
use crate::exit::{Exit, Outcome, Problem, Stop};
use crate::output::{escape, peers};
use crate::parse::{self, ID_LEN, PREFIX_LEN_MIN, is_base32};

/// The whole ids of these peers. Asks the daemon only where one is not written out.
pub(crate) async fn resolve_all(written: &[String], session: &mut Session) -> Outcome<Vec<String>> {
    if written.iter().all(|text| is_whole_id(text)) {
        return Ok(written.to_vec());
    }
    let known = known(session).await?;
    written.iter().map(|text| Ok(find(&known, text)?.id.clone())).collect()
}

/// The whole id of one peer.
pub(crate) async fn resolve(written: &str, session: &mut Session) -> Outcome<String> {
    let mut ids = resolve_all(&[written.to_owned()], session).await?;
    Ok(ids.remove(0))
}

/// The whole id of a peer, or nothing where none is written.
pub(crate) async fn resolve_optional(written: Option<&str>, session: &mut Session) -> Outcome<String> {
    match written {
        Some(written) => resolve(written, session).await,
        None => Ok(String::new()),
    }
}

/// A post by its id, whose author is written short or whole.
pub(crate) async fn resolve_post(written: &str, session: &mut Session) -> Outcome<PostId> {
    let (author, epoch, seq) = parse::post_id(written)?;
    let author = resolve(&author, session).await.map_err(|stop| match stop {
        Stop::Problem(problem) if problem.exit == Exit::NotFound => {
            let hint = "write the author's whole id, as JSON output shows it";
            problem.with_hint(hint).into()
        }
        stop => stop,
    })?;
    Ok(PostId { author, epoch, seq })
}

/// Every peer that the daemon knows, and itself behind them.
pub(super) async fn known(session: &mut Session) -> Outcome<Vec<Peer>> {
    let client = session.client().await?;
    let mut known = session.answer("peers", client.mesh().peers(PeersRequest {})).await?.peers;
    let own = fetch_status("peers", session).await?;
    known.push(Peer { id: own.id, name: own.name, ..Peer::default() });
    Ok(known)
}

/// The one peer meant by an id, 6 or more first characters of one, a name, or `name~key`.
pub(crate) fn find<'a>(known: &'a [Peer], written: &str) -> Result<&'a Peer, Problem> {
    // Our user's own word goes before what others call themselves.
    if let Some(peer) = known.iter().find(|peer| is_called(&peer.petname, written)) {
        return Ok(peer);
    }
    let found: Vec<&Peer> = known.iter().filter(|peer| !peer.id.is_empty() && is_meant(peer, written)).collect();
    match found[..] {
        [peer] => Ok(peer),
        [] => {
            let problem =
                Problem::new(Exit::NotFound, Code::NotFound.name(), format!("peer {written:?}: nobody is called so"));
            Err(problem.with_hint("see who is there: p2pctl peers -a"))
        }
        _ => {
            let names = peers::names_of(known);
            let who: Vec<String> =
                found.iter().map(|peer| format!("{} ({})", peers::show(peer, &names), peer.id)).collect();
            let message = format!("peer {written:?}: {} are called so: {}", who.len(), who.join(", "));
            Err(Problem::new(Exit::Conflict, "AMBIGUOUS", message)
                .with_hint("write more of the key, as in: name~k5x3ab"))
        }
    }
}

fn is_meant(peer: &Peer, written: &str) -> bool {
    let is_prefix = written.len() >= PREFIX_LEN_MIN && written.bytes().all(is_base32) && peer.id.starts_with(written);
    let is_name = |text: &str| is_called(&peer.name, text);
    let is_both = written
        .rsplit_once('~')
        .is_some_and(|(name, key)| !key.is_empty() && is_name(name) && peer.id.starts_with(key));
    is_prefix || is_name(written) || is_both
}

fn is_called(name: &str, written: &str) -> bool {
    !written.is_empty() && (name == written || escape::name(name) == written)
}

fn is_whole_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(is_base32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn peer(id: &str, name: &str) -> Peer {
        Peer { id: id.to_owned(), name: name.to_owned(), ..Peer::default() }
    }

    #[test]
    fn a_petname_goes_before_all_that_others_call_themselves() {
        let known = [
            peer("caroline22222222", "alice"),
            Peer { petname: "caroline".to_owned(), ..peer("7qfdabcdefgh", "bob") },
            peer("k5x3abcdefgh", "caroline"),
        ];
        let id = |written: &str| find(&known, written).map(|peer| peer.id.as_str());
        assert_eq!(id("caroline"), Ok("7qfdabcdefgh"));
        assert_eq!(id("bob"), Ok("7qfdabcdefgh"));
        assert_eq!(id("caroline~k5x3"), Ok("k5x3abcdefgh"));
        assert_eq!(id("caroline2"), Ok("caroline22222222"));
    }

    #[test]
    fn c_07_a_peer_is_found_by_any_of_its_names_or_told_apart() {
        let known = [
            peer("k5x3abcdefgh", "alice"),
            peer("k5x3abzzzzzz", "bob smith"),
            peer("7qfdabcdefgh", "alice"),
            peer("mmmmabcdefgh", "🦀 \u{202e}rtl"),
            peer("", ""),
        ];
        let id = |written: &str| find(&known, written).map(|peer| peer.id.as_str());
        assert_eq!(id("k5x3abc"), Ok("k5x3abcdefgh"));
        assert_eq!(id("bob smith"), Ok("k5x3abzzzzzz"));
        assert_eq!(id("alice~7qfd"), Ok("7qfdabcdefgh"));
        assert_eq!(id("🦀 \u{202e}rtl"), Ok("mmmmabcdefgh"));
        assert_eq!(id("🦀 <U+202E>rtl~mmmm"), Ok("mmmmabcdefgh"));
        for nobody in ["", "k5x3a", "carol", "alice~", "alice~zzzz", "K5X3ABC"] {
            assert_eq!(id(nobody).unwrap_err().exit, Exit::NotFound, "{nobody:?}");
        }
        let ambiguous = id("alice").unwrap_err();
        assert_eq!(ambiguous.exit, Exit::Conflict);
        assert_eq!(
            ambiguous.message,
            "peer \"alice\": 2 are called so: alice~k5x3 (k5x3abcdefgh), alice~7qfd (7qfdabcdefgh)"
        );
        assert_eq!(id("k5x3ab").unwrap_err().exit, Exit::Conflict);
    }
}
