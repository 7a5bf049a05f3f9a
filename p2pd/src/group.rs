//! The group of users that may use the API beside the daemon's own.

use std::fmt;
use std::fs;

/// A group of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    name: String,
    gid: u32,
}

impl Group {
    /// The group of this name, or of this number.
    ///
    /// # Errors
    ///
    /// In words: `/etc/group` has no such name. Groups from elsewhere, as from a directory service, have their number.
    pub fn find(name: &str) -> Result<Self, String> {
        let groups = fs::read_to_string(GROUPS).map_err(|why| format!("cannot read {GROUPS}: {why}"));
        Self::find_in(name, groups)
    }

    fn find_in(name: &str, groups: Result<String, String>) -> Result<Self, String> {
        let found = |gid| Self { name: name.to_owned(), gid };
        if let Ok(gid) = name.parse() {
            return Ok(found(gid));
        }
        let gid = groups?.lines().find_map(|line| gid_of(line, name));
        gid.map(found)
            .ok_or_else(|| format!("{GROUPS} has no group {name:?}; a group from elsewhere goes by its number"))
    }

    /// Its number.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }
}

/// Of a line `NAME:PASSWORD:GID:MEMBERS`, if it is the one of this name.
fn gid_of(line: &str, name: &str) -> Option<u32> {
    let mut fields = line.split(':');
    if fields.next()? != name {
        return None;
    }
    fields.nth(1)?.parse().ok()
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

const GROUPS: &str = "/etc/group";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_group_is_found_by_its_name_or_taken_by_its_number() {
        let find = |name| Group::find_in(name, Ok("root:x:0:\nbroken\np2p:x:77:ann,bob\n".into()));
        assert_eq!(find("p2p").map(|group| (group.gid(), group.to_string())), Ok((77, "p2p".to_owned())));
        assert_eq!(find("4000").map(|group| group.gid()), Ok(4_000));
        for missing in ["ann", "broken", "p2", "x"] {
            let why = format!("/etc/group has no group {missing:?}; a group from elsewhere goes by its number");
            assert_eq!(find(missing), Err(why));
        }
        assert_eq!(Group::find_in("p2p", Err("cannot read it".into())), Err("cannot read it".into()));
        assert_eq!(Group::find("root").map(|group| group.gid()), Ok(0), "the machine's own list");
    }
}
