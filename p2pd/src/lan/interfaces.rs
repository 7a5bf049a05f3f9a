//! Which local networks this machine is on, as the kernel shows it in files. No socket of netlink is needed for that, which
//! the hardened service would not be given.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use rustix::net::netdevice::name_to_index;

/// An interface with at least one network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) nets: Vec<Net>,
}

/// An own address, and how much of it all share that are on the same network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Net {
    pub(super) own: IpAddr,
    pub(super) prefix_len: u8,
}

impl Interface {
    /// Whether an address belongs to a machine that is reached through this interface, without a router.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.nets.iter().any(|net| net.has(ip))
    }
}

impl Net {
    fn has(&self, ip: IpAddr) -> bool {
        match (self.own, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => (own.to_bits() ^ ip.to_bits()) & mask_of(self.prefix_len) == 0,
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let differ = own.to_bits() ^ ip.to_bits();
                differ.checked_shr(128 - u32::from(self.prefix_len)).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// All of this machine, in the order of their names. Loopback is none, and neither is one without an address.
///
/// # Errors
///
/// The kernel does not show them.
pub(super) fn read() -> io::Result<Vec<Interface>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let routes = fs::read_to_string(ROUTES)?;
    // A kernel without IPv6 has no such file.
    let six = fs::read_to_string(ADDRS_SIX).unwrap_or_default();
    let four = parse_routes(&routes).into_iter().filter_map(|route| Some((route.name.clone(), net_of(&route)?)));
    let nets = four.chain(parse_addrs_six(&six));
    Ok(group(nets, |name| name_to_index(&socket, name).ok()))
}

fn group(nets: impl Iterator<Item = (String, Net)>, index_of: impl Fn(&str) -> Option<u32>) -> Vec<Interface> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for (name, net) in nets {
        match interfaces.iter_mut().find(|interface| interface.name == name) {
            Some(interface) if interface.nets.len() < NETS_MAX => interface.nets.push(net),
            Some(_) => (),
            None => {
                let Some(index) = index_of(&name) else { continue };
                interfaces.push(Interface { name, index, nets: vec![net] });
            }
        }
    }
    interfaces.sort_by(|one, two| one.name.cmp(&two.name));
    interfaces.truncate(INTERFACES_MAX);
    interfaces
}

/// A network that is reached without a router.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Route {
    name: String,
    network: Ipv4Addr,
    prefix_len: u8,
}

/// Columns: interface, destination, gateway, flags, three counts, mask. Numbers are as they lie in memory.
fn parse_routes(text: &str) -> Vec<Route> {
    text.lines().filter_map(parse_route).collect()
}

fn parse_route(line: &str) -> Option<Route> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [name, network, gateway, _, _, _, _, mask, ..] = words[..] else { return None };
    let number = |word| u32::from_str_radix(word, 16).ok().map(|number| u32::from_be_bytes(number.to_ne_bytes()));
    let (network, gateway, mask) = (number(network)?, number(gateway)?, number(mask)?);
    let prefix_len = mask.leading_ones() as u8;
    // A default route is no network, and a single host is no company.
    let is_local = gateway == 0 && (1..=30).contains(&prefix_len);
    is_local.then(|| Route { name: name.to_owned(), network: Ipv4Addr::from_bits(network), prefix_len })
}

/// Our own address there: the one from which the kernel would send to a neighbour. Nothing is sent.
fn net_of(route: &Route) -> Option<Net> {
    let first = route.network.to_bits() + 1;
    let last = route.network.to_bits() | !mask_of(route.prefix_len);
    [first, last - 1].into_iter().find_map(|neighbour| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::from_bits(neighbour), ANY_PORT)).ok()?;
        let net = Net { own: socket.local_addr().ok()?.ip(), prefix_len: route.prefix_len };
        net.has(IpAddr::V4(route.network)).then_some(net)
    })
}

/// Columns: address, index, length of the prefix, scope, flags, name.
fn parse_addrs_six(text: &str) -> Vec<(String, Net)> {
    text.lines().filter_map(parse_addr_six).collect()
}

