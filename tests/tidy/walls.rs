//! Who may name whom: the walls between crates and between rooms.

use crate::source::{Source, places, read, tokens};

/// Complaints about one file.
pub(crate) fn check(source: &Source) -> Vec<String> {
    let mut complaints = check_rooms(source);
    for wall in WALLS {
        complaints.extend(check_wall(source, wall));
    }
    complaints
}

/// Complaints about the crates' manifests.
pub(crate) fn check_manifests() -> Vec<String> {
    MANIFESTS.iter().flat_map(|(path, forbidden)| check_manifest(path, &read(path), forbidden)).collect()
}

/// These words may stand in these places only.
struct Wall {
    /// Where the rule holds: beginnings of paths.
    within: &'static [&'static str],
    /// Where it does not: beginnings of paths.
    except: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

/// The rooms of one crate, lowest first. A room may name lower ones; rooms of one step may name each other only where
/// the step says so.
struct House {
    src: &'static str,
    steps: &'static [Step],
    /// The step of rooms that stand in none.
    otherwise: usize,
}

struct Step {
    rooms: &'static [&'static str],
    is_shared: bool,
}

fn check_rooms(source: &Source) -> Vec<String> {
    let Some(house) = HOUSES.iter().find(|house| source.path.starts_with(house.src)) else { return Vec::new() };
    let here = module_of(&source.path[house.src.len()..]);
    let (own_step, own_room) = house.place(&here);
    let mut complaints = Vec::new();
    for (at, path) in paths(&source.code_shipped, &here) {
        let (step, room) = house.place(&path);
        let is_allowed = room == own_room || step < own_step || (step == own_step && house.steps[step].is_shared);
        // What stands at the crate's root itself is nobody's room.
        if !is_allowed && !path.is_empty() {
            complaints.push(source.complain(at, format!("{own_room} must not know {room} ({})", path.join("::"))));
        }
    }
    complaints
}

impl House {
    /// The step and the room to which a path belongs. Some rooms have two segments: the longest match counts.
    fn place(&self, path: &[String]) -> (usize, String) {
        let Some(first) = path.first() else { return (self.steps.len() - 1, "the crate's root".into()) };
        let two = path.iter().take(2).cloned().collect::<Vec<_>>().join("::");
        let find = |name: &str| self.steps.iter().position(|step| step.rooms.contains(&name));
        match (find(&two), find(first)) {
            (Some(step), _) => (step, two),
            (None, Some(step)) => (step, first.clone()),
            (None, None) => (self.otherwise, first.clone()),
        }
    }
}

/// The modules in which a file's code stands: `link/reader.rs` is `link::reader`.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    path.split('/').filter(|part| !["mod", "lib", "main"].contains(part)).map(str::to_owned).collect()
}

/// Every path that begins with `crate` or `super`, spelled out from the crate's root.
fn paths(code: &str, here: &[String]) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(code);
    let texts: Vec<&str> = tokens.iter().map(|token| token.text).collect();
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let is_start = index == 0 || texts[index - 1] != "::";
        let is_visibility = index > 0 && texts[index - 1] == "(" && texts.get(index + 1) == Some(&")");
        let prefix = match token.text {
            "crate" => Vec::new(),
            "super" => here[..here.len().saturating_sub(1)].to_vec(),
            _ => continue,
        };
        if is_start && !is_visibility {
            let mut ends = Vec::new();
            expand(&texts, index + 1, prefix, &mut ends);
            found.extend(ends.into_iter().map(|path| (token.at, path)));
        }
    }
    found
}

/// Follows a path, and every branch of a `{…}` in it, from behind its first segment.
fn expand(texts: &[&str], mut at: usize, mut prefix: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    while texts.get(at) == Some(&"::") {
        match texts.get(at + 1) {
            Some(&"{") => return expand_group(texts, at + 2, &prefix, found),
            Some(&"super") => drop(prefix.pop()),
            Some(name) if name.starts_with(|first: char| first.is_alphabetic() || first == '_') => {
                prefix.push((*name).to_owned());
            }
            _ => break,
        }
        at += 2;
    }
    found.push(prefix);
    at
}

fn expand_group(texts: &[&str], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    while let Some(text) = texts.get(at) {
        at = match *text {
            "}" => return at + 1,
            "as" => at + 2,
            "," => at + 1,
            "self" | "*" => {
                found.push(prefix.to_vec());
                at + 1
            }
            name => expand(texts, at + 1, [prefix, &[name.to_owned()]].concat(), found),
        };
    }
    at
}

