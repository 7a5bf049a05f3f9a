//! The HTTP server: three pages for scrapers and probes, one request a connection.
//!
//! Whoever asks slowly, much or nonsense costs one of a few places for some seconds, and the newest comer gets the place
//! of the oldest. So nobody who asks properly is kept out, and nobody else notices.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{Exposition, Source, render};
use crate::health::Report;

/// Answers for ever.
pub async fn serve(listener: TcpListener, source: Arc<dyn Source>) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of file descriptors, or the other side is gone already.
            Err(error) => {
                tracing::warn!(%error, "metrics_accept_failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        open.retain(|task| !task.is_finished());
        if open.len() >= CONNECTIONS_MAX
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(attend(stream, Arc::clone(&source))).abort_handle());
    }
}

async fn attend(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, source: Arc<dyn Source>) {
    let service = service_fn(move |request| {
        let source = Arc::clone(&source);
        async move { Ok::<_, Infallible>(answer(&request, source.as_ref()).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS_MAX)
        // An idle connection would take a place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => (),
        Ok(Err(error)) => tracing::debug!(?error, "metrics_request_failed"),
        Err(_) => tracing::debug!("metrics_request_took_too_long"),
    }
}

async fn answer(request: &Request<Incoming>, source: &dyn Source) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n".to_owned());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match request.uri().path() {
        "/metrics" => figures(source, exposition(request.headers().get(ACCEPT))).await,
        "/livez" => {
            let report = source.report().await;
            state(report.is_live, &report)
        }
        "/readyz" => {
            let report = source.report().await;
            state(report.is_ready, &report)
        }
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n".to_owned()),
    }
}

async fn figures(source: &dyn Source, exposition: Exposition) -> Response<Full<Bytes>> {
    let snapshot = match source.scrape().await {
        Ok(snapshot) => snapshot,
        Err(why) => return text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    let mut response = text(StatusCode::OK, render(&snapshot, exposition));
    let kind = match exposition {
        Exposition::Plain => "text/plain; version=0.0.4; charset=utf-8",
        Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Prometheus asks for OpenMetrics; who asks for nothing gets what everything reads.
fn exposition(accept: Option<&HeaderValue>) -> Exposition {
    let accepts = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let takes = |part: &str| {
        let mut words = part.split(';').map(str::trim);
        let is_unwanted = |word: &str| word.strip_prefix("q=").and_then(|q| q.parse().ok()) == Some(0.0);
        words.next() == Some(OPEN_METRICS) && !words.any(is_unwanted)
    };
    if accepts.split(',').any(takes) { Exposition::OpenMetrics } else { Exposition::Plain }
}

fn state(is_well: bool, report: &Report) -> Response<Full<Bytes>> {
    let code = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let why: String = report.why.iter().map(|why| format!("{}\n", harmless(why))).collect();
    text(code, format!("{}\n{why}", report.health.name()))
}

/// Names of others may be in it, and people look at it on terminals.
fn harmless(text: &str) -> String {
    let escaped = |character: char| match character {
        '\'' | '"' => character.to_string(),
        _ => character.escape_debug().to_string(),
    };
    text.chars().map(escaped).collect()
}

fn text(code: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Requests that are answered at a time. Scrapers and probes are few, and take milliseconds.
const CONNECTIONS_MAX: usize = 16;
/// For the whole request: a scraper sends it in one piece.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// For everything, so that whoever does not read lets go.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a request with all its headers; the least that the library takes.
const BUFFER_BYTES: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const OPEN_METRICS: &str = "application/openmetrics-text";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_01_what_probes_are_told_moves_no_cursor() {
        assert_eq!(harmless("it's \"up\"\x1b[2J\n\u{202e}ü"), "it's \"up\"\\u{1b}[2J\\n\\u{202e}ü");
    }

    #[track_caller]
    fn check(accept: &'static str, expected: Exposition) {
        assert_eq!(exposition(Some(&HeaderValue::from_static(accept))), expected, "{accept}");
    }

    #[test]
    fn a_scraper_gets_the_format_that_it_asks_for() {
        assert_eq!(exposition(None), Exposition::Plain);
        check("*/*", Exposition::Plain);
        check("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Exposition::Plain);
        check("application/openmetrics-text; version=1.0.0; charset=utf-8", Exposition::OpenMetrics);
        check("text/plain;q=0.3, application/openmetrics-text;version=1.0.0;q=0.6", Exposition::OpenMetrics);
        check("application/openmetrics-text;q=0, text/plain", Exposition::Plain);
        check("application/openmetrics-text-of-mine", Exposition::Plain);
    }
}
