//! Who may use the API. Checked for every call, before anything of it is read.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use p2p_proto::error::{Code, Error};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use tonic::codegen::{BoxFuture, Service};
use tonic::service::Routes;

use super::incoming::Caller;
use super::token::Token;

/// What a caller must show.
#[derive(Debug)]
pub(super) struct Gate {
    /// The daemon's own user.
    pub(super) uid: u32,
    /// A group may open the sockets. Then the kernel has looked who may, for it lets nobody else connect; which groups
    /// a caller is in it does not tell.
    pub(super) is_shared: bool,
    /// Needed over TCP; none where TCP is not served.
    pub(super) token: Option<Token>,
    /// Where that token is, for people.
    pub(super) token_file: String,
}

/// All services behind the gate.
#[derive(Clone, Debug)]
pub(super) struct Guarded {
    routes: Routes,
    gate: Arc<Gate>,
}

impl Gate {
    fn admit<B>(&self, request: &Request<B>) -> Result<(), Error> {
        let headers = request.headers();
        if headers.contains_key(header::ORIGIN) {
            return Err(denied("calls from web pages are refused"));
        }
        match request.extensions().get::<Caller>() {
            Some(Caller::Unix { uid }) => self.admit_user(*uid),
            Some(Caller::Tcp) => {
                check_authority(request.uri(), headers)?;
                self.admit_token(headers)
            }
            None => Err(denied("nobody knows who calls")),
        }
    }

    fn admit_user(&self, uid: Option<u32>) -> Result<(), Error> {
        // Root could read the files of the daemon anyway.
        if self.is_shared || uid.is_some_and(|uid| uid == self.uid || uid == 0) {
            return Ok(());
        }
        let caller = uid.map_or("a user that the system does not name".to_owned(), |uid| format!("user {uid}"));
        let owner = self.uid;
        let why = format!("this daemon belongs to user {owner}, and {caller} called");
        Err(denied(why).with_hint(format!("call as that user: sudo -u '#{owner}' p2pctl …")))
    }

    fn admit_token(&self, headers: &HeaderMap) -> Result<(), Error> {
        let offered = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        if self.token.as_ref().is_some_and(|token| token.matches(offered)) {
            return Ok(());
        }
        // One text for every reason, so that a guess learns nothing.
        let file = &self.token_file;
        let why = format!("calls over TCP need the token of {file}");
        Err(Error::new(Code::Unauthenticated, why).with_hint(format!("p2pctl --token-file {file}")))
    }
}

/// A web page whose name was made to point at this machine still calls us by that name.
fn check_authority(uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
    let named = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(header::HOST).and_then(|host| host.to_str().ok()),
    };
    let host = named.map(host_of).unwrap_or_default();
    let is_ours = host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_ours {
        Ok(())
    } else {
        Err(denied(format!("the call is for {host:?}, which is not this machine's loopback")))
    }
}

/// The host of `HOST`, `HOST:PORT` or `[IP]:PORT`.
fn host_of(authority: &str) -> &str {
    if let Some((ip, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return ip;
    }
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

fn denied(why: impl Into<String>) -> Error {
    Error::new(Code::PermissionDenied, why)
}

/// `application/grpc`, with or without a message format; not `application/grpc-web`.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let format = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    format.is_some_and(|format| matches!(format.first(), None | Some(b'+' | b';')))
}

impl Guarded {
    pub(super) fn new(routes: Routes, gate: Arc<Gate>) -> Self {
        Self { routes: routes.prepare(), gate }
    }
}

impl Service<Request<Body>> for Guarded {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.routes, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !is_grpc(request.headers()) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Box::pin(std::future::ready(Ok(response)));
        }
        if let Err(error) = self.gate.admit(&request) {
            return Box::pin(std::future::ready(Ok(Status::from(error).into_http())));
        }
        let answer = self.routes.call(request);
        Box::pin(async { Ok(name_oversize(answer.await?)) })
    }
}

/// The library says OUT_OF_RANGE, and nobody else here does, when a request is over the limit. Our vocabulary has a
/// name for that.
fn name_oversize(response: Response<Body>) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() == tonic::Code::OutOfRange => Status::from(oversize(&status)).into_http(),
        Some(_) | None => response,
    }
}

/// The same for a request in the middle of a stream.
pub(super) fn oversize(status: &Status) -> Error {
    let len = status.message().split_whitespace().find(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    let len = len.unwrap_or("too many");
    let limit = p2p_proto::client::MESSAGE_BYTES_MAX;
    Error::new(Code::TooLarge, format!("the request has {len} bytes, the limit is {limit}"))
        .with_hint("send less at a time")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gate() -> Gate {
        Gate { uid: 1_000, is_shared: false, token: None, token_file: "/data/api.token".into() }
    }

    #[test]
    fn g_10_the_daemons_user_and_root_may_call_and_nobody_else() {
        assert_eq!(gate().admit_user(Some(1_000)), Ok(()));
        assert_eq!(gate().admit_user(Some(0)), Ok(()));
        for (uid, named) in [(Some(1_001), "user 1001"), (None, "a user that the system does not name")] {
            let error = gate().admit_user(uid).unwrap_err();
            assert_eq!(error.code, Code::PermissionDenied);
            assert_eq!(error.message, format!("this daemon belongs to user 1000, and {named} called"));
        }
    }

    #[test]
    fn g_12_only_names_of_this_machine_are_answered() {
        let check = |authority: &str| {
            let request = Request::builder().uri(format!("http://{authority}/p2p.v1.Chat/Send")).body(()).unwrap();
            check_authority(request.uri(), request.headers()).is_ok()
        };
        for ours in ["localhost", "LOCALHOST:9", "127.0.0.1:9", "127.8.8.8", "[::1]:9"] {
            assert!(check(ours), "{ours}");
        }
        for other in ["evil.example", "evil.example:9", "10.0.0.1:9", "localhost.evil.example:9", "[::2]:9", "[::]:9"] {
            assert!(!check(other), "{other}");
        }
    }

    #[test]
    fn g_12_the_host_header_counts_where_there_is_no_authority() {
        let check = |host: Option<&str>| {
            let mut request = Request::builder().uri("/p2p.v1.Chat/Send");
            if let Some(host) = host {
                request = request.header(header::HOST, host);
            }
            let request = request.body(()).unwrap();
            check_authority(request.uri(), request.headers()).is_ok()
        };
        assert!(check(Some("127.0.0.1:9")));
        assert!(!check(Some("evil.example")));
        assert!(!check(None));
    }

    #[test]
    fn g_03_other_kinds_of_content_are_not_grpc() {
        let check = |kind: &str| is_grpc(Request::builder().header("content-type", kind).body(()).unwrap().headers());
        assert!(check("application/grpc") && check("application/grpc+proto") && check("application/grpc;x"));
        assert!(!check("application/grpc-web+proto") && !check("text/html"));
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
