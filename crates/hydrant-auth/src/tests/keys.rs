//! Access keys: what is refused in a configuration, what each allows, reload, rates.

use std::num::NonZeroU32;

use super::*;
use crate::{Fault, Faults, Resource};

fn allowing(actions: &[&str], streams: &[&str]) -> AccessKey {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    AccessKey { actions: texts(actions), streams: texts(streams), ..key("AKIA1") }
}

fn caller(key: AccessKey) -> Caller {
    let (authenticator, _) = authenticator(vec![key], FIREHOSE);
    Sent::put().signed("AKIA1", THEN, in_headers()).verify(&authenticator).unwrap()
}

fn faults(keys: Vec<AccessKey>) -> Faults {
    AccessKeys::new(keys, &FIREHOSE, &clock_at(THEN).1).unwrap_err()
}

#[test]
fn a_caller_may_what_its_key_allows() {
    let orders = caller(allowing(&["firehose:PutRecord*", "FIREHOSE:describe?eliverystream"], &["orders-*"]));
    let eu = Resource::Named("orders-eu");
    for action in ["PutRecord", "PutRecordBatch", "DescribeDeliveryStream"] {
        assert_eq!(orders.may(action, eu), Ok(()));
        assert!(orders.may(action, Resource::Named("Orders-eu")).is_err());
        assert!(orders.may(action, Resource::All).is_err());
        assert_eq!(orders.may(action, Resource::Unnamed), Ok(()));
    }
    assert!(orders.may("ListDeliveryStreams", eu).is_err());
    assert!(orders.may("ListDeliveryStreams", Resource::Unnamed).is_err());
    for all in ["*", "firehose:*"] {
        let all = caller(allowing(&[all], &["orders", "*"]));
        for action in FIREHOSE.actions {
            for resource in [eu, Resource::Named(""), Resource::All, Resource::Unnamed] {
                assert_eq!(all.may(action, resource), Ok(()));
            }
        }
    }
    // A pattern for every name is no pattern for all streams together, unless it is the one that says so.
    assert!(caller(allowing(&["*"], &["**"])).may("ListDeliveryStreams", Resource::All).is_err());
}

#[test]
fn a_denial_names_user_action_and_resource_as_aws_does() {
    let orders = caller(allowing(&["firehose:PutRecord"], &["orders"]));
    let denied = orders.may("PutRecordBatch", Resource::Named("orders")).unwrap_err();
    assert_eq!(
        denied.to_string(),
        "User: arn:aws:iam::123456789012:user/AKIA1 is not authorized to perform: firehose:PutRecordBatch on resource: \
         arn:aws:firehose:us-east-1:123456789012:deliverystream/orders because no identity-based policy allows the \
         firehose:PutRecordBatch action"
    );
    let denied = orders.may("ListDeliveryStreams", Resource::All).unwrap_err();
    assert!(
        denied
            .to_string()
            .contains(" on resource: arn:aws:firehose:us-east-1:123456789012:deliverystream/* because ")
    );
    assert_eq!(Realm::new("cn-north-1", "1").partition, "aws-cn");
    assert_eq!(Realm::new("us-gov-west-1", "1").partition, "aws-us-gov");
}

#[test]
fn an_anonymous_caller_may_everything_where_nobody_is_asked() {
    let anyone = Authenticator::anyone();
    let headers = HeaderMap::new();
    let head = Head { method: &Method::POST, path: "/", query: None, headers: &headers, authority: None };
    assert!(anyone.claim(&head).unwrap().is_none());
    assert_eq!(Caller::anonymous().may("DeleteDeliveryStream", Resource::All), Ok(()));
    assert_eq!((Caller::anonymous().access_key_id(), Caller::anonymous().arn()), (None, None));
    assert!(!anyone.replace_keys(AccessKeys::new(Vec::new(), &FIREHOSE, &clock_at(THEN).1).unwrap()));
}

