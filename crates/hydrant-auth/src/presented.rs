//! What a request says about its signature, in either form.

use std::borrow::Cow;

use http::{HeaderMap, header};

use crate::{
    canonical::{self, Head, Parameter},
    error::{Error, quote},
    signing_time::SigningTime,
};

pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The parameter of a presigned request that its signature is in, and does not cover.
pub(crate) const SIGNATURE_PARAMETER: &str = "X-Amz-Signature";
/// Presigned requests live a week at most.
const EXPIRES_MAX: i64 = 604_800;

/// A signature and what it claims to cover; nothing of it is believed yet.
#[derive(Debug)]
pub(crate) struct Presented<'a> {
    /// Access key, date, region, service, terminator.
    pub(crate) credential: [Cow<'a, str>; 5],
    /// As it came.
    pub(crate) signature: Cow<'a, str>,
    pub(crate) at: SigningTime,
    /// `at` as it is signed.
    pub(crate) stamp: String,
    /// Seconds, of a presigned request.
    pub(crate) expires: Option<i64>,
    /// With separators, as it came.
    signed_headers: Cow<'a, str>,
    /// Whether a session token came with it.
    pub(crate) has_token: bool,
}

impl<'a> Presented<'a> {
    /// Reads a request's signature.
    pub(crate) fn read(head: &Head<'a>) -> Result<Self, Error> {
        let authorization = canonical::single(head.headers, header::AUTHORIZATION.as_str())?;
        let parameters = canonical::parameters(head.query.unwrap_or_default());
        let algorithm = parameters.iter().any(|(name, _)| name.as_ref() == b"X-Amz-Algorithm");
        match (authorization, algorithm) {
            (Some(_), true) => Err(Error::BothForms),
            (Some(authorization), false) => Self::in_header(authorization, head.headers),
            (None, true) => Self::in_query(&parameters, head.headers),
            (None, false) => Err(Error::Missing),
        }
    }

    fn in_header(authorization: &'a str, headers: &HeaderMap) -> Result<Self, Error> {
        let authorization = authorization.trim();
        if !authorization.starts_with("AWS4-") {
            return Err(Error::Missing);
        }
        let (algorithm, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
        if algorithm != ALGORITHM {
            return Err(Error::Algorithm(quote(algorithm)));
        }
        let [mut credential, mut signed_headers, mut signature] = [None::<&str>; 3];
        for part in rest.split([',', ' ', '\t']).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| Error::NotAPair(quote(part)))?;
            let (known, place) = match name {
                "Credential" => ("Credential", &mut credential),
                "SignedHeaders" => ("SignedHeaders", &mut signed_headers),
                "Signature" => ("Signature", &mut signature),
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(Error::Repeated(known));
            }
        }
        let amz_date = canonical::single(headers, "x-amz-date")?;
        let date = match amz_date {
            Some(_) => None,
            None => canonical::single(headers, header::DATE.as_str())?,
        };
        let (Some(credential), Some(signature), Some(signed_headers), Some(written)) =
            (credential, signature, signed_headers, amz_date.or(date))
        else {
            let mut missing = String::new();
            let parts =
                [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed_headers)];
            for (name, _) in parts.iter().filter(|(_, part)| part.is_none()) {
                missing.push_str(&format!("Authorization header requires '{name}' parameter. "));
            }
            if amz_date.or(date).is_none() {
                missing.push_str(
                    "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
                );
            }
            return Err(Error::Parts(missing.trim_end().to_owned()));
        };
        let at = SigningTime::parse(written)
            .or_else(|| SigningTime::parse_http_date(date?))
            .ok_or_else(|| Error::Date(quote(written)))?;
        let presented = Self {
            credential: credential_of(Cow::Borrowed(credential))?,
            signature: Cow::Borrowed(signature),
            at,
            stamp: amz_date.map_or_else(|| at.to_string(), str::to_owned),
            expires: None,
            signed_headers: Cow::Borrowed(signed_headers),
            has_token: headers.contains_key("x-amz-security-token"),
        };
        // X-Amz-Date must be signed as every x-amz-… header must.
        if date.is_some() && !presented.signs(header::DATE.as_str()) {
            return Err(Error::HeaderNotSigned("Date".to_owned()));
        }
        Ok(presented)
    }

    fn in_query(parameters: &[Parameter<'a>], headers: &HeaderMap) -> Result<Self, Error> {
        let get = |wanted: &'static str| -> Result<Option<Cow<'a, str>>, Error> {
            let mut values = parameters.iter().filter(|(name, _)| name.as_ref() == wanted.as_bytes());
            match (values.next(), values.next()) {
                (None, _) => Ok(None),
                (Some((_, value)), None) => Ok(Some(text_of(value))),
                _ => Err(Error::Repeated(wanted)),
            }
        };
        let algorithm = get("X-Amz-Algorithm")?.unwrap_or_default();
        if algorithm != ALGORITHM {
            return Err(Error::Algorithm(quote(algorithm)));
        }
        let mut missing = String::new();
        let mut required = |name: &'static str| -> Result<Cow<'a, str>, Error> {
            let value = get(name)?;
            if value.is_none() {
                missing.push_str(&format!("AWS query-string parameters must include '{name}'. "));
            }
            Ok(value.unwrap_or_default())
        };
        let credential = required("X-Amz-Credential")?;
        let signature = required(SIGNATURE_PARAMETER)?;
        let signed_headers = required("X-Amz-SignedHeaders")?;
        let stamp = required("X-Amz-Date")?;
        let expires = required("X-Amz-Expires")?;
        if !missing.is_empty() {
            return Err(Error::Parts(missing + "Re-examine the query-string parameters."));
        }
        let seconds = expires.bytes().all(|byte| byte.is_ascii_digit()).then(|| expires.parse().ok());
        Ok(Self {
            credential: credential_of(credential)?,
            signature,
            at: SigningTime::parse(&stamp).ok_or_else(|| Error::Date(quote(&stamp)))?,
            stamp: stamp.into_owned(),
            expires: Some(
                seconds
                    .flatten()
                    .filter(|seconds| (1..=EXPIRES_MAX).contains(seconds))
                    .ok_or_else(|| Error::Expires(quote(&expires)))?,
            ),
            signed_headers,
            has_token: headers.contains_key("x-amz-security-token") || get("X-Amz-Security-Token")?.is_some(),
        })
    }

    /// The names of the signed headers, sorted, each once.
    pub(crate) fn signed(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.signed_headers.split(';').filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn signs(&self, header: &str) -> bool {
        self.signed_headers.split(';').any(|name| name.eq_ignore_ascii_case(header))
    }
}

fn credential_of(text: Cow<'_, str>) -> Result<[Cow<'_, str>; 5], Error> {
    let parts: Vec<Cow<'_, str>> = match &text {
        Cow::Borrowed(text) => text.split('/').map(Cow::Borrowed).collect(),
        Cow::Owned(text) => text.split('/').map(|part| Cow::Owned(part.to_owned())).collect(),
    };
    parts.try_into().map_err(|_| Error::Credential(quote(text)))
}

/// As text; what is none cannot match anything either.
fn text_of<'a>(bytes: &Cow<'a, [u8]>) -> Cow<'a, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(bytes).into_owned()),
    }
}
