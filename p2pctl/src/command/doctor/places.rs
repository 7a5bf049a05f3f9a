//! Where the daemon can be reached, and by whom.

use super::facts::{Facts, Reach, ip_of, listed, reach};
use crate::output::doctor::Check;
use crate::output::words::counted;

/// How far the widest of these addresses reaches; none where there is none.
fn widest<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Option<Reach> {
    addresses.into_iter().filter_map(ip_of).map(reach).max()
}

fn listens(facts: &Facts) -> Option<Reach> {
    widest(facts.status.listen.iter().map(String::as_str))
}

/// Somebody on another machine is dialed.
fn has_remote_peers(facts: &Facts) -> bool {
    let is_remote = |address: &str| ip_of(address).is_none_or(|ip| reach(ip) != Reach::Loopback);
    facts.configured().any(|peer| !peer.address.is_empty() && is_remote(&peer.address))
}

pub(super) fn listen(facts: &Facts) -> Check {
    let at = listed(facts.status.listen.iter().map(String::as_str));
    if listens(facts) == Some(Reach::Loopback) && has_remote_peers(facts) {
        let finding = format!("peers are on other machines, and only this one reaches {at}");
        return Check::warn(
            "listen",
            finding,
            "listen for them too: p2pd -l 0.0.0.0:8080, or listen_addr in the configuration",
        );
    }
    Check::ok("listen", at)
}

pub(super) fn advertise(facts: &Facts) -> Check {
    let told = &facts.status.advertise;
    let is_useless = |address: &&str| ip_of(address).is_some_and(|ip| matches!(reach(ip), Reach::Any | Reach::Link));
    let is_own = |address: &&str| ip_of(address).is_some_and(|ip| reach(ip) == Reach::Loopback);
    let told = || told.iter().map(String::as_str);
    let useless: Vec<&str> = told().filter(is_useless).collect();
    if !useless.is_empty() {
        let finding = format!("others are told {}, which leads nobody here", listed(useless));
        return Check::warn("advertise", finding, "name what they can dial: advertise_addr in the configuration");
    }
    let own: Vec<&str> = told().filter(is_own).collect();
    if !own.is_empty() && has_remote_peers(facts) && listens(facts) != Some(Reach::Loopback) {
        let finding = format!("others are told {}, which leads them to themselves", listed(own));
        return Check::warn("advertise", finding, "name what they can dial: advertise_addr in the configuration");
    }
    Check::ok("advertise", if told().count() == 0 { "others see for themselves".to_owned() } else { listed(told()) })
}

pub(super) fn open_network(facts: &Facts) -> Check {
    let at = || listed(facts.status.listen.iter().map(String::as_str));
    match (facts.status.open_network, listens(facts)) {
        (false, _) => Check::ok("open-network", "nobody joins without the network key"),
        (true, Some(Reach::Public | Reach::Any)) => Check::fail(
            "open-network",
            format!("whoever reaches {} can join, read all and write", at()),
            "give it a key: p2pd keygen, open_network: false, and a restart",
        ),
        (true, _) => Check::warn(
            "open-network",
            format!("whoever reaches {} can join", at()),
            "for others than tests: p2pd keygen, open_network: false, and a restart",
        ),
    }
}

pub(super) fn metrics(facts: &Facts) -> Check {
    let value = facts.value("metrics_addr");
    let addresses = value.trim_matches(['[', ']']).split(", ").filter(|address| !matches!(*address, "" | "off"));
    let addresses: Vec<&str> = addresses.collect();
    match widest(addresses.iter().copied()) {
        Some(Reach::Public | Reach::Any) => Check::warn(
            "metrics",
            format!("figures are served without a password at {}", listed(addresses)),
            "serve them to this machine alone: metrics_addr: localhost:9464, or block the port from outside",
        ),
        _ if addresses.is_empty() => Check::ok("metrics", "they are not served over HTTP"),
        _ => Check::ok("metrics", format!("they are served at {}", listed(addresses))),
    }
}

pub(super) fn lan(facts: &Facts) -> Check {
    if facts.value("lan_discovery") != "true" {
        return Check::ok("lan", "peers on the local network are not looked for");
    }
    if listens(facts) == Some(Reach::Loopback) {
        let finding = "peers on the local network are looked for, and none of them could link to this daemon";
        return Check::warn(
            "lan",
            finding,
            "listen for them: p2pd -l 0.0.0.0:8080, or listen_addr in the configuration",
        );
    }
    let heard = facts.status.counters.get("hints_total").copied().unwrap_or(0);
    let is_old = facts.status.uptime_ms >= LAN_SILENCE_MS_WARN;
    if heard == 0 && facts.status.peers_up == 0 && is_old {
        let finding = "nobody of this network is heard on the local network";
        let hint = "see whether lan_discovery is on there, the network the same (p2pctl status), and UDP port 5353 not \
                    blocked; guest networks often keep their members apart";
        return Check::warn("lan", finding, hint);
    }
    Check::ok("lan", format!("peers on the local network are looked for, and were heard {}", counted(heard, "time")))
}

/// Whoever is there has said so several times by then.
const LAN_SILENCE_MS_WARN: u64 = 60_000;