fn check_wall(source: &Source, wall: &Wall) -> Vec<String> {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| source.path.starts_with(prefix));
    if !starts(wall.within) || starts(wall.except) {
        return Vec::new();
    }
    let complain = |word: &str| {
        let places = places(&source.code_shipped, word).into_iter();
        places.map(|at| source.complain(at, format!("{word}: {}", wall.why))).collect::<Vec<_>>()
    };
    wall.words.iter().flat_map(|word| complain(word)).collect()
}

fn check_manifest(path: &str, manifest: &str, forbidden: &[&str]) -> Vec<String> {
    let section = manifest.split("\n[").find(|section| section.starts_with("dependencies]")).unwrap_or_default();
    let names = section.lines().filter_map(|line| line.split(['.', '=', ' ']).next());
    names
        .filter(|name| forbidden.contains(name))
        .map(|name| format!("{path}: this crate must not depend on {name}"))
        .collect()
}

const HOUSES: &[House] = &[
    House {
        src: "p2pd/mesh/src/",
        steps: &[
            Step { rooms: &["id", "limits", "json", "time"], is_shared: true },
            Step { rooms: &["envelope"], is_shared: false },
            // A record is what a frame carries, so it lies below the wire, though its room is membership.
            Step { rooms: &["feed", "fork", "membership::record"], is_shared: false },
            Step { rooms: &["wire"], is_shared: false },
            Step { rooms: &["config", "input", "effect", "status"], is_shared: true },
            // Every room without a step of its own is one of these.
            Step { rooms: &["membership", "tree", "sync", "liveness", "reconnect"], is_shared: false },
            Step { rooms: &["timers"], is_shared: false },
            Step { rooms: &["mesh"], is_shared: false },
        ],
        otherwise: 5,
    },
    House {
        src: "p2pd/src/",
        steps: &[
            Step {
                rooms: &["config", "health", "invite", "letters", "metrics", "names", "network", "query"],
                is_shared: true,
            },
            Step { rooms: &["link", "store", "api", "lan"], is_shared: false },
            Step { rooms: &["driver"], is_shared: false },
            Step { rooms: &["daemon"], is_shared: false },
            Step { rooms: &["lib"], is_shared: false },
        ],
        otherwise: 0,
    },
];

const WALLS: &[Wall] = &[
    Wall {
        within: &["p2pd/mesh/src/"],
        except: &[],
        words: &["tokio", "Instant::now", "SystemTime", "UNIX_EPOCH", "TcpStream", "TcpListener", "UdpSocket", "File"],
        why: "the core knows no runtime, clock, socket or file",
    },
    Wall {
        within: &["p2pd/mesh/src/"],
        except: &[],
        words: &["std::fs", "std::thread", "std::env", "std::time::Instant", "thread_rng", "rand::rng", "rand::random"],
        why: "the core knows no runtime, clock, socket, file or unseeded randomness",
    },
    Wall {
        within: &["p2pd/mesh/src/"],
        except: &[],
        words: &["HashMap", "HashSet", "RandomState"],
        why: "nothing in the core depends on the order of a hashed map: BTreeMap and BTreeSet",
    },
    Wall {
        within: &["p2pd/mesh/src/", "proto/", "p2pctl/"],
        except: &[],
        words: &["p2pd"],
        why: "only tests may use the daemon",
    },
    Wall {
        within: &["p2pd/mesh/src/"],
        except: &[],
        words: &["p2p_proto", "tonic", "prost"],
        why: "the core does not know the local API",
    },
    Wall {
        within: &["proto/", "p2pctl/"],
        except: &[],
        words: &["p2p_mesh"],
        why: "the client and the API do not know the core",
    },
    Wall { within: &["proto/", "p2pd/", "p2pctl/"], except: &[], words: &["p2p_tests"], why: "nobody uses the tests" },
    Wall { within: &["p2pd/src/"], except: &["p2pd/src/link/"], words: &["snow"], why: "only link encrypts" },
    Wall {
        within: &["p2pd/src/"],
        except: &["p2pd/src/link/", "p2pd/src/api/"],
        words: &["TcpStream"],
        why: "only link moves bytes between peers, and api serves loopback",
    },
    Wall {
        within: &["p2pd/src/"],
        except: &["p2pd/src/lan/"],
        words: &["join_multicast_v4_n", "join_multicast_v6"],
        why: "only lan speaks to everybody on a network",
    },
    Wall {
        within: &["p2pd/src/"],
        except: &["p2pd/src/metrics/"],
        words: &["prometheus_client", "hyper", "hyper_util", "http_body_util"],
        why: "only metrics serves HTTP",
    },
    Wall {
        within: &["p2pd/", "p2pctl/", "proto/"],
        except: &["p2pd/src/letters.rs"],
        words: &["crypto_box"],
        why: "only letters seals and opens what is for one peer",
    },
    Wall {
        within: &["p2pd/", "p2pctl/", "proto/"],
        except: &["p2pd/src/store/"],
        words: &["rusqlite"],
        why: "only store names the database",
    },
    Wall {
        within: &["p2pd/src/"],
        except: &["p2pd/src/api/"],
        words: &["tonic", "tonic_health", "tonic_reflection", "p2p_proto::v1"],
        why: "only api speaks gRPC, and no generated type leaves it",
    },
    Wall {
        within: &["p2pd/", "proto/src/", "p2pctl/"],
        except: &["p2pd/src/lib.rs", "p2pd/src/main.rs", "p2pctl/src/lib.rs", "p2pctl/src/main.rs"],
        words: &["println!", "print!", "eprintln!", "eprint!", "process::exit"],
        why: "only lib prints or exits",
    },
    Wall {
        within: &["p2pd/", "p2pctl/", "proto/"],
        except: &[],
        words: &["unbounded_channel", "mpsc::unbounded", "mpsc::channel()"],
        why: "no channel is unbounded",
    },
];

