//! Names and addresses that are dialed.

use std::sync::atomic::{AtomicU8, Ordering};

use super::*;

fn resolver(answer: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Resolver {
    Box::new(move |addr| {
        let answer = answer(&addr);
        Box::pin(async move { answer })
    })
}

async fn dialing(resolve: Resolver) -> Peer {
    Peer::start_with(config(1, &[7]), |shared| shared.resolve = resolve).await
}

/// An address where nobody listens.
fn closed_addr() -> SocketAddr {
    static USED: AtomicU8 = AtomicU8::new(0);
    // A port that was free a moment ago may be another test's by now; this one is nobody's.
    ([127, 0, 9, USED.fetch_add(1, Ordering::Relaxed)], 1).into()
}

#[tokio::test]
async fn nobody_at_an_address_is_unreachable_and_says_so() {
    let mut near = Peer::start(1).await;
    let addr = closed_addr();
    let dial = near.dial(addr, None);
    let (failed, reason, detail) = near.dial_failed().await;
    assert_eq!((failed, reason), (dial, DialFailure::Unreachable));
    assert!(detail.starts_with(&format!("{addr}: ")), "{detail}");
}

#[tokio::test]
async fn a_real_name_is_resolved() {
    let (mut near, mut far) = (Peer::start(1).await, Peer::start(2).await);
    near.dial_name(&format!("localhost:{}", far.addr.port()), Some(far.id));
    assert_eq!(near.opened().await.remote, far.addr);
    far.opened().await;
}

#[tokio::test]
async fn n_11_a_name_that_fails_is_told_with_the_reason() {
    let mut near = dialing(resolver(|_| Err(io::Error::other("no such host")))).await;
    near.dial_name("peer-1.example:8080", None);
    let (_, reason, detail) = near.dial_failed().await;
    let expected = "\"peer-1.example\" cannot be resolved: no such host";
    assert_eq!((reason, detail.as_str()), (DialFailure::Unreachable, expected));

    let mut near = dialing(resolver(|_| Ok(Vec::new()))).await;
    near.dial_name("peer-1.example:8080", None);
    assert_eq!(near.dial_failed().await.2, "\"peer-1.example\" has no address");
}

#[tokio::test]
async fn n_11_each_of_twenty_addresses_is_tried() {
    let (mut far, mut addrs) = (Peer::start(2).await, Vec::new());
    for _ in 0..19 {
        addrs.push(closed_addr());
    }
    addrs.push(far.addr);
    let mut near = dialing(resolver(move |_| Ok(addrs.clone()))).await;
    near.dial_name("peer-1.example:8080", None);
    assert_eq!(near.opened().await.peer, far.id);
    far.opened().await;
}

#[tokio::test]
async fn n_11_an_address_where_somebody_else_sits_does_not_end_the_dial() {
    let (mut own, mut far) = (Peer::start(1).await, Peer::start(2).await);
    let stranger = Peer::start_with(config(3, &[8]), |_| ()).await;
    let addrs = vec![own.addr, stranger.addr, far.addr];
    let mut near = dialing(resolver(move |_| Ok(addrs.clone()))).await;
    near.dial_name("peer-1.example:8080", Some(far.id));
    assert_eq!(near.opened().await.peer, far.id);
    far.opened().await;
    // Where none of them is right, what a peer said is told rather than the silence of the others.
    let addrs = vec![own.addr, stranger.addr, closed_addr()];
    let mut near = dialing(resolver(move |_| Ok(addrs.clone()))).await;
    near.dial_name("peer-1.example:8080", Some(far.id));
    assert_eq!(near.dial_failed().await.1, DialFailure::WrongPeer);
    assert!(own.events.try_recv().is_err());
}

#[tokio::test]
async fn n_11_a_name_is_resolved_again_at_each_dial() {
    let (mut first, mut second) = (Peer::start(2).await, Peer::start(3).await);
    let answers = Mutex::new(vec![second.addr, first.addr]);
    let mut near = dialing(resolver(move |_| Ok(vec![answers.lock().unwrap().pop().unwrap()]))).await;
    near.dial_name("peer-1.example:8080", None);
    assert_eq!(near.opened().await.peer, first.id);
    near.dial_name("peer-1.example:8080", None);
    assert_eq!(near.opened().await.peer, second.id);
    first.opened().await;
    second.opened().await;
}

#[tokio::test]
async fn n_11_a_slow_name_delays_no_other_dial() {
    let mut far = Peer::start(2).await;
    let addr = far.addr;
    let resolve: Resolver = Box::new(move |name| {
        let answer = async move {
            if name.starts_with("slow") {
                std::future::pending::<()>().await;
            }
            Ok(vec![addr])
        };
        Box::pin(answer)
    });
    let mut near = dialing(resolve).await;
    for _ in 0..8 {
        near.dial_name("slow.example:8080", None);
    }
    let quick = near.dial_name("quick.example:8080", None);
    assert_eq!(near.opened().await.dial, Some(quick));
    far.opened().await;
}

#[tokio::test]
async fn n_11_a_name_that_is_never_resolved_fails_in_time() {
    let resolve: Resolver = Box::new(|_| Box::pin(std::future::pending()));
    let mut near = Peer::start_with(config(1, &[7]), |shared| {
        shared.resolve = resolve;
        shared.connect_timeout = Duration::from_millis(20);
    })
    .await;
    near.dial_name("slow.example:8080", None);
    assert_eq!(near.dial_failed().await.2, "\"slow.example\" was not resolved within 20ms");
}
