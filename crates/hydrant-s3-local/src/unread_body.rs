//! A request's body that is read to its end even when nobody wants it.
//!
//! An answer such as NoSuchBucket is known before the body has come. If the connection were closed then, the client would
//! often see a reset while it still writes, and never the answer.
//!
//! A client that asked first (`Expect: 100-continue`) is the exception: it has the answer instead of the leave to go on, and
//! sends no body. What it sends next on the connection, if anything, is another request, and must not be taken for one.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// Beyond it a client has to live with a reset.
const DRAINED_BYTES_MAX: usize = 64 * 1024 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Reads what is left when dropped.
#[derive(Debug)]
pub(crate) struct DrainedOnDrop {
    body: Option<Incoming>,
    /// Whether the client sends its body without waiting for our leave, which the first look at the body gives.
    is_coming: bool,
}

impl DrainedOnDrop {
    /// Takes the body out of a request.
    pub(crate) fn of(request: http::Request<Incoming>) -> http::Request<Self> {
        let expect = request.headers().get(EXPECT);
        let waits = expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        request.map(|body| Self { body: Some(body), is_coming: !waits })
    }
}

impl Body for DrainedOnDrop {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_coming = true;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for DrainedOnDrop {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| self.is_coming && !body.is_end_stream()) else {
            return;
        };
        // Outside a runtime the connection is gone as well.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(DRAIN_LIMIT, drain(body)));
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut drained = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained += frame.data_ref().map_or(0, Bytes::len);
        if drained > DRAINED_BYTES_MAX {
            return;
        }
    }
}