#[test]
fn all_faults_of_a_configuration_come_together_and_quote_no_secret() {
    let found = faults(vec![
        AccessKey { id: format!("{SECRET} in the wrong place"), ..key("x") },
        AccessKey { secret: Secret::new(""), ..key("AKIA2") },
        AccessKey { actions: Vec::new(), streams: Vec::new(), ..key("AKIA3") },
        AccessKey {
            id: "AKIA4".to_owned(),
            ..allowing(&["s3:*", "firehose:PutRecords", "Put*"], &["a b", ""])
        },
        key("AKIA5"),
        key("AKIA5"),
    ]);
    let id = |id: &str| id.to_owned();
    let action = |pattern: &str| Fault::Action {
        id: id("AKIA4"),
        pattern: pattern.to_owned(),
        example: id("firehose:PutRecord"),
    };
    let stream = |pattern: &str| Fault::Stream { id: id("AKIA4"), pattern: pattern.to_owned() };
    assert_eq!(
        found.0,
        [
            Fault::Id(1),
            Fault::NoSecret(id("AKIA2")),
            Fault::NoActions(id("AKIA3")),
            Fault::NoStreams(id("AKIA3")),
            action("s3:*"),
            action("firehose:PutRecords"),
            action("Put*"),
            stream("a b"),
            stream(""),
            Fault::Repeated(id("AKIA5")),
        ]
    );
    assert!(!format!("{found} {found:?} {:?}", key("AKIA1")).contains(SECRET));
    for bad in ["", "a/b", "a,b", "a b", "ä", &"x".repeat(129)] {
        assert_eq!(faults(vec![key(bad)]).0, [Fault::Id(1)], "{bad}");
    }
}

#[test]
fn keys_are_replaced_without_a_restart() {
    let (authenticator, _) = authenticator(vec![key("AKIA1")], FIREHOSE);
    let (one, two) =
        (Sent::put().signed("AKIA1", THEN, in_headers()), Sent::put().signed("AKIA2", THEN, in_headers()));
    assert_eq!(two.verify(&authenticator).unwrap_err(), Error::Unrecognized);
    let headers = one.map();
    let head = Head { method: &Method::POST, path: "/", query: None, headers: &headers, authority: None };
    let claim = authenticator.claim(&head).unwrap().unwrap();
    let replace = |keys| {
        assert!(authenticator.replace_keys(AccessKeys::new(keys, &FIREHOSE, &clock_at(THEN).1).unwrap()));
    };
    replace(vec![key("AKIA2")]);
    assert!(two.verify(&authenticator).is_ok());
    assert_eq!(one.verify(&authenticator).unwrap_err(), Error::Unrecognized);
    // Under way while the keys changed.
    assert!(claim.verify(Sha256::digest(&one.body).into()).is_ok());
    // The signing key of the old secret is not remembered.
    replace(vec![AccessKey { secret: Secret::new("another"), ..key("AKIA2") }]);
    assert_eq!(two.verify(&authenticator).unwrap_err(), Error::SignatureMismatch);
}

#[test]
fn a_keys_calls_a_second_are_its_own_and_nobody_else_uses_them_up() {
    let limited = AccessKey { calls_per_sec: NonZeroU32::new(2), ..key("AKIA1") };
    let (clock, shared) = clock_at(THEN);
    let keys = AccessKeys::new(vec![limited, key("AKIA2")], &FIREHOSE, &shared).unwrap();
    let authenticator =
        Authenticator::with_keys(keys, FIREHOSE, Realm::new("us-east-1", "123456789012"), shared);
    let one = Sent::put().signed("AKIA1", THEN, in_headers());
    let mut forged = one.clone();
    forged.body.push(b' ');
    for _ in 0..10 {
        assert_eq!(forged.verify(&authenticator).unwrap_err(), Error::SignatureMismatch);
    }
    assert!(one.verify(&authenticator).is_ok() && one.verify(&authenticator).is_ok());
    let throttled = one.verify(&authenticator).unwrap_err();
    assert_eq!(
        (throttled.status(), throttled.code(), throttled.to_string().as_str()),
        (400, "ThrottlingException", "Rate exceeded")
    );
    assert!(Sent::put().signed("AKIA2", THEN, in_headers()).verify(&authenticator).is_ok());
    clock.advance(Duration::from_millis(500));
    assert!(one.verify(&authenticator).is_ok());
    assert!(one.verify(&authenticator).is_err());
}

#[test]
fn the_day_changes_and_old_signatures_still_verify() {
    let (authenticator, clock) = authenticator(vec![key("AKIA1")], FIREHOSE);
    let midnight = Timestamp(1_440_979_200_000);
    clock.advance(midnight.since(THEN));
    let before = Timestamp(midnight.as_millis() - 60_000);
    for at in [before, midnight, before, midnight] {
        assert!(Sent::put().signed("AKIA1", at, in_headers()).verify(&authenticator).is_ok());
    }
}
