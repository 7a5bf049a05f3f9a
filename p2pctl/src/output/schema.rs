//! The form of every JSON document, as JSON Schema, so that scripts can rely on it.

use super::document::{Document, Fields};

/// One kind of document.
pub(crate) struct Type {
    /// What stands in its field `type`.
    pub(crate) name: &'static str,
    about: &'static str,
    fields: &'static [Field],
}

/// One field: its name, what it holds, and what that means.
struct Field(&'static str, Kind, &'static str);

/// What a field holds.
enum Kind {
    Bool,
    /// An integer, 0 or more.
    Count,
    /// The same, or null where it is not known.
    MaybeCount,
    Integer,
    Text,
    /// Text, or null.
    MaybeText,
    /// RFC 3339 in UTC with microseconds, or null.
    Time,
    Texts,
    List(&'static [Field]),
    /// Numbers by name.
    Counts,
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// The type of that name.
pub(crate) fn find(name: &str) -> Option<&'static Type> {
    TYPES.iter().find(|kind| kind.name == name)
}

/// The names of all types.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|kind| kind.name)
}

/// The schema of one type.
pub(crate) fn of(kind: &Type) -> Document<'static> {
    let Document::Object(schema) = object(kind) else { return Document::Null };
    let head = Fields::new().add("$schema", DRAFT).add("title", kind.name);
    schema.into_iter().fold(head, |fields, (key, value)| fields.add(key, value)).done()
}

/// The schema of everything that `-o json` writes.
pub(crate) fn of_all() -> Document<'static> {
    let one_of = names().map(|name| Fields::new().add("$ref", format!("#/$defs/{name}")).done());
    let definitions = TYPES.iter().fold(Fields::new(), |fields, kind| fields.add(kind.name, object(kind)));
    Fields::new()
        .add("$schema", DRAFT)
        .add("title", "p2pctl -o json")
        .add("description", "One of these a line. Fields are only added within v 1, so ignore those you do not know.")
        .add("oneOf", Document::List(one_of.collect()))
        .add("$defs", definitions.done())
        .done()
}

fn object(kind: &Type) -> Document<'static> {
    let head = Fields::new()
        .add("v", Fields::new().add("const", 1u64).add("description", "The version of this form.").done())
        .add("type", Fields::new().add("const", kind.name).done());
    let required = ["v", "type"].into_iter().chain(kind.fields.iter().map(|field| field.0));
    Fields::new()
        .add("description", kind.about)
        .add("type", "object")
        .add("properties", properties(head, kind.fields))
        .add("required", Document::List(required.map(Document::from).collect()))
        .done()
}

fn properties(head: Fields<'static>, fields: &'static [Field]) -> Document<'static> {
    let add = |all: Fields<'static>, Field(name, kind, about): &'static Field| {
        let property = describe(kind);
        all.add(*name, if about.is_empty() { property } else { property.add("description", *about) }.done())
    };
    fields.iter().fold(head, add).done()
}