fn parse_addr_six(line: &str) -> Option<(String, Net)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [ip, _, prefix_len, scope, flags, name] = words[..] else { return None };
    let own = Ipv6Addr::from_bits(u128::from_str_radix(ip, 16).ok()?);
    let byte = |word| u8::from_str_radix(word, 16).ok();
    let (prefix_len, scope, flags) = (byte(prefix_len)?, byte(scope)?, byte(flags).unwrap_or(0));
    let is_usable = scope == SCOPE_GLOBAL && flags & (TENTATIVE | FAILED | DEPRECATED) == 0;
    (is_usable && (1..=126).contains(&prefix_len)).then(|| (name.to_owned(), Net { own: own.into(), prefix_len }))
}

fn mask_of(prefix_len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0)
}

const ROUTES: &str = "/proc/self/net/route";
const ADDRS_SIX: &str = "/proc/self/net/if_inet6";
/// `discard`: nobody is sent anything.
const ANY_PORT: u16 = 9;
/// Machines with containers have hundreds, most of them without an address.
const INTERFACES_MAX: usize = 16;
const NETS_MAX: usize = 8;
/// Of a whole site or more. An address of the same wire only cannot be dialed without saying which.
const SCOPE_GLOBAL: u8 = 0;
/// From `linux/if_addr.h`: not known yet to be nobody else's, known to be, and on its way out.
const TENTATIVE: u8 = 0x40;
const FAILED: u8 = 0x08;
const DEPRECATED: u8 = 0x20;

#[cfg(test)]
mod tests {
    use super::*;

    fn net(own: &str, prefix_len: u8) -> Net {
        Net { own: own.parse().unwrap(), prefix_len }
    }

    #[test]
    fn routes_without_a_router_are_networks() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                    tun0\t0108080A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n\
                    eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                    broken\tx\t0\n";
        // The kernel writes numbers as this machine has them in memory.
        let expected = if cfg!(target_endian = "little") {
            vec![("docker0", [172, 17, 0, 0], 16), ("eth0", [192, 0, 2, 0], 24)]
        } else {
            return;
        };
        let routes = parse_routes(text);
        let shown: Vec<_> = routes.iter().map(|r| (r.name.as_str(), r.network.octets(), r.prefix_len)).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn of_ipv6_only_addresses_that_can_be_dialed_from_elsewhere_count() {
        let text = "fd000000000000000000000000000002 04 40 00 82     eth0\n\
                    00000000000000000000000000000001 01 80 10 80       lo\n\
                    fe8000000000000000fc00fffe000001 04 40 20 80     eth0\n\
                    20010db8000000000000000000000001 05 40 00 40    wlan0\n\
                    20010db8000000000000000000000002 05 40 00 00    wlan0\nbroken\n";
        let expected = [("eth0".to_owned(), net("fd00::2", 64)), ("wlan0".to_owned(), net("2001:db8::2", 64))];
        assert_eq!(parse_addrs_six(text), expected);
    }

    #[test]
    fn who_is_on_the_same_network_is_told_by_the_prefix() {
        let eth = Interface { name: "eth0".into(), index: 2, nets: vec![net("10.1.2.3", 22), net("fd00::2", 64)] };
        for (ip, expected) in [
            ("10.1.3.255", true),
            ("10.1.4.1", false),
            ("fd00::ffff", true),
            ("fd00:0:0:1::1", false),
            ("8.8.8.8", false),
            ("::1", false),
        ] {
            assert_eq!(eth.has(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    #[test]
    fn networks_of_one_interface_belong_together_and_there_are_only_so_many() {
        let many = (0..800).map(|n| (format!("v{:02}", n / 20), net("10.0.0.1", 24)));
        let interfaces = group(many, |name| (name != "v00").then_some(7));
        assert_eq!(interfaces.len(), INTERFACES_MAX);
        assert_eq!((interfaces[0].name.as_str(), interfaces[0].index, interfaces[0].nets.len()), ("v01", 7, NETS_MAX));
    }

    #[test]
    fn this_machine_can_be_asked() {
        for interface in read().unwrap() {
            assert!(interface.nets.iter().all(|net| !net.own.is_loopback()), "{interface:?}");
            assert!(interface.nets.iter().all(|net| interface.has(net.own)), "{interface:?}");
        }
    }
}
