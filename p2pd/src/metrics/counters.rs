//! The counters of the core, the links and the process, by the names they have for operators.

/// A family of counters.
#[derive(Debug)]
pub(super) struct Counter {
    /// Without `_total`.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// Tells the parts of it apart; empty where there is one.
    pub(super) label: &'static str,
    /// What the label says, and what it is called where it is counted.
    pub(super) parts: &'static [(&'static str, &'static str)],
}

const fn plain(name: &'static str, help: &'static str, parts: &'static [(&'static str, &'static str)]) -> Counter {
    Counter { name, help, label: "", parts }
}

/// Sums of what is told in parts.
pub(super) const SUMS: &[&str] = &["errors_total", "dials_total", "dials_failed_total"];

pub(super) const COUNTERS: &[Counter] = &[
    plain("p2p_posts_sent", "Own posts that were stored.", &[("", "posts_sent_total")]),
    plain("p2p_posts_received", "Posts that came from peers for the first time.", &[("", "posts_received_total")]),
    plain("p2p_posts_delivered", "Posts that were stored and shown, own ones too.", &[("", "posts_delivered_total")]),
    plain("p2p_posts_duplicate", "Posts that came again.", &[("", "posts_duplicate_total")]),
    Counter {
        name: "p2p_posts_rejected",
        help: "Posts that came and were not taken: not signed by their author, with no room beyond a gap, or of a branch \
               that lost.",
        label: "reason",
        parts: &[
            ("invalid", "posts_rejected_total"),
            ("dropped", "posts_dropped_total"),
            ("set_aside", "posts_set_aside_total"),
        ],
    },
    plain("p2p_bytes_sent", "Bytes of frames to peers.", &[("", "bytes_sent_total")]),
    plain("p2p_bytes_received", "Bytes of frames from peers.", &[("", "bytes_received_total")]),
    plain(
        "p2p_network_rotations",
        "Times that another secret of the network was taken.",
        &[("", "network_rotations_total")],
    ),
    plain(
        "p2p_network_keys_given",
        "Keys that members got here who were away when the secret changed.",
        &[("", "network_keys_given_total")],
    ),
    plain("p2p_heartbeats_sent", "Questions whether a peer lives.", &[("", "heartbeats_sent_total")]),
    plain("p2p_heartbeats_received", "The same from peers.", &[("", "heartbeats_received_total")]),
    plain("p2p_heartbeats_missed", "Links given up because nothing came back.", &[("", "heartbeats_missed_total")]),
    Counter {
        name: "p2p_dials",
        help: "Dials that are over: a secured link, nobody there, not of this network, or somebody else there.",
        label: "result",
        parts: &[
            ("opened", "dials_opened_total"),
            ("unreachable", "dials_unreachable_total"),
            ("refused", "dials_refused_total"),
            ("wrong_peer", "dials_wrong_peer_total"),
        ],
    },
    Counter {
        name: "p2p_reconnects",
        help: "Links to peers that were linked before in this run, whoever dialed, and dials to them that failed.",
        label: "result",
        parts: &[("up", "reconnects_up_total"), ("failed", "reconnects_failed_total")],
    },
    Counter {
        name: "p2p_errors",
        help: "What peers did that the protocol does not allow, and appends that the disk refused.",
        label: "kind",
        parts: &[
            ("signature", "errors_signature_total"),
            ("protocol", "errors_protocol_total"),
            ("oversize", "errors_oversize_total"),
            ("announcement", "errors_announcement_total"),
            ("limit", "errors_limit_total"),
            ("store", "store_failed_total"),
        ],
    },
    plain("p2p_panics", "Bugs of the daemon that showed.", &[("", "panics_total")]),
    plain("p2p_links_refused", "Connections that led to no link: strangers, mostly.", &[("", "links_refused_total")]),
    plain("p2p_tie_breaks_lost", "Links that gave way to another to the same peer.", &[("", "tie_breaks_lost_total")]),
    plain("p2p_sync_rounds", "Questions for posts that are missing.", &[("", "sync_rounds_total")]),
    plain("p2p_sync_laps", "Times that everybody was asked for something in vain.", &[("", "sync_laps_total")]),
    plain("p2p_sync_posts", "Posts that came because they were asked for.", &[("", "sync_posts_total")]),
    plain("p2p_wants_dropped", "Questions of peers beyond what is answered at a time.", &[("", "wants_dropped_total")]),
    plain("p2p_prunes_received", "Feeds that peers have from somebody else.", &[("", "prunes_received_total")]),
    plain("p2p_frames_ignored", "Frames of a later version.", &[("", "frames_ignored_total")]),
    plain("p2p_frames_unknown", "Frames of no known kind.", &[("", "frames_unknown_total")]),
    plain("p2p_frames_over_rate", "Frames beyond what a link may send.", &[("", "frames_over_rate_total")]),
    plain("p2p_digests_ignored", "Digests beyond what is compared.", &[("", "digests_ignored_total")]),
    plain(
        "p2p_feeds_delayed",
        "Feeds that came beyond what a peer may make us create.",
        &[("", "feeds_delayed_total")],
    ),
    plain("p2p_records_dropped", "Records of peers that the book has no room for.", &[("", "records_dropped_total")]),
    plain("p2p_lan_sightings", "Peers of this network that were heard on the local one.", &[("", "hints_total")]),
    plain("p2p_lan_sightings_dropped", "Those that there was no room for.", &[("", "hints_dropped_total")]),
    plain("p2p_forks_seen", "Proofs that an author used a number twice.", &[("", "forks_seen_total")]),
    plain("p2p_fork_searches", "Searches for the place where two branches part.", &[("", "fork_searches_total")]),
    plain("p2p_fork_searches_vain", "Those that found none.", &[("", "fork_searches_vain_total")]),
    plain("p2p_epochs_drawn", "Times that this run had to begin a new feed.", &[("", "epochs_drawn_total")]),
    plain(
        "p2p_posts_said_again",
        "Own posts that lost their number and have another.",
        &[("", "posts_said_again_total")],
    ),
    plain("p2p_own_posts_returned", "Own posts that only others held.", &[("", "own_posts_returned_total")]),
];
