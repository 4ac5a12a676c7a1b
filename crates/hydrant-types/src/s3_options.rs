//! What a stream's tags say about its objects in S3.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// S3: tags of an object.
const OBJECT_TAGS_MAX: usize = 10;
/// S3: characters of an object tag's key and of its value.
const OBJECT_TAG_KEY_MAX: usize = 128;
const OBJECT_TAG_VALUE_MAX: usize = 256;
/// A region's name is far shorter, of AWS and of others.
const REGION_LEN_MAX: usize = 64;
/// What a URL query may carry as it is (RFC 3986, "unreserved").
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a stream's tags say about its objects in S3; what they do not say is `None`, and nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct S3Options {
    /// `hydrant:expected-bucket-owner`: S3 refuses where the bucket is another account's.
    pub expected_bucket_owner: Option<AccountId>,
    /// `hydrant:acl`.
    pub acl: Option<CannedAcl>,
    /// `hydrant:storage-class`.
    pub storage_class: Option<StorageClass>,
    /// `hydrant:object-tags`.
    pub object_tags: Option<ObjectTags>,
    /// `hydrant:s3-endpoint`: instead of the configured one.
    pub endpoint: Option<EndpointUrl>,
    /// `hydrant:s3-region`: instead of the configured one.
    pub region: Option<RegionName>,
}

impl S3Options {
    /// Reads the option called `name`; `None` where there is no such option.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Option<Result<(), &'static str>> {
        let read = match name {
            "expected-bucket-owner" => AccountId::parse(value)
                .map(|owner| self.expected_bucket_owner = Some(owner))
                .ok_or("an account id of 12 digits"),
            "acl" => {
                CannedAcl::parse(value).map(|acl| self.acl = Some(acl)).ok_or("bucket-owner-full-control")
            }
            "storage-class" => StorageClass::parse(value)
                .map(|class| self.storage_class = Some(class))
                .ok_or("one of S3's storage classes, such as STANDARD_IA"),
            "object-tags" => ObjectTags::parse(value).map(|tags| self.object_tags = Some(tags)),
            "s3-endpoint" => EndpointUrl::parse(value)
                .map(|endpoint| self.endpoint = Some(endpoint))
                .ok_or("a URL such as https://s3.example or http://host:9000"),
            "s3-region" => RegionName::parse(value)
                .map(|region| self.region = Some(region))
                .ok_or("a region such as eu-west-1"),
            _ => return None,
        };
        Some(read)
    }
}

/// A string that its constructor has checked.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $is_valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// `None` where it is none.
            pub fn parse(text: &str) -> Option<Self> {
                let is_valid: fn(&str) -> bool = $is_valid;
                is_valid(text).then(|| Self(text.to_owned()))
            }

            /// As it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// An AWS account: 12 digits.
    AccountId,
    |text| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
);
checked_text!(
    /// A region, of AWS or of whoever runs the server.
    RegionName,
    |text| (1..=REGION_LEN_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
);
checked_text!(
    /// `http://host[:port][/path]` or the same with `https`: no user, query or fragment.
    EndpointUrl,
    is_endpoint_url
);

fn is_endpoint_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return false;
    };
    // What a URI's host, port and path may be made of, without what would make it anything else.
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/%[]".contains(&byte));
    let uri = text.parse::<http::Uri>().ok();
    is_plain
        && uri.is_some_and(|uri| {
            uri.host().is_some_and(|host| !host.is_empty())
                // A port that is none is not a number, or too big for one.
                && uri.authority().is_some_and(|at| !at.as_str().ends_with(':') && at.as_str().len() == at.host().len()
                    + uri.port().map_or(0, |port| port.as_str().len() + 1))
                && uri.port().is_none_or(|port| port.as_str().parse::<u16>().is_ok_and(|port| port != 0))
        })
}

/// Who else may do what with an object: the one canned ACL that Firehose uses, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CannedAcl {
    /// The bucket's owner owns the object as well.
    BucketOwnerFullControl,
}

impl CannedAcl {
    fn parse(text: &str) -> Option<Self> {
        (text == Self::BucketOwnerFullControl.as_str()).then_some(Self::BucketOwnerFullControl)
    }

    /// As in `x-amz-acl`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BucketOwnerFullControl => "bucket-owner-full-control",
        }
    }
}

/// One of S3's storage classes (API reference, PutObject, `x-amz-storage-class`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StorageClass(&'static str);

impl StorageClass {
    const ALL: [&'static str; 11] = [
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "OUTPOSTS",
        "GLACIER_IR",
        "SNOW",
        "EXPRESS_ONEZONE",
    ];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| *name == text).map(Self)
    }

    /// As in `x-amz-storage-class`.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// Tags of objects, as S3 wants them in `x-amz-tagging`: `k=v&k2=v2`, percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectTags(String);