fn describe(kind: &'static Kind) -> Fields<'static> {
    let either = |name: &'static str| Document::List(vec![name.into(), "null".into()]);
    let new = Fields::new;
    match kind {
        Kind::Bool => new().add("type", "boolean"),
        Kind::Count => new().add("type", "integer").add("minimum", 0u64),
        Kind::MaybeCount => new().add("type", either("integer")).add("minimum", 0u64),
        Kind::Integer => new().add("type", "integer"),
        Kind::Text => new().add("type", "string"),
        Kind::MaybeText => new().add("type", either("string")),
        Kind::Time => new().add("type", either("string")).add("format", "date-time"),
        Kind::Texts => new().add("type", "array").add("items", new().add("type", "string").done()),
        Kind::List(fields) => {
            let required = fields.iter().map(|field| field.0.into()).collect();
            let item = new().add("type", "object").add("properties", properties(new(), fields));
            new().add("type", "array").add("items", item.add("required", Document::List(required)).done())
        }
        Kind::Counts => {
            let number = new().add("type", "integer").add("minimum", 0u64).done();
            new().add("type", "object").add("additionalProperties", number)
        }
        Kind::OneOf(values) => new()
            .add("type", "string")
            .add("enum", Document::List(values.iter().map(|value| (*value).into()).collect())),
    }
}

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
const DONE: &[Field] = &[Field("ok", Kind::Bool, "It was done.")];
const HEALTHS: Kind =
    Kind::OneOf(&["UNKNOWN", "STARTING", "RECOVERING", "ISOLATED", "SYNCING", "READY", "DEGRADED", "STOPPING"]);
const STATES: Kind = Kind::OneOf(&["unknown", "up", "suspect", "dialing", "waiting", "down"]);

const POST: &[Field] = &[
    Field("id", Kind::MaybeText, "AUTHOR-EPOCH-SEQ: names the post for ever."),
    Field("author", Kind::MaybeText, "The author's whole id."),
    Field("epoch", Kind::Count, "One run of the author's daemon."),
    Field("seq", Kind::Count, "The post's number in that run, from 1."),
    Field("author_name", Kind::MaybeText, "What the author calls itself; it proves nothing."),
    Field("offset", Kind::Count, "The place in this daemon's order of arrival."),
    Field("time", Kind::Time, "By the author's clock."),
    Field("kind", Kind::Text, "`chat`, or what another version sends."),
    Field("room", Kind::Text, ""),
    Field("text", Kind::Text, "As it was said: escape it before a terminal sees it."),
    Field("re", Kind::MaybeText, "The id of the post that this one answers."),
    Field("key", Kind::MaybeText, "The sender's idempotency key."),
    Field("own", Kind::Bool, "Sent through this daemon's identity."),
    Field("late", Kind::Bool, "It arrived far behind posts that sort after it."),
    Field("unsupported", Kind::Bool, "This version does not know `kind`."),
    Field("forked", Kind::Bool, "The author used its number twice, and all peers agreed on the other post."),
    Field("was", Kind::MaybeText, "The id of the lost post that its author says again with this one."),
    Field("author_petname", Kind::MaybeText, "What this user calls the author."),
    Field("author_name_owner", Kind::MaybeText, "The id of another peer, which used `author_name` first."),
    Field("direct", Kind::Bool, "Only the author and one other peer can read it; it has no room."),
    Field("to", Kind::MaybeText, "The id of that peer."),
    Field("to_name", Kind::MaybeText, "What that peer calls itself; it proves nothing."),
    Field("to_petname", Kind::MaybeText, "What this user calls that peer."),
    Field("unreadable", Kind::Bool, "It is direct and cannot be opened: `text` is empty."),
];

const CONVERSATION: &[Field] = &[
    Field("peer", Kind::Text, "The id of the other one."),
    Field("name", Kind::Text, ""),
    Field("petname", Kind::MaybeText, "What this user calls it."),
    Field("name_owner", Kind::MaybeText, "Whose name that was first."),
    Field("posts", Kind::Count, ""),
    Field("newest", Kind::Time, ""),
];

const PEER: &[Field] = &[
    Field("id", Kind::MaybeText, "Null for a configured address that never answered."),
    Field("name", Kind::MaybeText, "What it calls itself; it proves nothing."),
    Field("state", STATES, ""),
    Field("rtt_us", Kind::MaybeCount, "Smoothed round-trip time."),
    Field("behind", Kind::Count, "Posts held here that it is not known to hold."),
    Field("address", Kind::MaybeText, "In use, or to be dialed next."),
    Field("addresses", Kind::Texts, ""),
    Field("since", Kind::Time, "When `state` began."),
    Field("outbound", Kind::Bool, "This daemon dialed it."),
    Field("bytes_sent", Kind::Count, ""),
    Field("bytes_received", Kind::Count, ""),
    Field("posts_received", Kind::Count, ""),
    Field("posts_duplicate", Kind::Count, ""),
    Field("queue_bytes", Kind::Count, "Encoded for it and not yet written."),
    Field("tries", Kind::Count, "Dials that failed since the last link."),
    Field("next_dial_ms", Kind::MaybeCount, ""),
    Field("last_error", Kind::MaybeText, "Why the last link or dial ended."),
    Field("agent", Kind::MaybeText, "The program and version it says it runs."),
    Field("clock_offset_us", Kind::Integer, "Its clock minus ours."),
    Field("epoch", Kind::Count, ""),
    Field("configured", Kind::Bool, "It is dialed for ever."),
    Field("instances", Kind::Count, "Running daemons with this identity that are linked."),
    Field("last_seen", Kind::Time, ""),
    Field("forks", Kind::Count, "Feeds of it in which two posts have one number."),
    Field("petname", Kind::MaybeText, "What this user calls it."),
    Field("blocked", Kind::Bool, "It has no link, and what it says is not shown."),
    Field("name_owner", Kind::MaybeText, "The id of another peer, which used `name` first."),
    Field("shut_out", Kind::Bool, "It is no member of the network any more."),
];

const RECEIPT: &[Field] = &[
    Field("id", Kind::MaybeText, ""),
    Field("author", Kind::MaybeText, ""),
    Field("epoch", Kind::Count, ""),
    Field("seq", Kind::Count, ""),
    Field("held", Kind::Bool, "This daemon holds it."),
    Field("held_by", Kind::Count, "Other peers that are known to hold it."),
    Field("known", Kind::Count, "Other peers that are known."),
    Field("holders", Kind::List(HOLDER), ""),
];

const HOLDER: &[Field] = &[
    Field("peer", Kind::Text, ""),
    Field("name", Kind::MaybeText, ""),
    Field("state", Kind::OneOf(&["unknown", "holds", "sent", "linked", "away"]), ""),
    Field("petname", Kind::MaybeText, ""),
    Field("last_seen", Kind::Time, ""),
];

const FEED: &[Field] = &[
    Field("author", Kind::Text, ""),
    Field("name", Kind::MaybeText, ""),
    Field("petname", Kind::MaybeText, ""),
    Field("epoch", Kind::Count, ""),
    Field("have", Kind::Count, "Posts held."),
    Field("floor", Kind::Count, "The first number held; 0 for none."),
    Field("head", Kind::Count, "The last number held; 0 for none."),
    Field("known_head", Kind::Count, "The last number that anybody is known to hold."),
    Field("missing", Kind::Count, ""),
    Field("holes", Kind::List(HOLE), "Runs of numbers that are missing."),
    Field("hash", Kind::MaybeText, ""),
    Field("agree", Kind::Count, "Linked peers that hold all that is held here."),
    Field("forked", Kind::Bool, ""),
    Field("own", Kind::Bool, ""),
];

const HOLE: &[Field] = &[
    Field("from", Kind::Count, ""),
    Field("to", Kind::Count, ""),
    Field("unavailable", Kind::Bool, "No linked peer holds it any more."),
];

const PEER_SYNC: &[Field] = &[
    Field("id", Kind::Text, ""),
    Field("name", Kind::MaybeText, ""),
    Field("petname", Kind::MaybeText, ""),
    Field("behind", Kind::Count, "Posts held here that it is not known to hold."),
    Field("ahead", Kind::Count, "Posts it is known to hold that are not here."),
    Field("compared", Kind::Bool, ""),
    Field("equal", Kind::Bool, ""),
];

const GRAPH_PEER: &[Field] = &[
    Field("id", Kind::Text, ""),
    Field("name", Kind::MaybeText, ""),
    Field("petname", Kind::MaybeText, ""),
    Field("told", Kind::Bool, "It tells of its links itself."),
    Field("neighbors", Kind::Texts, "Ids of those it is linked to."),
    Field("strangers", Kind::Count, "How many more it is linked to."),
];

const INVITE: &[Field] = &[
    Field("id", Kind::Text, ""),
    Field("made", Kind::Time, ""),
    Field("expires", Kind::Time, ""),
    Field("uses", Kind::Count, "Peers that used it."),
    Field("uses_max", Kind::Count, ""),
    Field("revoked", Kind::Bool, "It was taken back."),
    Field("open", Kind::Bool, "It lets somebody in now."),
];

const NETWORK_KEY: &[Field] = &[
    Field("name", Kind::Text, "A hash of the key, by which members can compare."),
    Field("dialed", Kind::Bool, "Links are dialed with it."),
    Field("until", Kind::Time, "Then it is not accepted any more; null where no end is known."),
];

const MEMBER: &[Field] = &[
    Field("id", Kind::Text, ""),
    Field("name", Kind::MaybeText, ""),
    Field("petname", Kind::MaybeText, ""),
    Field("name_owner", Kind::MaybeText, "The id of another peer, which used `name` first."),
    Field("state", Kind::OneOf(&["unknown", "taken", "linked", "away", "out"]), "Whether it has the new secret."),
    Field("last_seen", Kind::Time, ""),
];

const STATUS: &[Field] = &[
    Field("id", Kind::Text, ""),
    Field("name", Kind::MaybeText, ""),
    Field("epoch", Kind::Count, ""),
    Field("version", Kind::Text, ""),
    Field("health", HEALTHS, ""),
    Field("ready", Kind::Bool, ""),
    Field("problems", Kind::Texts, "What is wrong, a sentence each."),
    Field("network", Kind::Text, "The network's public id."),
    Field("open_network", Kind::Bool, ""),
    Field("listen", Kind::Texts, ""),
    Field("advertise", Kind::Texts, ""),
    Field("api", Kind::Texts, ""),
    Field("data_dir", Kind::Text, ""),
    Field("uptime_ms", Kind::Count, ""),
    Field("peers_up", Kind::Count, ""),
    Field("peers_known", Kind::Count, ""),
    Field("posts", Kind::Count, ""),
    Field("bytes", Kind::Count, ""),
    Field("offset", Kind::Count, ""),
    Field("digest", Kind::Text, "Equal on two peers exactly when they hold the same history."),
    Field("feeds", Kind::Count, ""),
    Field("missing_posts", Kind::Count, ""),
    Field("default_room", Kind::Text, ""),
    Field("pid", Kind::Count, ""),
    Field("counters", Kind::Counts, "By metric name without the prefix `p2p_`."),
    Field("unacked_own_posts", Kind::Count, ""),
    Field("expired_posts", Kind::Count, ""),
    Field("unavailable_posts", Kind::Count, ""),
];

/// In the order of the commands that write them.
const TYPES: &[Type] = &[
    Type {
        name: "sent",
        about: "send: the post is on disk.",
        fields: &[
            Field("id", Kind::MaybeText, "AUTHOR-EPOCH-SEQ."),
            Field("author", Kind::MaybeText, ""),
            Field("epoch", Kind::Count, ""),
            Field("seq", Kind::Count, ""),
            Field("offset", Kind::Count, ""),
            Field("time", Kind::Time, ""),
            Field("repeated", Kind::Bool, "The key was known: this is the answer to the first send."),
        ],
    },
    Type { name: "post", about: "watch, history -f: one thing somebody said.", fields: POST },
    Type {
        name: "caught_up",
        about: "watch: what was there when it began has been shown.",
        fields: &[Field("offset", Kind::Count, "")],
    },
    Type {
        name: "gap",
        about: "watch: posts that were asked for and are not held any more.",
        fields: &[
            Field("from", Kind::Count, "The first offset."),
            Field("to", Kind::Count, "The last offset."),
            Field("posts", Kind::Count, "0 where it is not known."),
        ],
    },
    Type {
        name: "expired",
        about: "history -f: posts that were asked for and are not held any more.",
        fields: &[Field("posts", Kind::Count, ""), Field("newest", Kind::Time, "")],
    },
    Type {
        name: "history",
        about: "history: what was said, oldest first.",
        fields: &[
            Field("posts", Kind::List(POST), ""),
            Field("offset", Kind::Count, "watch --after goes on behind this."),
            Field("expired", Kind::Count, "Posts of all rooms that are not held any more."),
            Field("expired_newest", Kind::Time, ""),
            Field("blocked", Kind::Count, "Posts of blocked peers that were left out."),
        ],
    },
    Type {
        name: "search",
        about: "search: posts with the words in them, oldest first.",
        fields: &[
            Field("posts", Kind::List(POST), ""),
            Field("searched", Kind::Time, "Everything back to this was searched; null for all."),
            Field("complete", Kind::Bool, ""),
            Field("blocked", Kind::Count, "Posts of blocked peers that were left out."),
        ],
    },
    Type { name: "receipt", about: "receipts, send -w: who holds a post.", fields: RECEIPT },
    Type {
        name: "rooms",
        about: "rooms",
        fields: &[
            Field(
                "rooms",
                Kind::List(&[
                    Field("name", Kind::Text, ""),
                    Field("posts", Kind::Count, ""),
                    Field("newest", Kind::Time, ""),
                ]),
                "",
            ),
            Field("conversations", Kind::List(CONVERSATION), "With whom direct messages were exchanged."),
        ],
    },
    Type { name: "peers", about: "peers", fields: &[Field("peers", Kind::List(PEER), "")] },
    Type { name: "peer", about: "peers show", fields: PEER },
    Type { name: "peer_added", about: "peers add", fields: DONE },
    Type { name: "peer_forgotten", about: "peers forget", fields: DONE },
    Type { name: "peer_named", about: "peers name", fields: DONE },
    Type { name: "peer_blocked", about: "peers block", fields: DONE },
    Type { name: "peer_unblocked", about: "peers unblock", fields: DONE },
    Type {
        name: "reconnect",
        about: "peers reconnect",
        fields: &[Field("ok", Kind::Bool, "It was done."), Field("dials", Kind::Count, "")],
    },
    Type {
        name: "invited",
        about: "invite: a ticket for somebody.",
        fields: &[
            Field("ticket", Kind::Text, "Whoever has it can get in."),
            Field("id", Kind::MaybeText, "Names the invite; null for an offline ticket."),
            Field("expires", Kind::Time, "Null for never."),
            Field("addresses", Kind::Texts, "Where it says that this daemon is."),
        ],
    },
    Type { name: "invites", about: "invite --list", fields: &[Field("invites", Kind::List(INVITE), "")] },
    Type { name: "invite_revoked", about: "invite --revoke", fields: DONE },
    Type {
        name: "joined",
        about: "join: this daemon is in the network, linked, and has what was said there.",
        fields: &[
            Field("network", Kind::Text, "The network's public id."),
            Field("issuer", Kind::Text, "Who made the ticket."),
            Field("issuer_name", Kind::MaybeText, ""),
            Field("repeated", Kind::Bool, "This daemon was in that network before."),
            Field("posts", Kind::Count, "Posts of others that came."),
            Field("peers_up", Kind::Count, ""),
        ],
    },
    Type {
        name: "network",
        about: "network: the keys that are accepted, and the last change of the secret.",
        fields: &[
            Field("network", Kind::Text, "The network's public id."),
            Field("open", Kind::Bool, "There is no secret."),
            Field("keys", Kind::List(NETWORK_KEY), ""),
            Field("author", Kind::MaybeText, "The id of who changed the secret last; null where nobody did."),
            Field("author_name", Kind::MaybeText, ""),
            Field("author_petname", Kind::MaybeText, ""),
            Field("changed", Kind::Time, "By the author's clock."),
            Field("taken", Kind::Time, "When the change was taken here."),
            Field("members", Kind::List(MEMBER), "For whom the new secret is."),
            Field("out", Kind::List(MEMBER), "Who is shut out."),
            Field("shut_out", Kind::Bool, "This daemon is."),
            Field("left_out", Kind::Bool, "This daemon was not given the new secret."),
            Field("lost", Kind::List(MEMBER), "Whom this daemon shut out while another change held: they are in."),
        ],
    },
    Type {
        name: "rotated",
        about: "network rotate: there is another secret.",
        fields: &[
            Field("key", Kind::Text, "The name of the new key."),
            Field("members", Kind::Count, "For how many it is, this daemon included."),
            Field("until", Kind::Time, "Then the old secret is not accepted any more; null where it is not now."),
            Field("out", Kind::Texts, "Ids of everybody who is shut out."),
        ],
    },
    Type { name: "status", about: "status", fields: STATUS },
    Type {
        name: "sync",
        about: "sync",
        fields: &[
            Field("synced", Kind::Bool, "Nothing is missing, and every linked peer was compared with."),
            Field("digest", Kind::Text, ""),
            Field("posts", Kind::Count, ""),
            Field("missing_posts", Kind::Count, ""),
            Field("unavailable_posts", Kind::Count, ""),
            Field("feeds", Kind::List(FEED), ""),
            Field("peers", Kind::List(PEER_SYNC), ""),
        ],
    },
    Type {
        name: "pong",
        about: "ping: one heartbeat.",
        fields: &[
            Field("peer", Kind::Text, ""),
            Field("n", Kind::Count, "Which one, from 1."),
            Field("rtt_us", Kind::MaybeCount, "Null where no answer came."),
        ],
    },
    Type {
        name: "pings",
        about: "ping: all heartbeats to a peer.",
        fields: &[
            Field("peer", Kind::Text, ""),
            Field("sent", Kind::Count, ""),
            Field("answered", Kind::Count, ""),
            Field("rtt_min_us", Kind::MaybeCount, ""),
            Field("rtt_mean_us", Kind::MaybeCount, ""),
            Field("rtt_max_us", Kind::MaybeCount, ""),
        ],
    },
    Type { name: "graph", about: "graph", fields: &[Field("peers", Kind::List(GRAPH_PEER), "")] },
    Type {
        name: "health",
        about: "health, wait",
        fields: &[Field("health", HEALTHS, ""), Field("ready", Kind::Bool, ""), Field("problems", Kind::Texts, "")],
    },
    Type {
        name: "bench",
        about: "bench",
        fields: &[
            Field("what", Kind::OneOf(&["send", "latency", "watch"]), ""),
            Field("posts", Kind::Count, ""),
            Field("bytes", Kind::Count, "Of their texts."),
            Field("elapsed_us", Kind::Count, ""),
            Field("posts_per_second", Kind::Count, ""),
            Field("bytes_per_second", Kind::Count, ""),
            Field("min_us", Kind::Count, "Until it was stored; `watch`: from its author's clock until it was here."),
            Field("p50_us", Kind::Count, ""),
            Field("p90_us", Kind::Count, ""),
            Field("p99_us", Kind::Count, ""),
            Field("max_us", Kind::Count, ""),
            Field(
                "buckets",
                Kind::List(&[
                    Field("to_us", Kind::Count, "Posts that took up to this, and more than the one before."),
                    Field("posts", Kind::Count, ""),
                ]),
                "",
            ),
        ],
    },
    Type {
        name: "doctor",
        about: "doctor",
        fields: &[
            Field(
                "checks",
                Kind::List(&[
                    Field("id", Kind::Text, "A word that stays."),
                    Field("verdict", Kind::OneOf(&["OK", "WARN", "FAIL"]), ""),
                    Field("finding", Kind::Text, "For people."),
                    Field("hint", Kind::MaybeText, "What to type, or to do."),
                ]),
                "",
            ),
            Field("warnings", Kind::Count, ""),
            Field("failures", Kind::Count, "The exit code is 1 where there is one."),
        ],
    },
    Type {
        name: "config",
        about: "daemon config",
        fields: &[Field(
            "values",
            Kind::List(&[
                Field("key", Kind::Text, ""),
                Field("value", Kind::Text, ""),
                Field("source", Kind::Text, "Where the value came from."),
            ]),
            "",
        )],
    },
    Type {
        name: "reload",
        about: "daemon reload",
        fields: &[
            Field(
                "changes",
                Kind::List(&[
                    Field("key", Kind::Text, ""),
                    Field("old", Kind::Text, ""),
                    Field("new", Kind::Text, ""),
                    Field("applied", Kind::Bool, "It needs no restart."),
                ]),
                "",
            ),
            Field("warnings", Kind::Texts, ""),
            Field("dials", Kind::Count, ""),
        ],
    },
    Type {
        name: "log_level",
        about: "daemon log-level",
        fields: &[
            Field("filter", Kind::Text, ""),
            Field("back_to", Kind::MaybeText, ""),
            Field("back_in_ms", Kind::MaybeCount, ""),
        ],
    },
    Type { name: "stopping", about: "daemon stop", fields: DONE },
    Type { name: "metrics", about: "daemon metrics", fields: &[Field("text", Kind::Text, "")] },
    Type {
        name: "version",
        about: "version",
        fields: &[Field("p2pctl", Kind::Text, ""), Field("p2pd", Kind::MaybeText, "Null where no daemon answers.")],
    },
    Type {
        name: "error",
        about: "Every command, on stderr.",
        fields: &[
            Field("code", Kind::Text, "The stable name of what went wrong."),
            Field("message", Kind::Text, "For people."),
            Field("hint", Kind::MaybeText, "The one thing to do."),
            Field("retryable", Kind::Bool, "The same may work later."),
            Field("exit", Kind::Count, "The exit code."),
        ],
    },
];

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;

    fn value(document: &Document<'_>) -> Value {
        serde_json::to_value(document).unwrap()
    }

    /// A document of `-o json` keeps to the schema that is printed for its type, and has no field that is not in it.
    #[track_caller]
    pub(crate) fn check(document: &Value) {
        let kind = document["type"].as_str().unwrap_or_else(|| panic!("no type: {document}"));
        let kind = find(kind).unwrap_or_else(|| panic!("no schema of {kind}"));
        let mut wrong = Vec::new();
        compare(&value(&of(kind)), document, kind.name, &mut wrong);
        assert!(wrong.is_empty(), "{wrong:#?} in {document}");
    }

    /// What is different, as far as our schemas say anything.
    fn compare(schema: &Value, found: &Value, at: &str, wrong: &mut Vec<String>) {
        let types: Vec<&Value> = match &schema["type"] {
            Value::Array(types) => types.iter().collect(),
            Value::Null => Vec::new(),
            one => vec![one],
        };
        if !types.is_empty() && !types.iter().any(|kind| is_of(found, kind.as_str().unwrap())) {
            wrong.push(format!("{at} is {found}, not {types:?}"));
        }
        if schema.get("const").is_some_and(|expected| expected != found) {
            wrong.push(format!("{at} is {found}"));
        }
        if schema.get("enum").is_some_and(|values| !values.as_array().unwrap().contains(found)) {
            wrong.push(format!("{at} is {found}, not one of {}", schema["enum"]));
        }
        if schema.get("minimum").is_some() && found.as_i64().is_some_and(|number| number < 0) {
            wrong.push(format!("{at} is {found}"));
        }
        if schema["format"] == "date-time"
            && found.as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_err())
        {
            wrong.push(format!("{at} is no time: {found}"));
        }
        for item in found.as_array().into_iter().flatten() {
            compare(&schema["items"], item, &format!("{at}[]"), wrong);
        }
        let Some(fields) = found.as_object() else { return };
        for (name, field) in fields {
            let property = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
            match property {
                Some(property) => compare(property, field, &format!("{at}.{name}"), wrong),
                None => wrong.push(format!("{at}.{name} is in no schema")),
            }
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            if fields.get(name.as_str().unwrap()).is_none() {
                wrong.push(format!("{at}.{name} is missing"));
            }
        }
    }

    fn is_of(found: &Value, kind: &str) -> bool {
        match kind {
            "object" => found.is_object(),
            "array" => found.is_array(),
            "string" => found.is_string(),
            "integer" => found.is_i64() || found.is_u64(),
            "boolean" => found.is_boolean(),
            "null" => found.is_null(),
            other => panic!("the checker does not know {other}"),
        }
    }

    #[test]
    fn the_schema_of_everything_is_as_written_down() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&of_all()).unwrap());
    }

    #[test]
    fn every_type_has_one_name_and_every_field_too() {
        let mut all: Vec<&str> = names().collect();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
        for kind in TYPES {
            let mut fields: Vec<&str> = kind.fields.iter().map(|field| field.0).collect();
            fields.sort_unstable();
            assert!(fields.windows(2).all(|pair| pair[0] != pair[1]), "{}", kind.name);
        }
    }

    #[test]
    fn a_document_that_is_not_as_it_should_be_is_noticed() {
        let good = serde_json::json!({"v": 1, "type": "caught_up", "offset": 7});
        check(&good);
        for (field, odd) in [("v", 2.into()), ("offset", (-1).into()), ("offset", "7".into()), ("more", 1.into())] {
            let mut bad = good.clone();
            bad[field] = odd;
            assert!(std::panic::catch_unwind(|| check(&bad)).is_err(), "{bad}");
        }
        let missing = serde_json::json!({"v": 1, "type": "caught_up"});
        assert!(std::panic::catch_unwind(|| check(&missing)).is_err());
    }
}
