//! The only I/O: one connection, spoken to in HTTP/1.1 or HTTP/2 until either side hangs up.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::door::HttpDoor;
use crate::peer::Peer;

/// How long a request's head may take, and a connection rest between two requests.
const HEAD_TIME_MAX: Duration = Duration::from_mins(1);

/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Most requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// Most memory for the headers of one HTTP/2 request, in bytes.
const HEADERS_BYTES_MAX: u32 = 64 << 10;

/// What HTTP is spoken over: plain or encrypted.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Answers the client at the other end until one of the two hangs up. When `stop` comes, the
/// requests that are being answered are the last ones.
pub async fn serve(
    stream: impl Stream,
    peer: Peer,
    door: HttpDoor,
    stop: impl Future<Output = ()>,
) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(door.answer(request.map(Body::new), peer).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIME_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(peer = %peer.address, %error, "HTTP connection broke");
    }
}
