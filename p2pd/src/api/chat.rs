//! The service `Chat`: saying things and reading what was said.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use p2p_proto::v1;
use p2p_proto::v1::chat_server::Chat;
use tonic::{Request, Response, Status, Streaming};

use super::ask::{Asker, stopping};
use super::convert::View;
use super::drafts::Drafts;
use super::send::{Budget, SendStream};
use super::watch::{Watch, Wish};
use super::{Facts, Subscribers, convert, history, receipts, search};

/// Answers `Chat`.
#[derive(Debug)]
pub(super) struct ChatService {
    pub(super) asker: Asker,
    pub(super) subscribers: Subscribers,
    pub(super) facts: Arc<Facts>,
    pub(super) budget: Budget,
    /// Silence on a watch after which the reader is told that it still stands.
    pub(super) heartbeat: Duration,
    /// Between two looks at who holds what.
    pub(super) pause: Duration,
}

impl ChatService {
    fn view(&self) -> View {
        View { names: self.subscribers.names().clone(), letters: self.facts.letters.clone() }
    }

    fn drafts(&self) -> Drafts {
        Drafts::new(self.asker.clone(), self.view(), self.facts.live.now().default_room.clone())
    }
}

#[tonic::async_trait]
impl Chat for ChatService {
    type SendStreamStream = BoxStream<'static, Result<v1::SendStreamResponse, Status>>;
    type WatchStream = BoxStream<'static, Result<v1::WatchResponse, Status>>;
    type ReceiptsStream = BoxStream<'static, Result<v1::ReceiptsResponse, Status>>;

    async fn send(&self, request: Request<v1::SendRequest>) -> Result<Response<v1::SendResponse>, Status> {
        let post = request.into_inner().post.ok_or_else(|| convert::invalid("the request holds no post"))?;
        let _permit = self.budget.take(std::slice::from_ref(&post)).await;
        let draft = self.drafts().draft(post).await?;
        let results = self.asker.ask(|reply| super::Request::Publish { drafts: vec![draft], reply }).await?;
        let result = results.into_iter().next().ok_or_else(stopping)?;
        let sent = result.map_err(|refusal| convert::refusal(&refusal))?;
        Ok(Response::new(convert::sent(&sent)))
    }

    async fn send_stream(
        &self,
        request: Request<Streaming<v1::SendStreamRequest>>,
    ) -> Result<Response<Self::SendStreamStream>, Status> {
        let stream = SendStream::new(self.asker.clone(), self.budget.clone(), self.drafts(), request.into_inner());
        Ok(Response::new(Box::pin(stream.answers())))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let wish = Wish::parse(request.into_inner())?;
        let watch =
            Watch::open(self.asker.clone(), (&self.subscribers, &self.facts.letters), wish, self.heartbeat).await?;
        Ok(Response::new(Box::pin(watch.items())))
    }

    async fn history(&self, request: Request<v1::HistoryRequest>) -> Result<Response<v1::HistoryResponse>, Status> {
        let answer = history::read(&self.asker, &self.view(), request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn rooms(&self, _request: Request<v1::RoomsRequest>) -> Result<Response<v1::RoomsResponse>, Status> {
        let rooms = self.asker.ask_store(super::Request::Rooms).await?;
        Ok(Response::new(convert::rooms(rooms, self.subscribers.names())))
    }

    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let answer = search::read(&self.asker, &self.view(), request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn receipts(&self, request: Request<v1::ReceiptsRequest>) -> Result<Response<Self::ReceiptsStream>, Status> {
        let names = self.subscribers.names().clone();
        Ok(Response::new(receipts::open(self.asker.clone(), names, request.into_inner(), self.pause)?))
    }
}
