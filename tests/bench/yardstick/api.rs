//! A yardstick behind gRPC: as much of `p2p.v1.Chat` as the sender and the subscriber of this program use, and no
//! more between it and the mesh than must be. Posts are encoded once, where they are said.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use p2p_proto::batch::{encode_head, encode_post};
use p2p_proto::client::MESSAGE_BYTES_MAX;
use p2p_proto::v1;
use p2p_proto::v1::chat_server::{Chat, ChatServer};
use p2p_proto::v1::send_result::Result as Sent;
use p2p_proto::v1::watch_response::Item;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::frame;
use super::mesh::{Mesh, Received};
use crate::failure::Failure;

/// What the programs at one yardstick have in common.
#[derive(Clone, Debug)]
struct Desk {
    mesh: Mesh,
    /// The fields that all posts of a program here have in common, encoded.
    head: Vec<u8>,
    author: String,
    said: Arc<Mutex<u64>>,
    /// The one subscriber; posts for `PostBatch::encoded`.
    subscriber: Arc<tokio::sync::Mutex<Option<mpsc::Sender<Bytes>>>>,
}

/// As long as an id of a peer is.
pub(super) fn peer_id(place: usize) -> String {
    format!("{:0>52}", format!("yardstick{place}"))
}

/// Serves until the process ends.
pub(super) fn serve(path: &Path, mesh: &Mesh, place: usize, received: mpsc::Receiver<Received>) -> Result<(), Failure> {
    let common = v1::Post { author_name: format!("yardstick{place}"), room: "main".into(), ..v1::Post::default() };
    let desk = Desk {
        mesh: mesh.clone(),
        head: encode_head(&common),
        author: peer_id(place),
        said: Arc::default(),
        subscriber: Arc::default(),
    };
    tokio::spawn(pass_on(received, desk.clone()));
    let incoming = UnixListenerStream::new(UnixListener::bind(path)?);
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(ChatServer::new(desk).max_decoding_message_size(MESSAGE_BYTES_MAX));
    tokio::spawn(server.serve_with_incoming(incoming));
    Ok(())
}

/// From the mesh to the subscriber. One that does not read holds up the links, and with them all senders.
async fn pass_on(mut received: mpsc::Receiver<Received>, desk: Desk) {
    while let Some(Received { frames, .. }) = received.recv().await {
        let mut posts = BytesMut::with_capacity(frames.len());
        frame::bodies(frames).for_each(|post| posts.extend_from_slice(&post));
        desk.show(posts.freeze()).await;
    }
}

impl Desk {
    /// Shows posts to the subscriber, if there is one.
    async fn show(&self, posts: Bytes) {
        if let Some(subscriber) = &*self.subscriber.lock().await {
            // One that has gone away shall not be waited for.
            drop(subscriber.send(posts).await);
        }
    }

    /// Says one request of posts, and answers when all links have room for the next.
    async fn say(&self, request: v1::SendStreamRequest) -> Result<v1::SendStreamResponse, Status> {
        let time_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as i64);
        let mut encoded = Vec::new();
        let (mut frames, mut own) = (BytesMut::new(), BytesMut::new());
        let mut results = Vec::with_capacity(request.posts.len());
        for outgoing in request.posts {
            let seq = self.next_seq();
            let id = Some(v1::PostId { author: self.author.clone(), epoch: 1, seq });
            let post = v1::Post { id, offset: seq, time_us, text: outgoing.text, ..v1::Post::default() };
            encoded.clear();
            encode_post(&self.head, &post, &mut encoded);
            frame::put(&mut frames, &encoded);
            own.extend_from_slice(&encoded);
            let sent = v1::SendResponse { id: post.id, offset: seq, time_us, repeated: false };
            results.push(v1::SendResult { result: Some(Sent::Sent(sent)) });
        }
        self.mesh.send(frames.freeze()).await.map_err(|failure| Status::unavailable(failure.to_string()))?;
        self.show(own.freeze()).await;
        Ok(v1::SendStreamResponse { results })
    }

    fn next_seq(&self) -> u64 {
        let mut said = self.said.lock().expect("who counts does not panic");
        *said += 1;
        *said
    }
}

#[tonic::async_trait]
impl Chat for Desk {
    type SendStreamStream = BoxStream<'static, Result<v1::SendStreamResponse, Status>>;
    type WatchStream = BoxStream<'static, Result<v1::WatchResponse, Status>>;
    type ReceiptsStream = BoxStream<'static, Result<v1::ReceiptsResponse, Status>>;

