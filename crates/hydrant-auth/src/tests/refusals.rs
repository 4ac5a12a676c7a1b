//! Every way to be refused, with AWS's code and words.

use std::time::Duration;

use super::*;

fn signed() -> Sent {
    Sent::put().signed("AKIA1", THEN, in_headers())
}

fn presigned() -> Sent {
    Sent::put().signed("AKIA1", THEN, in_query(600))
}

#[track_caller]
fn refused(sent: &Sent, status: u16, code: &str, message: &str) {
    let (authenticator, _) = authenticator(vec![key("AKIA1")], FIREHOSE);
    let error = sent.verify(&authenticator).unwrap_err();
    assert_eq!((error.status(), error.code(), error.to_string().as_str()), (status, code, message));
}

#[track_caller]
fn incomplete(sent: &Sent, message: &str) {
    refused(sent, 400, "IncompleteSignatureException", message);
}

#[track_caller]
fn invalid(sent: &Sent, message: &str) {
    refused(sent, 403, "InvalidSignatureException", message);
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

/// With another value of a part of the Authorization header.
fn authorized(from: &str, to: &str) -> Sent {
    let mut sent = signed();
    let authorization = sent.header("authorization").to_owned();
    assert!(authorization.contains(from), "{from} in {authorization}");
    sent.set("authorization", authorization.replace(from, to));
    sent
}

fn queried(from: &str, to: &str) -> Sent {
    let mut sent = presigned();
    let query = sent.query.unwrap();
    assert!(query.contains(from), "{from} in {query}");
    sent.query = Some(query.replace(from, to));
    sent
}

#[test]
fn what_is_signed_well_is_taken() {
    let (authenticator, _) = authenticator(vec![key("AKIA1"), key("AKIA2")], FIREHOSE);
    for (sent, id) in [
        (signed(), "AKIA1"),
        (presigned(), "AKIA1"),
        (Sent::put().signed("AKIA2", THEN, with_payload_header()), "AKIA2"),
    ] {
        assert_eq!(sent.verify(&authenticator).unwrap().access_key_id(), Some(id));
    }
}

#[test]
fn nothing_that_says_who_calls() {
    let missing = "Missing Authentication Token";
    refused(&Sent::put(), 403, "MissingAuthenticationTokenException", missing);
    for scheme in ["Basic dXNlcjpwYXNz", "Bearer token", "", "AWS AKIA1:sig", "aws4-hmac-sha256"] {
        let mut sent = Sent::put();
        sent.set("authorization", scheme);
        refused(&sent, 403, "MissingAuthenticationTokenException", missing);
    }
    let mut sent = Sent::put();
    sent.set("authorization", [0xff, 0xfe]);
    refused(&sent, 403, "MissingAuthenticationTokenException", missing);
}

#[test]
fn parts_that_are_missing_are_named_together() {
    let mut sent = Sent::put();
    sent.set("authorization", "AWS4-HMAC-SHA256");
    incomplete(
        &sent,
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header \
         requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
    );
    incomplete(
        &authorized("Signature=", "Signatur="),
        "Authorization header requires 'Signature' parameter.",
    );
    let mut sent = Sent::put();
    sent.query = Some("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20150830T123600Z".to_owned());
    incomplete(
        &sent,
        "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include 'X-Amz-Signature'. AWS \
         query-string parameters must include 'X-Amz-SignedHeaders'. AWS query-string parameters must include 'X-Amz-Expires'. \
         Re-examine the query-string parameters.",
    );
}

#[test]
fn what_cannot_be_read() {
    incomplete(
        &authorized("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256' (only AWS4-HMAC-SHA256 for now). ",
    );
    incomplete(
        &queried("AWS4-HMAC-SHA256", "x"),
        "Unsupported AWS 'algorithm': 'x' (only AWS4-HMAC-SHA256 for now). ",
    );
    incomplete(
        &authorized("Credential=AKIA1/", "Credential= AKIA1/"),
        "'AKIA1/20150830/us-east-1/firehose/aws4_request' not a valid key=value pair (missing equal-sign) in Authorization header.",
    );
    incomplete(
        &authorized("/aws4_request", ""),
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
         'AKIA1/20150830/us-east-1/firehose'",
    );
    let date =
        "Date must be in ISO-8601 'basic format'. Got '201'. See http://en.wikipedia.org/wiki/ISO_8601";
    let mut sent = signed();
    sent.set("x-amz-date", "201");
    incomplete(&sent, date);
    incomplete(&queried("20150830T123600Z", "201"), date);
    for expires in ["0", "604801", "-1", "+1", "x", "", "99999999999999999999"] {
        incomplete(
            &queried("X-Amz-Expires=600", &format!("X-Amz-Expires={expires}")),
            &format!("X-Amz-Expires must be a number of seconds from 1 to 604800, got '{expires}'."),
        );
    }
}

#[test]
fn what_is_said_twice_is_not_believed_once() {
    incomplete(
        &authorized("Credential=", "Credential=AKIA2/, Credential="),
        "The request has more than one 'Credential'.",
    );
    for name in ["authorization", "x-amz-date", "x-amz-content-sha256"] {
        let mut sent = Sent::put().signed("AKIA1", THEN, with_payload_header());
        let value = sent.header(name).to_owned();
        sent.add(name, value);
        incomplete(&sent, &format!("The request has more than one '{name}'."));
    }
    let mut sent = presigned();
    sent.query = sent.query.map(|query| query + "&X-Amz-Date=20150830T123600Z");
    incomplete(&sent, "The request has more than one 'X-Amz-Date'.");
    let mut sent = signed();
    sent.query = presigned().query;
    invalid(
        &sent,
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
    );
}

#[test]
fn clocks_may_be_five_minutes_apart() {
    let (authenticator, clock) = authenticator(vec![key("AKIA1")], FIREHOSE);
    let later = THEN.plus(Duration::from_secs(300));
    assert!(Sent::put().signed("AKIA1", later, in_headers()).verify(&authenticator).is_ok());
    let too_late = Sent::put().signed("AKIA1", later.plus(Duration::from_secs(1)), in_headers());
    let error = too_late.verify(&authenticator).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (
            "InvalidSignatureException",
            "Signature not yet current: 20150830T124101Z is still later than 20150830T124100Z (20150830T123600Z + 5 min.)"
        )
    );
    clock.advance(Duration::from_secs(300));
    assert!(signed().verify(&authenticator).is_ok());
    clock.advance(Duration::from_secs(1));
    let error = signed().verify(&authenticator).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (
            "InvalidSignatureException",
            "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)"
        )
    );
}

