//! The network as a TCP proxy on loopback, in this process: for machines where nobody is root. Each peer dials each other
//! one at an address of that pair alone, because nothing else tells who it is that dials: a daemon hides its open files
//! from other programs of its user. So here, other than in namespaces, nobody finds anybody by what others tell.

mod pump;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::ways::{PEERS, Way, Ways};

/// A place for each peer in front of each other one.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    /// Who dials, and then whom.
    addrs: Vec<Vec<SocketAddr>>,
    // Dropping it ends every task.
    _runtime: Runtime,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Changes with every change of the state.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    ways: Ways,
    bits: [Option<u32>; PEERS],
    /// Where each peer listens; none before its first start.
    peers: [Option<SocketAddr>; PEERS],
    /// Bytes that a connection from one to another may still carry before it is reset.
    fuses: [[Option<u64>; PEERS]; PEERS],
}

impl Proxy {
    /// Listens in all places.
    ///
    /// # Errors
    ///
    /// The system gives no sockets.
    pub fn open() -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the fault proxy: {error}");
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().map_err(failed)?;
        let shared = Arc::new(Shared { state: Mutex::default(), changed: watch::Sender::new(0) });
        let mut addrs = vec![Vec::new(); PEERS];
        for (from, to) in (0..PEERS).flat_map(|from| (0..PEERS).map(move |to| (from, to))) {
            let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).map_err(failed)?;
            addrs[from].push(listener.local_addr().map_err(failed)?);
            runtime.spawn(accept(listener, from, to, shared.clone()));
        }
        Ok(Self { shared, addrs, _runtime: runtime })
    }

    /// Where one peer dials another.
    #[must_use]
    pub fn addr(&self, from: usize, to: usize) -> String {
        self.addrs[from][to].to_string()
    }

    /// A peer runs and listens there.
    pub fn on_started(&self, peer: usize, listen: SocketAddr) {
        self.shared.change(|state| state.peers[peer] = Some(listen));
    }

    /// Makes the ways as they should be.
    pub fn apply(&self, ways: &Ways) {
        self.shared.change(|state| state.ways = *ways);
    }

    /// Every connection from and to a peer carries this many bits a second each way; none for no limit.
    pub fn slow(&self, peer: usize, bits: Option<u32>) {
        self.shared.change(|state| state.bits[peer] = bits);
    }

    /// Resets what is between two peers when so many more bytes went from the one to the other.
    pub fn reset(&self, one: usize, two: usize, bytes: u64) {
        self.shared.change(|state| state.fuses[one][two] = Some(bytes));
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.send_modify(|count| *count += 1);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the state in hand")
    }

    fn way(&self, from: usize, to: usize) -> Way {
        self.state().ways.between(from, to)
    }
}

async fn accept(listener: TcpListener, from: usize, to: usize, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        tokio::spawn(carry(stream, from, to, shared.clone()));
    }
}

/// One connection, from the moment it was accepted.
async fn carry(stream: TcpStream, from: usize, to: usize, shared: Arc<Shared>) {
    let target = shared.state().peers[to];
    // Nobody listens there yet.
    let Some(target) = target else { return drop(stream.set_zero_linger()) };
    if pump::wait_open(&shared, from, to).await.is_err() || pump::wait_open(&shared, to, from).await.is_err() {
        return drop(stream.set_zero_linger());
    }
    let Ok(onward) = TcpStream::connect(target).await else { return drop(stream.set_zero_linger()) };
    drop((stream.set_nodelay(true), onward.set_nodelay(true)));
    pump::both_ways(stream, onward, from, to, &shared).await;
}

/// After a failed accept, such as for want of a file descriptor.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

#[cfg(test)]
mod tests;
