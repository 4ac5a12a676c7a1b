//! Reads values one by one and collects what is wrong with them.

use std::{fmt, net::SocketAddr, num::NonZeroU32, time::Duration};

use hydrant_types::{ByteSize, Secret};

use super::{
    Environment,
    raw::{Flag, Number, SecretSource},
    settings::is_text,
};

/// Collects faults while values are read, so that all are reported at once.
pub(super) struct Check<'a> {
    /// Key and problem.
    pub(super) faults: Vec<(String, String)>,
    pub(super) environment: &'a Environment,
}

impl Check<'_> {
    pub(super) fn fault(&mut self, key: &str, problem: impl fmt::Display) {
        self.faults.push((key.to_owned(), problem.to_string()));
    }

    pub(super) fn address(&mut self, key: &str, text: Option<String>, default: &str) -> SocketAddr {
        let text = text.unwrap_or_else(|| default.to_owned());
        text.parse().unwrap_or_else(|_| {
            self.fault(key, format!("{text:?} is not an address: expected IP:PORT, such as {default}"));
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    pub(super) fn size(&mut self, key: &str, text: Option<String>, default: ByteSize) -> ByteSize {
        text.map_or(default, |text| {
            text.parse().unwrap_or_else(|problem| {
                self.fault(key, problem);
                default
            })
        })
    }

    /// Longer than nothing, and at most `most`: what is longer was mistyped.
    pub(super) fn duration(&mut self, key: &str, text: Option<String>, most: Duration) -> Option<Duration> {
        let text = text?;
        match humantime::parse_duration(&text) {
            Ok(Duration::ZERO) => {
                self.fault(key, "expected more than nothing");
                None
            }
            Ok(duration) if duration > most => {
                self.fault(key, format!("{text:?}: expected at most {}", humantime::format_duration(most)));
                None
            }
            Ok(duration) => Some(duration),
            Err(_) => {
                self.fault(
                    key,
                    format!("{text:?} is not a duration: expected one such as 60s, 5m or 30days"),
                );
                None
            }
        }
    }

    pub(super) fn url(&mut self, key: &str, text: Option<String>) -> Option<String> {
        let text = text?;
        let uri = text.parse::<http::Uri>().ok();
        let is_url = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        let expected = "expected http://host:port or https://host";
        if text.contains('@') {
            // Whatever stands before it may be a password.
            self.fault(key, format!("has an @ in it: {expected}, without user and password"));
        } else if !is_url {
            self.fault(key, format!("{text:?} is not a URL: {expected}"));
        }
        Some(text)
    }

    pub(super) fn flag(&mut self, key: &str, flag: Option<Flag>) -> Option<bool> {
        match flag? {
            Flag::Value(value) => Some(value),
            Flag::Text(text) => text.parse().map(Some).unwrap_or_else(|_| {
                self.fault(key, format!("{text:?}: expected true or false"));
                None
            }),
        }
    }

    pub(super) fn number(
        &mut self,
        key: &str,
        number: Option<Number>,
        default: u32,
        range: std::ops::RangeInclusive<u32>,
    ) -> u32 {
        let value = match number {
            None => return default,
            Some(Number::Value(value)) => u32::try_from(value).ok(),
            Some(Number::Text(text)) => text.parse().ok(),
        };
        value.filter(|value| range.contains(value)).unwrap_or_else(|| {
            self.fault(key, format!("expected a whole number from {} to {}", range.start(), range.end()));
            default
        })
    }

    pub(super) fn quota(&mut self, key: &str, number: Option<Number>) -> Option<NonZeroU32> {
        number.is_some().then(|| self.number(key, number, 1, 1..=u32::MAX)).and_then(NonZeroU32::new)
    }

    pub(super) fn secret(&mut self, key: &str, source: SecretSource) -> Option<Secret> {
        match source {
            SecretSource::Inline(secret) => Some(secret),
            SecretSource::From(from) => match (from.iter().next(), from.len()) {
                (Some((kind, name)), 1) if kind == "env" => {
                    match self.environment.get(name) {
                        Some(value) if is_text(value) => return Some(Secret::new(value)),
                        Some(_) => self.fault(key, format!("the environment variable {name} is not UTF-8")),
                        None => self.fault(key, format!("the environment variable {name} is not set")),
                    }
                    None
                }
                (Some((kind, path)), 1) if kind == "file" => match std::fs::read_to_string(path) {
                    Ok(text) => Some(Secret::new(text.trim())),
                    Err(error) => {
                        self.fault(key, format!("{path} cannot be read: {error}"));
                        None
                    }
                },
                _ => {
                    self.fault(key, "expected a string, { env = \"NAME\" } or { file = \"PATH\" }");
                    None
                }
            },
        }
    }
}