/// Manifests, and the crates they must not depend on.
const MANIFESTS: &[(&str, &[&str])] = &[
    (
        "p2pd/mesh/Cargo.toml",
        &["tokio", "p2p-proto", "p2pd", "p2pctl", "tonic", "rusqlite", "snow", "socket2", "rustix"],
    ),
    ("proto/Cargo.toml", &["p2p-mesh", "p2pd", "p2pctl", "p2p-tests"]),
    ("p2pd/Cargo.toml", &["p2pctl", "p2p-tests"]),
    ("p2pctl/Cargo.toml", &["p2p-mesh", "p2pd", "p2p-tests"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn complaints(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(check(&Source::rust(path, text)), expected);
    }

    #[test]
    fn rooms_beside_each_other_do_not_know_each_other() {
        complaints("p2pd/src/link/reader.rs", "use crate::config::Config;\nuse crate::link::x;", &[]);
        complaints(
            "p2pd/src/link/reader.rs",
            "use crate::{config, store::{Job, Opened as O}, network};\nfn f() { super::super::api::g() }",
            &[
                "p2pd/src/link/reader.rs:1: link must not know store (store::Job)",
                "p2pd/src/link/reader.rs:1: link must not know store (store::Opened)",
                "p2pd/src/link/reader.rs:2: link must not know api (api::g)",
            ],
        );
        complaints("p2pd/src/driver/mod.rs", "use crate::store::Job;\nuse crate::link::{self, Links};", &[]);
        complaints(
            "p2pd/mesh/src/tree/mod.rs",
            "pub(crate) use crate::sync::Ranges;\nuse super::wire::frame;\nuse crate::mesh::Mesh;",
            &[
                "p2pd/mesh/src/tree/mod.rs:1: tree must not know sync (sync::Ranges)",
                "p2pd/mesh/src/tree/mod.rs:3: tree must not know mesh (mesh::Mesh)",
            ],
        );
    }

    #[test]
    fn a_record_lies_below_the_wire_and_the_rest_of_membership_above() {
        complaints("p2pd/mesh/src/wire/message.rs", "use crate::membership::record::Addr;", &[]);
        complaints(
            "p2pd/mesh/src/wire/message.rs",
            "use crate::membership::{record::Addr, book::Book};",
            &["p2pd/mesh/src/wire/message.rs:1: wire must not know membership (membership::book::Book)"],
        );
    }

    #[test]
    fn words_stay_in_their_rooms_and_tests_are_free() {
        complaints("p2pd/src/link/dialer.rs", "use tokio::net::TcpStream; use snow::Builder;", &[]);
        complaints(
            "p2pd/src/daemon.rs",
            "use tokio::net::TcpStream;\n// snow\n#[cfg(test)]\nmod tests { use rusqlite::Connection; }",
            &["p2pd/src/daemon.rs:1: TcpStream: only link moves bytes between peers, and api serves loopback"],
        );
        complaints(
            "p2pd/mesh/src/feed.rs",
            "use std::collections::{BTreeMap, HashMap};",
            &["p2pd/mesh/src/feed.rs:1: HashMap: nothing in the core depends on the order of a hashed map: \
               BTreeMap and BTreeSet"],
        );
    }

    #[test]
    fn manifests_are_walls() {
        let manifest = "[package]\nname = \"p2p-mesh\"\n\n[dependencies]\ntokio.workspace = true\nbytes = \"1\"\n\n\
                        [dev-dependencies]\nsnow = \"1\"\n";
        assert_eq!(check_manifest("m", manifest, &["tokio", "snow"]), ["m: this crate must not depend on tokio"]);
    }
}
