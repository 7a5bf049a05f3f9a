//! Who listens at a port, as `/proc` tells it.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A running program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortOwner {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub program: String,
}

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A program chooses its name itself.
        write!(f, "pid {} ({})", self.pid, self.program.escape_debug())
    }
}

/// Who listens where `addr` cannot be bound. None where it is not found: it may be in another container, or belong to
/// another user, whose open files we may not see.
pub(super) fn port_owner(addr: SocketAddr) -> Option<PortOwner> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening_inodes(&table, addr))
        .collect();
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    if wanted.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        has_one_open(&process.path(), &wanted).then(|| {
            let program = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            PortOwner { pid, program: program.trim_end().to_owned() }
        })
    })
}

/// The sockets in a table of the kernel that listen at `addr`, or at its port on all addresses.
fn listening_inodes(table: &str, addr: SocketAddr) -> Vec<String> {
    let rows = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    rows.filter_map(|row| {
        let (local, state, inode) = (row.get(1)?, row.get(3)?, row.get(9)?);
        let (ip, port) = parse_local(local)?;
        let meets = ip == addr.ip() || ip.is_unspecified() || addr.ip().is_unspecified();
        (*state == LISTENING && port == addr.port() && meets).then(|| (*inode).to_owned())
    })
    .collect()
}

/// `0100007F:1F90`: the address as the words of this machine, the port as a number.
fn parse_local(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for word in ip.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some((ip.to_canonical(), port))
}

fn has_one_open(process: &Path, wanted: &[String]) -> bool {
    let Ok(open) = fs::read_dir(process.join("fd")) else { return false };
    open.flatten().any(|file| {
        let target = fs::read_link(file.path()).ok();
        target
            .and_then(|target| target.to_str().map(|target| wanted.iter().any(|want| want == target)))
            .unwrap_or(false)
    })
}

/// The kernel's number for it.
const LISTENING: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0
   2: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0
   3: garbage
";

    #[test]
    #[cfg(target_endian = "little")]
    fn listening_sockets_are_found_by_address_and_port() {
        let find = |text: &str| listening_inodes(TABLE, text.parse().expect("an address"));
        assert_eq!(find("127.0.0.1:8080"), ["111"]);
        assert_eq!(find("0.0.0.0:8080"), ["111"]);
        assert_eq!(find("10.0.0.1:8081"), ["333"]);
        assert!(find("10.0.0.1:8080").is_empty());
    }

    #[test]
    fn a_name_that_a_program_gave_itself_stays_on_its_line() {
        let owner = PortOwner { pid: 812, program: "evil\n\u{1b}[2J".to_owned() };
        assert_eq!(owner.to_string(), "pid 812 (evil\\n\\u{1b}[2J)");
    }
}
