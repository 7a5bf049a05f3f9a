//! The mesh of the yardsticks: everybody linked to everybody over TCP. What has been read at once goes on at once, and
//! what waits at a wake-up goes out in one write.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::frame;
use crate::failure::Failure;

/// Our end of the links to all others. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Mesh {
    links: Arc<[mpsc::Sender<Bytes>]>,
    sent_bytes: Arc<AtomicU64>,
}

/// Whole frames of one other peer.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) place: usize,
    pub(super) frames: Bytes,
}

pub(super) async fn listen() -> Result<TcpListener, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?)
}

impl Mesh {
    /// Links to all: dials those before our place, and waits for those behind it.
    pub(super) async fn join(
        listener: TcpListener,
        place: usize,
        ports: &[u16],
    ) -> Result<(Self, mpsc::Receiver<Received>), Failure> {
        let sent_bytes = Arc::default();
        let (sender, received) = mpsc::channel(READS_WAITING_MAX);
        let mut links = Vec::new();
        for (dialed, port) in ports.iter().enumerate() {
            if dialed == place {
                continue;
            }
            let (stream, other) = if dialed < place {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await?;
                stream.write_u8(u8::try_from(place).expect("they are six")).await?;
                (stream, dialed)
            } else {
                let (mut stream, _) = listener.accept().await?;
                let other = stream.read_u8().await?.into();
                (stream, other)
            };
            stream.set_nodelay(true)?;
            let (reader, writer) = stream.into_split();
            let (link, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
            tokio::spawn(write(writer, chunks, Arc::clone(&sent_bytes)));
            tokio::spawn(read(reader, other, sender.clone()));
            links.push(link);
        }
        Ok((Self { links: links.into(), sent_bytes }, received))
    }

    /// Sends frames to all others; waits for the slowest of them.
    pub(super) async fn send(&self, frames: Bytes) -> Result<(), Failure> {
        for link in &*self.links {
            link.send(frames.clone()).await.map_err(|_| Failure::new("a link of a yardstick is gone"))?;
        }
        Ok(())
    }

    /// To all others together, since the beginning.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }
}

/// Until the mesh or the other peer is gone.
async fn write(mut writer: OwnedWriteHalf, mut chunks: mpsc::Receiver<Bytes>, sent_bytes: Arc<AtomicU64>) {
    let mut waiting = Vec::new();
    while chunks.recv_many(&mut waiting, CHUNKS_WAITING_MAX).await > 0 {
        let all = match &mut *waiting {
            [one] => std::mem::take(one),
            many => many.concat().into(),
        };
        waiting.clear();
        if writer.write_all(&all).await.is_err() {
            return;
        }
        sent_bytes.fetch_add(all.len() as u64, Ordering::Relaxed);
    }
}

/// Until nobody wants it or the other peer is gone.
async fn read(mut reader: OwnedReadHalf, place: usize, sender: mpsc::Sender<Received>) {
    let mut held = BytesMut::new();
    loop {
        held.reserve(READ_BYTES);
        if reader.read_buf(&mut held).await.unwrap_or(0) == 0 {
            return;
        }
        let frames = frame::split_whole(&mut held);
        if !frames.is_empty() && sender.send(Received { place, frames }).await.is_err() {
            return;
        }
    }
}

/// Of one link.
const CHUNKS_WAITING_MAX: usize = 8;
/// Of all links together.
const READS_WAITING_MAX: usize = 8;
/// The most that one read brings.
const READ_BYTES: usize = 64 << 10;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// So many, in this process.
    pub(in crate::yardstick) async fn meshes(count: usize) -> Vec<(Mesh, mpsc::Receiver<Received>)> {
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(listen().await.unwrap());
        }
        let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        let joining = listeners.into_iter().enumerate().map(|(place, listener)| Mesh::join(listener, place, &ports));
        futures_util::future::try_join_all(joining).await.unwrap()
    }

    #[tokio::test]
    async fn what_one_sends_all_others_get() {
        let mut six = meshes(6).await;
        let mut frames = BytesMut::new();
        frame::put(&mut frames, b"hello");
        six[2].0.send(frames.freeze()).await.unwrap();
        for (place, (_, received)) in six.iter_mut().enumerate().filter(|(place, _)| *place != 2) {
            let Received { place: sender, frames } = received.recv().await.unwrap();
            assert_eq!(sender, 2, "at {place}");
            assert_eq!(frame::bodies(frames).collect::<Vec<_>>(), ["hello"]);
        }
        assert_eq!(six[2].0.sent_bytes(), 5 * 9);
    }

    #[tokio::test]
    async fn who_does_not_read_holds_up_the_sender_and_loses_nothing() {
        let mut two = meshes(2).await;
        let mut received = two.pop().unwrap().1;
        let mesh = two.pop().unwrap().0;
        let sent = tokio::spawn(async move {
            for number in 0..STORM {
                let mut frames = BytesMut::new();
                frame::put(&mut frames, &[number.to_be_bytes().as_slice(), &[0; 4_092]].concat());
                mesh.send(frames.freeze()).await.unwrap();
            }
            mesh
        });
        let mut next = 0;
        while next < STORM {
            for body in frame::bodies(received.recv().await.unwrap().frames) {
                assert_eq!(body[..4], u32::to_be_bytes(next));
                next += 1;
            }
            // Whatever the buffers of the system hold, it is less than all of it.
            assert!(next > STORM / 10 || !sent.is_finished());
        }
        assert_eq!(sent.await.unwrap().sent_bytes(), u64::from(STORM) * 4_100);
    }

    /// 80 MiB of frames.
    const STORM: u32 = 20_000;
}
