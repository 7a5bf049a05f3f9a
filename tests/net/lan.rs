//! Peers of one local network that find each other without being told of each other.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use p2p_tests::chaos::netns::Netns;
use p2p_tests::daemon::{Options, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};
use socket2::{Domain, Protocol, Socket, Type};

use super::Field;

const ON: [(&str, &str); 3] =
    [("P2P_LAN_DISCOVERY", "true"), ("P2P_HEARTBEAT_INTERVAL", "1s"), ("P2P_HEARTBEAT_TIMEOUT", "2s")];
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;
/// Of a message of DNS.
const HEADER_LEN: usize = 12;
const ANY_PORT: &str = "0.0.0.0:0";

/// A member of the multicast group where a peer could live.
struct Listener {
    socket: UdpSocket,
    heard: Vec<(SocketAddr, Vec<u8>)>,
}

impl Listener {
    #[track_caller]
    fn start(field: &Field, place: usize) -> Self {
        let open = || -> std::io::Result<UdpSocket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT).into())?;
            let own: Ipv4Addr = Netns::addr(place).split_once(':').unwrap().0.parse().unwrap();
            socket.join_multicast_v4(&GROUP, &own)?;
            socket.set_multicast_if_v4(&own)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        };
        Self { socket: field.netns.within(place, open).unwrap().unwrap(), heard: Vec::new() }
    }

    /// Everything until now: who, and what.
    fn heard(&mut self) -> &[(SocketAddr, Vec<u8>)] {
        let mut buffer = [0; 9_000];
        while let Ok((len, sender)) = self.socket.recv_from(&mut buffer) {
            self.heard.push((sender, buffer[..len].to_vec()));
        }
        &self.heard
    }

    /// Announcements of a peer.
    fn announcements_of(&mut self, peer: &TestPeer) -> Vec<Vec<u8>> {
        let id = peer.id().as_bytes().to_owned();
        let heard = self.heard().iter().filter(|(_, bytes)| bytes.windows(id.len()).any(|window| window == id));
        heard.map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Whether the last of them is that it goes: it holds for no time.
    fn ends_with_goodbye(&mut self, peer: &TestPeer) -> bool {
        let last = self.announcements_of(peer).pop().unwrap();
        let ttl_at = b"\x05_p2pd\x04_tcp\x05local\0".len() + HEADER_LEN + 4;
        last[ttl_at..ttl_at + 4] == [0; 4]
    }

    fn say(&self, bytes: &[u8]) {
        drop(self.socket.send_to(bytes, (GROUP, PORT)));
    }
}

fn counter(peer: &TestPeer, name: &str) -> u64 {
    peer.status().counters.get(name).copied().unwrap_or(0)
}

/// What of the memory of a process is in use.
fn rss_kb(peer: &TestPeer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", peer.ready().pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// One that a peer sent, as if it came from peers that nobody is: another id in each.
fn forged(template: &[u8], id: &str, n: usize) -> Vec<u8> {
    let other = format!("{n:0>8}").replace(['0', '1', '8', '9'], "b");
    let text = String::from_utf8_lossy(template);
    assert!(text.contains(id));
    let mut bytes = template.to_vec();
    let places: Vec<usize> = (0..bytes.len() - id.len()).filter(|at| bytes[*at..].starts_with(id.as_bytes())).collect();
    for at in places {
        bytes[at..at + 8].copy_from_slice(other.as_bytes());
    }
    bytes
}

#[test]
fn peers_of_one_network_find_each_other_and_one_of_another_network_is_left_alone() {
    let Some(mut field) = Field::open() else { return };
    let mut listener = Listener::start(&field, 3);
    let stranger = field.network.keygen("stranger.key");
    let options = field.options(2, vec![], ANY_PORT, &ON);
    let stranger = field.network.start_with(Options { network_key: Some(stranger), ..options });
    field.add(vec![], ANY_PORT, &ON);
    // A late starter, when the first has been calling out for a while.
    eventually(PATIENCE, "it calls out", || listener.announcements_of(&field.peers[0]).len() >= 2);
    field.add(vec![], ANY_PORT, &ON);
    field.say(0, "found");
    field.check_equal(1);
    assert!(counter(&field.peers[0], "hints_total") + counter(&field.peers[1], "hints_total") > 0);

    eventually(PATIENCE, "the stranger calls out too", || listener.announcements_of(&stranger).len() >= 2);
    for peer in field.peers.iter().chain([&stranger]) {
        assert_eq!(counter(peer, "links_refused_total"), 0, "nobody dials a stranger");
        assert_eq!(counter(peer, "dials_failed_total"), 0);
    }
    assert_eq!((stranger.status().peers_known, counter(&stranger, "hints_total")), (0, 0));
    let log = field.peers[0].log() + &field.peers[1].log();
    assert!(log.contains("lan_peer_heard"), "{log}");
    // Neither the id of the network nor a name is called out.
    let network = field.peers[0].status().network;
    for secret in [network.as_str(), "peer-0", "peer-1"] {
        let said = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!listener.heard().iter().any(|(_, bytes)| said(bytes)), "{secret} was on the wire");
    }
}

