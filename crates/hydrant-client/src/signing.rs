//! SigV4 for one request.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign as sign_v4},
    sign::v4,
};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use crate::CallError;

/// Adds `authorization`, `x-amz-date` and, for temporary credentials, the token.
pub(crate) fn sign(
    request: &mut Request<Full<Bytes>>,
    body: &Bytes,
    region: &str,
    credentials: Credentials,
) -> Result<(), CallError> {
    let identity = credentials.into();
    let failed =
        |e: &dyn std::fmt::Display| CallError::Credentials(format!("the call cannot be signed: {e}"));
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("firehose")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|e| failed(&e))?
        .into();
    let uri = request.uri().to_string();
    let headers =
        request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new(request.method().as_str(), uri, headers, SignableBody::Bytes(body))
        .map_err(|e| failed(&e))?;
    let (instructions, _) = sign_v4(signable, &params).map_err(|e| failed(&e))?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}