    async fn send_stream(
        &self,
        request: Request<Streaming<v1::SendStreamRequest>>,
    ) -> Result<Response<Self::SendStreamStream>, Status> {
        let desk = self.clone();
        let answers = request.into_inner().then(move |request| {
            let desk = desk.clone();
            async move { desk.say(request?).await }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn watch(&self, _request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        *self.subscriber.lock().await = Some(sender);
        let caught_up = v1::WatchResponse { item: Some(Item::CaughtUp(true)), ..v1::WatchResponse::default() };
        Ok(Response::new(stream::iter([Ok(caught_up)]).chain(batches(receiver)).boxed()))
    }

    async fn send(&self, _request: Request<v1::SendRequest>) -> Result<Response<v1::SendResponse>, Status> {
        Err(not_here())
    }

    async fn history(&self, _request: Request<v1::HistoryRequest>) -> Result<Response<v1::HistoryResponse>, Status> {
        Err(not_here())
    }

    async fn rooms(&self, _request: Request<v1::RoomsRequest>) -> Result<Response<v1::RoomsResponse>, Status> {
        Err(not_here())
    }

    async fn search(&self, _request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        Err(not_here())
    }

    async fn receipts(&self, _request: Request<v1::ReceiptsRequest>) -> Result<Response<Self::ReceiptsStream>, Status> {
        Err(not_here())
    }
}

/// Everything that waits goes into one message.
fn batches(receiver: mpsc::Receiver<Bytes>) -> impl Stream<Item = Result<v1::WatchResponse, Status>> + Send {
    stream::unfold(receiver, |mut receiver| async {
        let mut encoded = Vec::new();
        if receiver.recv_many(&mut encoded, CHUNKS_WAITING_MAX).await == 0 {
            return None;
        }
        let batch = v1::PostBatch { encoded, ..v1::PostBatch::default() };
        let response = v1::WatchResponse { item: Some(Item::Batch(batch)), ..v1::WatchResponse::default() };
        Some((Ok(response), receiver))
    })
}

fn not_here() -> Status {
    Status::unimplemented("a yardstick only carries")
}

/// For a subscriber that is slow, each up to a read of a link or a request.
const CHUNKS_WAITING_MAX: usize = 8;
/// Like the daemon's.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Like the daemon's.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use p2p_proto::client::Client;
    use p2p_proto::endpoint::Endpoint;
    use tonic::Code;

    use super::super::mesh::tests::meshes;
    use super::*;
    use crate::ledger::Ledger;
    use crate::load::Enough;
    use crate::sender::Sender;
    use crate::subscriber::subscribe;

    async fn clients(dir: &Path, count: usize) -> Vec<Client> {
        let mut clients = Vec::new();
        for (place, (mesh, received)) in meshes(count).await.into_iter().enumerate() {
            let path = dir.join(format!("{place}.sock"));
            serve(&path, &mesh, place, received).unwrap();
            clients.push(Client::connect(&Endpoint::Unix(path), None, Duration::from_secs(30)).await.unwrap());
        }
        clients
    }

    #[tokio::test]
    async fn our_own_clients_are_carried_for_and_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let clients = clients(dir.path(), 2).await;
        let ledger = Arc::new(Ledger::new(vec![peer_id(0), peer_id(1)]));
        ledger.begin(64);
        for (place, client) in clients.iter().enumerate() {
            subscribe(client, Arc::clone(&ledger), place).await.unwrap();
        }
        for (place, client) in clients.into_iter().enumerate() {
            let sender = Sender { client, ledger: Arc::clone(&ledger), place };
            sender.flood(64, Enough { time: Duration::from_secs(60), posts: 3_000 }).await.unwrap();
        }
        let tally = ledger.wait_complete().await.unwrap();
        assert_eq!((tally.posts, tally.deliveries), (6_000, 6_000));
    }

    #[tokio::test]
    async fn what_no_load_needs_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut chat = clients(dir.path(), 1).await[0].chat();
        let codes = [
            chat.send(v1::SendRequest::default()).await.err(),
            chat.history(v1::HistoryRequest::default()).await.err(),
            chat.rooms(v1::RoomsRequest::default()).await.err(),
            chat.search(v1::SearchRequest::default()).await.err(),
            chat.receipts(v1::ReceiptsRequest::default()).await.err(),
        ];
        for status in codes {
            assert_eq!(status.map(|status| status.code()), Some(Code::Unimplemented));
        }
    }
}