#[test]
fn a_presigned_request_lives_as_long_as_it_says() {
    let (authenticator, clock) = authenticator(vec![key("AKIA1")], FIREHOSE);
    clock.advance(Duration::from_secs(600));
    assert!(presigned().verify(&authenticator).is_ok());
    clock.advance(Duration::from_secs(1));
    let error = presigned().verify(&authenticator).unwrap_err();
    assert_eq!(error.to_string(), "Signature expired: 20150830T124600Z is now earlier than 20150830T124601Z");
    let week = Sent::put().signed("AKIA1", THEN, in_query(604_800));
    clock.advance(Duration::from_secs(6 * 86_400));
    assert!(week.verify(&authenticator).is_ok());
    // Not longer by a change of the number.
    let longer = week.query.clone().unwrap().replace("Expires=604800", "Expires=604799");
    assert_eq!(
        Sent { query: Some(longer), ..week }.verify(&authenticator).unwrap_err(),
        Error::SignatureMismatch
    );
}

#[test]
fn another_scope_is_named_part_by_part() {
    invalid(
        &authorized("/20150830/us-east-1/firehose/aws4_request", "/20150831/eu-west-1/s3/aws5_request"),
        "Credential should be scoped to a valid region, not 'eu-west-1'. Credential should be scoped to correct service: 'firehose'. \
         Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. Date in Credential scope does not match \
         YYYYMMDD from ISO-8601 version of date from HTTP: '20150831' != '20150830', from '20150830T123600Z'.",
    );
    invalid(
        &queried("us-east-1", "us-east-2"),
        "Credential should be scoped to a valid region, not 'us-east-2'.",
    );
}

#[test]
fn headers_that_say_something_must_be_signed() {
    invalid(
        &authorized("content-type;host;", "content-type;"),
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
    );
    for mut sent in [signed(), presigned()] {
        sent.set("x-amz-target", "Firehose_20150804.DeleteDeliveryStream");
        invalid(&sent, MISMATCH);
        sent.set("x-amz-other", "1");
        invalid(&sent, "'x-amz-other' must be a 'SignedHeader' in the AWS Authorization.");
    }
    invalid(
        &authorized(";x-amz-target", ""),
        "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.",
    );
    let (authenticator, _) = authenticator(vec![key("AKIA1")], FIREHOSE);
    for mut sent in [signed(), presigned()] {
        sent.set("x-amz-user-agent", "aws-sdk-js/3");
        sent.set("x-amzn-trace-id", "added by a load balancer");
        assert!(sent.verify(&authenticator).is_ok());
    }
}