impl ObjectTags {
    /// Reads `k=v k2=v2`. A stream's tag cannot hold an `&`, so a space is between two; a space in one is `%20`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "tags such as team=shop cost=42, percent-encoded, each key once";
        let mut tags: Vec<(String, String)> = Vec::new();
        for pair in text.split(' ').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or(FORM)?;
            let (key, value) = (decoded(key).ok_or(FORM)?, decoded(value).ok_or(FORM)?);
            if key.is_empty() || tags.iter().any(|(there, _)| *there == key) {
                return Err(FORM);
            }
            if key.starts_with("aws:")
                || key.chars().count() > OBJECT_TAG_KEY_MAX
                || value.chars().count() > OBJECT_TAG_VALUE_MAX
                || !key.chars().chain(value.chars()).all(is_in_object_tag)
            {
                return Err(
                    "keys of 1 to 128 and values of at most 256 of the characters that S3 takes in tags, no key with aws:",
                );
            }
            tags.push((key, value));
        }
        match tags.len() {
            0 => Err(FORM),
            1..=OBJECT_TAGS_MAX => Ok(Self(query(&tags))),
            _ => Err("at most 10 object tags"),
        }
    }

    /// As in `x-amz-tagging`.
    pub fn as_header(&self) -> &str {
        &self.0
    }
}

/// S3: letters, numbers and spaces of Unicode, and these signs.
fn is_in_object_tag(character: char) -> bool {
    character.is_alphanumeric() || character == ' ' || "+-=._:/@".contains(character)
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}

fn query(tags: &[(String, String)]) -> String {
    let pair = |(key, value): &(String, String)| {
        format!("{}={}", utf8_percent_encode(key, ENCODED), utf8_percent_encode(value, ENCODED))
    };
    tags.iter().map(pair).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn endpoints_are_urls_of_a_host_and_nothing_that_could_be_taken_for_another() {
        for good in [
            "https://s3.eu-west-1.amazonaws.com",
            "http://127.0.0.1:9000",
            "http://[::1]:9000",
            "https://store.example/s3/",
        ] {
            assert_eq!(EndpointUrl::parse(good).map(|url| url.to_string()).as_deref(), Some(good));
        }
        for bad in [
            "",
            "s3.example",
            "ftp://s3.example",
            "https://",
            "https:///bucket",
            "http://:9000",
            "http://host:",
            "http://host:99999",
            "http://host:0",
            "http://user@host",
            "http://user:pw@host",
            "http://host?x=1",
            "http://host#x",
            "http://host name",
            "http://host\r\nx: y",
            "HTTP://host",
        ] {
            assert_eq!(EndpointUrl::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn object_tags_are_encoded_as_the_header_wants_them() {
        let header = |text: &str| ObjectTags::parse(text).map(|tags| tags.as_header().to_owned());
        assert_eq!(header("team=shop  cost=a+b%20c"), Ok("team=shop&cost=a%2Bb%20c".to_owned()));
        assert_eq!(header("empty= a=b=c"), Ok("empty=&a=b%3Dc".to_owned()));
        assert_eq!(header("größe=1"), Ok("gr%C3%B6%C3%9Fe=1".to_owned()));
        let ten = (0..10).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(" ");
        assert!(header(&ten).is_ok());
        for bad in ["", " ", "team", "=v", "a=1 a=2", "aws:x=1", "a=%26", "a=%FF", "a=b&c=d", "a=<b>"] {
            assert!(header(bad).is_err(), "{bad:?}");
        }
        assert_eq!(header(&format!("{ten} k10=v")), Err("at most 10 object tags"));
        assert!(header(&format!("{}=v", "k".repeat(128))).is_ok());
        assert!(header(&format!("{}=v", "k".repeat(129))).is_err());
        assert!(header(&format!("k={}", "v".repeat(257))).is_err());
    }

    proptest! {
        /// Whatever is taken is a header line of its own, and says what was given.
        #[test]
        fn whatever_is_taken_cannot_leave_its_header(text in "\\PC{0,60}|[a-c=%0-9 &\r\n]{0,30}") {
            if let Ok(tags) = ObjectTags::parse(&text) {
                let header = tags.as_header();
                prop_assert!(header.bytes().all(|byte| byte.is_ascii_graphic()));
                let back: Vec<_> = header.split('&').map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap();
                    (decoded(key).unwrap(), decoded(value).unwrap())
                }).collect();
                prop_assert!(back.iter().all(|(key, _)| !key.is_empty()));
                prop_assert_eq!(query(&back), header);
            }
            if let Some(url) = EndpointUrl::parse(&text) {
                prop_assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
