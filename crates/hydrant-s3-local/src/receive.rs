//! A request's body on its way into a temporary file.
//!
//! File work goes to tokio's threads for blocking work, 256 KiB at a time: no thread waits for a slow client, and what is
//! held in memory is that much a connection, whatever the body's size. Dropping the future drops the file.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, s3_error};

use crate::checksums::Expected;
use crate::object_file::{Received, Staged};
use crate::store::failed;

const WRITE_BYTES: usize = 256 * 1024;
/// A client that sends nothing for so long is taken for gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Runs what blocks.
///
/// # Errors
/// Those of `work`; `InternalError` when the process is ending.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> S3Result<T> + Send + 'static,
) -> S3Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(S3Error::internal_error(error)),
    }
}

/// Receives a body whole and compares it with what was announced.
///
/// # Errors
/// `BadDigest`, `IncompleteBody`, `RequestTimeout`, `SignatureDoesNotMatch` (of a chunk), `XAmzContentSHA256Mismatch`.
pub(crate) async fn receive(
    tmp: PathBuf,
    body: Option<StreamingBlob>,
    expected: &Expected,
) -> S3Result<Received> {
    let hasher = expected.hasher();
    let place = tmp.clone();
    let mut staged = blocking(move || Staged::create(&place, hasher).map_err(failed("make", &place))).await?;
    let mut pieces = Vec::new();
    let mut pieces_bytes = 0;
    let mut body = body.map(StreamExt::fuse);
    while let Some(piece) = next(&mut body).await? {
        pieces_bytes += piece.len();
        pieces.push(piece);
        if pieces_bytes >= WRITE_BYTES {
            staged = append(staged, std::mem::take(&mut pieces), tmp.clone()).await?;
            pieces_bytes = 0;
        }
    }
    let received = append(staged, pieces, tmp).await?.end();
    expected.verify(&received.md5, &received.checksums)?;
    Ok(received)
}

type Body = futures_util::stream::Fuse<StreamingBlob>;

async fn next(body: &mut Option<Body>) -> S3Result<Option<Bytes>> {
    let Some(body) = body else { return Ok(None) };
    match tokio::time::timeout(SILENCE_MAX, body.next()).await {
        Ok(piece) => piece.transpose().map_err(body_error),
        Err(_) => Err(s3_error!(RequestTimeout, "The request body did not come within the timeout period")),
    }
}

async fn append(mut staged: Staged, pieces: Vec<Bytes>, tmp: PathBuf) -> S3Result<Staged> {
    blocking(move || {
        let written: io::Result<()> = staged.append(&pieces);
        written.map_err(failed("write", &tmp))?;
        Ok(staged)
    })
    .await
}

/// The stream's error types are private to s3s; their words are all there is to tell them apart.
fn body_error(error: StdError) -> S3Error {
    let words = error.to_string();
    if words.contains("SignatureMismatch") {
        return s3_error!(SignatureDoesNotMatch, "The signature of a chunk does not match");
    }
    if words.contains("Sha256Mismatch") {
        let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
        let mut error = S3Error::with_message(
            code,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        return error;
    }
    s3_error!(IncompleteBody, "The request body ended early or is malformed: {words}")
}