/// With the header `Date`, which aws-sigv4 does not sign: written out, with its signing key.
#[test]
fn the_header_date_is_taken_where_it_is_signed() {
    let mut sent = Sent::put();
    sent.set("date", "Sun, 30 Aug 2015 12:36:00 GMT");
    let canonical = format!(
        "POST\n/\n\ndate:Sun, 30 Aug 2015 12:36:00 GMT\nhost:localhost:4573\nx-amz-target:Firehose_20150804.PutRecord\n\n\
         date;host;x-amz-target\n{}",
        hex::encode(Sha256::digest(&sent.body))
    );
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/firehose/aws4_request\n{}",
        hex::encode(Sha256::digest(canonical))
    );
    let then = std::time::UNIX_EPOCH + Duration::from_millis(THEN.as_millis());
    let signing_key = v4::generate_signing_key(SECRET, then, "us-east-1", "firehose");
    let signature = v4::calculate_signature(signing_key, to_sign.as_bytes());
    let authorization = |headers: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIA1/20150830/us-east-1/firehose/aws4_request, SignedHeaders={headers}, Signature={signature}"
        )
    };
    sent.set("authorization", authorization("date;host;x-amz-target"));
    let (authenticator, _) = authenticator(vec![key("AKIA1")], FIREHOSE);
    assert_eq!(sent.verify(&authenticator).unwrap().access_key_id(), Some("AKIA1"));
    let mut unsigned = sent.clone();
    unsigned.set("authorization", authorization("host;x-amz-target"));
    invalid(&unsigned, "'Date' must be a 'SignedHeader' in the AWS Authorization.");
    sent.set("date", "Sun, 30 Aug 2015 12:36:01 GMT");
    invalid(&sent, MISMATCH);
    sent.set("date", "yesterday");
    incomplete(
        &sent,
        "Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601",
    );
}

#[test]
fn unknown_keys_and_session_tokens() {
    let unknown = "The security token included in the request is invalid.";
    let nobody = Sent::put().signed("AKIA3", THEN, in_headers());
    refused(&nobody, 400, "UnrecognizedClientException", unknown);
    let mut sent = Sent::put();
    sent.set("x-amz-security-token", "FwoGZXIvYXdzEXAMPLE");
    refused(&sent.signed("AKIA1", THEN, in_headers()), 400, "UnrecognizedClientException", unknown);
    let mut sent = Sent::put();
    sent.query = Some("X-Amz-Security-Token=FwoGZXIvYXdzEXAMPLE".to_owned());
    refused(&sent.signed("AKIA1", THEN, in_query(60)), 400, "UnrecognizedClientException", unknown);
}

#[test]
fn a_payload_is_what_its_hash_says() {
    let mut sent = Sent::put().signed("AKIA1", THEN, with_payload_header());
    sent.body.push(b' ');
    invalid(&sent, "The provided 'x-amz-content-sha256' header does not match what was computed.");
    for marker in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ""] {
        let mut sent = Sent::put();
        sent.set("x-amz-content-sha256", marker);
        for settings in [in_headers(), in_query(60)] {
            let message = format!(
                "x-amz-content-sha256 must be the SHA-256 of the body in hexadecimal; '{marker}' is not supported."
            );
            invalid(&sent.clone().signed("AKIA1", THEN, settings), &message);
        }
    }
    for mut sent in [signed(), presigned()] {
        sent.body.push(b' ');
        invalid(&sent, MISMATCH);
    }
}

#[test]
fn a_message_quotes_little_and_never_the_signature_that_was_expected() {
    let (authenticator, _) = authenticator(vec![key("AKIA1")], FIREHOSE);
    let right = signed().header("authorization").rsplit_once("Signature=").unwrap().1.to_owned();
    let wrong = authorized(&right, &"0".repeat(64)).verify(&authenticator).unwrap_err();
    assert!(!format!("{wrong} {wrong:?}").contains(&right));
    for shorter in [&right[..63], "", "x"] {
        assert_eq!(authorized(&right, shorter).verify(&authenticator).unwrap_err(), Error::SignatureMismatch);
    }
    let long = authorized("AKIA1/20150830", &format!("{}/20150830/", "x".repeat(9_000)));
    assert!(long.verify(&authenticator).unwrap_err().to_string().len() < 300);
    let claim = format!("{authenticator:?} {:?}", signed().verify(&authenticator).unwrap());
    assert!(!claim.contains(SECRET) && claim.contains("AKIA1"), "{claim}");
}

#[test]
fn http_2_has_its_host_in_the_authority() {
    let (authenticator, _) = authenticator(vec![key("AKIA1")], FIREHOSE);
    let mut sent = signed();
    sent.headers.retain(|(name, _)| name != "host");
    let headers = sent.map();
    let claim = |authority| {
        let head = Head { method: &sent.method, path: "/", query: None, headers: &headers, authority };
        authenticator.claim(&head).unwrap().unwrap().verify(Sha256::digest(&sent.body).into())
    };
    assert!(claim(Some("localhost:4573")).is_ok());
    assert_eq!(claim(Some("elsewhere")).unwrap_err(), Error::SignatureMismatch);
    assert_eq!(claim(None).unwrap_err(), Error::SignatureMismatch);
}