#[test]
fn peers_that_all_restart_at_other_ports_find_each_other_again() {
    let Some(mut field) = Field::open() else { return };
    for _ in 0..3 {
        field.add(vec![], ANY_PORT, &ON);
    }
    field.say(0, "before");
    field.check_equal(1);
    // Nothing in anybody's book holds any more.
    let ports = |field: &Field| field.peers.iter().map(TestPeer::addr).collect::<Vec<_>>();
    let before = ports(&field);
    field.peers.iter_mut().for_each(TestPeer::kill_9);
    field.peers.iter_mut().for_each(TestPeer::restart);
    assert!(ports(&field).iter().all(|port| !before.contains(port)), "{before:?}");
    field.say(1, "after");
    field.check_equal(2);
}

#[test]
fn peers_whose_addresses_all_change_find_each_other_again() {
    let Some(mut field) = Field::open() else { return };
    for _ in 0..2 {
        field.add(vec![], ANY_PORT, &ON);
    }
    field.wait_for_links();
    for place in 0..2 {
        field.run(place, &format!("ip addr del 10.77.0.{}/24 dev eth0", place + 1));
    }
    for place in 0..2 {
        field.run(place, &format!("ip addr add 10.78.0.{}/24 dev eth0", place + 31));
    }
    field.say(0, "after the move");
    field.check_equal(1);
}

#[test]
fn an_interface_that_comes_later_is_used() {
    let Some(mut field) = Field::open() else { return };
    for place in 0..2 {
        field.run(place, "ip link set eth0 down");
        field.add(vec![], ANY_PORT, &ON);
    }
    for place in 0..2 {
        field.run(place, "ip link set eth0 up");
    }
    field.wait_for_links();
}

#[test]
fn a_port_that_another_program_keeps_to_itself_is_told_and_used_when_it_is_free() {
    let Some(mut field) = Field::open() else { return };
    let keep = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT));
    let kept = field.netns.within(0, keep).unwrap().unwrap();
    for _ in 0..2 {
        field.add(vec![], ANY_PORT, &ON);
    }
    eventually(PATIENCE, "it is told", || field.peers[0].log().contains("lan_not_joined"));
    drop(kept);
    field.wait_for_links();
}

#[test]
fn peers_that_have_ipv6_only_find_each_other() {
    let Some(mut field) = Field::open() else { return };
    for place in 0..2 {
        field.run(place, "ip -4 addr flush dev eth0");
        field.run(place, &format!("ip -6 addr add fd77::{}/64 dev eth0 nodad", place + 1));
        field.add(vec![], "[::]:0", &ON);
    }
    field.wait_for_links();
}

