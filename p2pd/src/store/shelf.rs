//! Where a post is kept for readers: on the shelf of its room, or of the two who wrote to each other.
//!
//! Shelves are rows of `rooms`. Whatever begins with `@` is no room: `@` and a peer id is what we and that peer wrote to
//! each other, and `@` alone is what others wrote to each other, which nobody here can read and no answer shows.

use std::borrow::Cow;

use p2p_mesh::envelope::{NETWORK, Post};
use p2p_mesh::id::PeerId;

/// The shelf of a post, where `me` is the owner of the store; none for kinds that have no room.
pub(super) fn of<'a>(me: &PeerId, author: &PeerId, post: &'a Post) -> Option<Cow<'a, str>> {
    match &post.direct {
        None if post.room.is_empty() || post.kind == NETWORK => None,
        None => Some(room(&post.room)),
        Some(direct) if author == me => Some(between(&direct.to).into()),
        Some(direct) if direct.to == *me => Some(between(author).into()),
        Some(_) => Some(OTHERS.into()),
    }
}

/// The shelf of a room. Peers can name rooms as they like, and must not put anything on other shelves by that.
pub(super) fn room(name: &str) -> Cow<'_, str> {
    if name.starts_with(MARK) { format!("@@{name}").into() } else { name.into() }
}

/// The shelf of what we and a peer wrote to each other.
pub(super) fn between(peer: &PeerId) -> String {
    format!("{MARK}{peer}")
}

/// The name of the room that a shelf is of; none where it is of no room.
pub(super) fn room_of(shelf: &str) -> Option<&str> {
    if shelf.starts_with(MARK) { shelf.strip_prefix("@@") } else { Some(shelf) }
}

/// The other end of a shelf of direct posts; none where it is another shelf.
pub(super) fn peer_of(shelf: &str) -> Option<PeerId> {
    shelf.strip_prefix(MARK).and_then(|id| id.parse().ok())
}

/// What others wrote to each other.
pub(super) const OTHERS: &str = "@";
const MARK: char = '@';

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    #[test]
    fn a_direct_post_stands_with_its_other_end_or_apart() {
        let post = Post::direct(id(2), "x");
        assert_eq!(of(&id(1), &id(1), &post).as_deref(), Some(between(&id(2)).as_str()));
        assert_eq!(of(&id(2), &id(1), &post).as_deref(), Some(between(&id(1)).as_str()));
        assert_eq!(of(&id(3), &id(1), &post).as_deref(), Some(OTHERS));
        assert_eq!(room_of(OTHERS), None);
        assert_eq!(room_of(&between(&id(1))), None);
        assert_eq!(peer_of(&between(&id(1))), Some(id(1)));
        assert_eq!(peer_of(OTHERS), None);
    }

    #[test]
    fn what_daemons_tell_each_other_is_on_no_shelf_whatever_it_says() {
        let post = Post { room: "general".into(), ..Post::network("{}") };
        assert_eq!(of(&id(1), &id(1), &post), None);
    }

    #[test]
    fn no_name_of_a_room_reaches_another_shelf() {
        let me = id(1);
        for name in ["general", "@", "@@", "@x", &between(&id(2))] {
            let post = Post::chat(name, "hi");
            let shelf = of(&me, &id(2), &post).map(Cow::into_owned).unwrap_or_default();
            assert!(shelf != OTHERS && shelf != between(&id(2)), "{shelf}");
            assert_eq!((room_of(&shelf), peer_of(&shelf)), (Some(name), None));
        }
        assert_eq!(of(&me, &id(2), &Post::chat("", "hi")), None);
    }
}
