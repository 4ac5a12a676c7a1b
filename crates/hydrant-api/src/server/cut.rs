//! Why a connection ended that did not end well. The label of a metric, and the word in the log.

use std::error::Error;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Cut {
    /// Nothing was asked for the header time-out long.
    Idle,
    /// Something was begun (a handshake, a request's headers) and not finished within the header time-out.
    HeaderTimeout,
    /// More headers, or larger ones, than are taken.
    HeadersTooLarge,
    /// Not HTTP.
    Malformed,
    /// HTTP/2 frames that only make work: streams opened and reset, CONTINUATION without end.
    Flood,
    /// The client went away in the middle.
    ClientGone,
    /// A TLS handshake that failed: no common version, an unknown CA on the other side.
    TlsHandshake,
    /// Plain HTTP where TLS is spoken.
    TlsExpected,
    /// TLS where plain HTTP is spoken.
    PlainExpected,
}

impl Cut {
    pub(crate) const ALL: [Self; 9] = [
        Self::Idle,
        Self::HeaderTimeout,
        Self::HeadersTooLarge,
        Self::Malformed,
        Self::Flood,
        Self::ClientGone,
        Self::TlsHandshake,
        Self::TlsExpected,
        Self::PlainExpected,
    ];

    /// As the metric and the log have it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::HeaderTimeout => "header_timeout",
            Self::HeadersTooLarge => "headers_too_large",
            Self::Malformed => "malformed",
            Self::Flood => "flood",
            Self::ClientGone => "client_gone",
            Self::TlsHandshake => "tls_handshake",
            Self::TlsExpected => "tls_expected",
            Self::PlainExpected => "plain_expected",
        }
    }

    /// What hyper ended a connection with.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut source = Some(error);
        while let Some(error) = source {
            if let Some(http) = error.downcast_ref::<hyper::Error>() {
                if http.is_parse_too_large() {
                    return Self::HeadersTooLarge;
                }
                if http.is_parse() {
                    return Self::Malformed;
                }
            }
            if let Some(http_2) = error.downcast_ref::<h2::Error>() {
                return Self::of_http_2(http_2);
            }
            source = error.source();
        }
        Self::ClientGone
    }

    fn of_http_2(error: &h2::Error) -> Self {
        match error.reason() {
            // What the client gives as its reason is not ours.
            _ if error.is_remote() || error.is_io() => Self::ClientGone,
            Some(h2::Reason::ENHANCE_YOUR_CALM) => Self::Flood,
            Some(_) => Self::Malformed,
            None => Self::ClientGone,
        }
    }
}