#[test]
fn it_is_off_by_default_and_switched_on_and_off_without_a_restart() {
    let Some(mut field) = Field::open() else { return };
    let mut listener = Listener::start(&field, 3);
    field.add(vec![], ANY_PORT, &[]);
    field.add(vec![], ANY_PORT, &ON);
    eventually(PATIENCE, "who has it on is heard", || listener.announcements_of(&field.peers[1]).len() >= 3);
    let silent = field.peers[0].addr();
    assert!(listener.announcements_of(&field.peers[0]).is_empty(), "{silent} has it off");
    let from_silent =
        |listener: &mut Listener| listener.heard().iter().any(|(ip, _)| ip.to_string() == "10.77.0.1:5353");
    assert!(!from_silent(&mut listener));
    assert_eq!(field.run(0, "ss -Hua"), "", "no socket");
    let threads =
        |field: &Field| field.run(0, &format!("ls /proc/{}/task", field.peers[0].ready().pid)).lines().count();
    let threads_before = threads(&field);

    let configure = |text: &str| std::fs::write(field.network.dir().join("config.yaml"), text).unwrap();
    configure("log_level: debug\nlan_discovery: true\n");
    let shown = field.peers[0].p2pctl(&["daemon", "reload"]).ok();
    assert!(shown.contains("lan_discovery  false  true  applied"), "{shown}");
    field.wait_for_links();
    assert_eq!(threads(&field), threads_before, "no thread of its own");

    configure("log_level: debug\n");
    drop(field.peers[0].p2pctl(&["daemon", "reload"]).ok());
    eventually(PATIENCE, "its sockets are closed", || field.run(0, "ss -Hua").is_empty());
    eventually(PATIENCE, "it said goodbye", || listener.ends_with_goodbye(&field.peers[0]));
    assert_eq!(field.peers[0].status().peers_up, 1, "who was found stays");

    assert!(!listener.ends_with_goodbye(&field.peers[1]));
    field.peers[1].stop();
    eventually(PATIENCE, "who stops says goodbye", || listener.ends_with_goodbye(&field.peers[1]));
}

#[test]
fn who_listens_on_loopback_says_so_calls_nothing_out_and_dials_others() {
    let Some(mut field) = Field::open() else { return };
    let mut listener = Listener::start(&field, 3);
    field.add(vec![], "127.0.0.1:0", &ON);
    eventually(PATIENCE, "it asks", || listener.heard().len() >= 2);
    let log = field.peers[0].log();
    assert_eq!(log.matches("nobody can be told of it").count(), 1, "{log}");
    let found = field.peers[0].p2pctl(&["doctor"]).stdout;
    assert!(found.contains("WARN  lan"), "{found}");
    field.add(vec![], ANY_PORT, &ON);
    field.wait_for_links();
    assert!(listener.announcements_of(&field.peers[0]).is_empty());
}

#[test]
fn a_flood_on_the_local_network_costs_no_memory_and_nobody_his_links() {
    let Some(mut field) = Field::open() else { return };
    let mut listener = Listener::start(&field, 3);
    for _ in 0..2 {
        field.add(vec![], ANY_PORT, &ON);
    }
    field.wait_for_links();
    eventually(PATIENCE, "one is heard", || !listener.announcements_of(&field.peers[1]).is_empty());
    let template = listener.announcements_of(&field.peers[1]).swap_remove(0);
    let id = field.peers[1].id().to_owned();
    let links = field.link(0, 1);
    let before = rss_kb(&field.peers[0]);
    // Peers that nobody is, rubbish, and questions, as fast as they can be sent.
    let until = Instant::now() + Duration::from_secs(4);
    let mut sent = 0;
    while Instant::now() < until {
        listener.say(&forged(&template, &id, sent));
        listener.say(&vec![sent as u8; sent % 1_400]);
        sent += 1;
    }
    assert!(sent > 1_000, "{sent} were sent");
    let grown = rss_kb(&field.peers[0]).saturating_sub(before);
    assert!(grown < 4_096, "{grown} kB more after {sent} messages");
    assert!(counter(&field.peers[0], "hints_total") > 0, "some were heard");
    assert_eq!(field.link(0, 1), links, "the link holds");
    assert_eq!(field.peers[0].status().peers_known, 1, "whoever proves nothing is nobody");
    // It does not go on for ever, and neither does its effect.
    field.add(vec![], ANY_PORT, &ON);
    field.say(2, "found in spite of it");
    field.check_equal(1);
}
