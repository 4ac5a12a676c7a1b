//! Roles, assumed through STS.

use super::*;

/// An answer of STS, and how it is signed.
const ASSUMED: &str = "<AssumeRoleResponse><AssumeRoleResult><AssumedRoleUser><AssumedRoleId>i</AssumedRoleId>\
    <Arn>arn:aws:sts::123456789012:assumed-role/writer/hydrant</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
    <SessionToken>the-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
    </AssumeRoleResult></AssumeRoleResponse>";

async fn with_roles(answers: Vec<(&'static str, &'static str)>) -> (S3Objects, Arc<Mutex<Vec<String>>>) {
    let (objects, heads) = canned(answers).await;
    let mut access = objects.clients.access().clone();
    let sts_endpoint_url = access.endpoint_url.clone();
    access.assume_roles = Some(AssumeRoles { sts_endpoint_url, external_id: "000000000000".to_owned() });
    (S3Objects::new(sdk("test"), access), heads)
}

fn as_role() -> PutOptions {
    PutOptions { role_arn: Some("arn:aws:iam::123456789012:role/writer".to_owned()), ..plain() }
}

#[tokio::test]
async fn a_role_is_assumed_once_with_the_accounts_id_and_its_credentials_are_used() {
    let ok = ("200 OK\r\nETag: \"e\"", "");
    let (objects, heads) = with_roles(vec![("200 OK", ASSUMED), ok, ok]).await;
    for _ in 0..2 {
        objects.put(&bucket(), &key(), gzip(b"x", 1), &as_role()).await.unwrap();
    }
    let heads = heads.lock();
    for part in [
        "action=assumerole",
        "rolearn=arn%3aaws%3aiam%3a%3a123456789012%3arole%2fwriter",
        "externalid=000000000000",
    ] {
        assert!(heads[0].contains(part), "{part} in {}", heads[0]);
    }
    for head in &heads[1..] {
        assert!(
            head.contains("credential=asiarole/") && head.contains("x-amz-security-token: the-token"),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_a_refusal_that_says_so_and_stops_nobody_else() {
    let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform: \
        sts:AssumeRole</Message></Error></ErrorResponse>";
    let (objects, _) = with_roles(vec![("403 Forbidden", denied)]).await;
    let error = objects.put(&bucket(), &key(), gzip(b"x", 1), &as_role()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("S3.AccessDenied", Kind::Refused));
    assert_eq!(
        error.message,
        "the role cannot be assumed: AccessDenied: not authorized to perform: sts:AssumeRole"
    );
    // STS is away: nothing is known of the bucket.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = objects.put(&bucket(), &key(), gzip(b"x", 1), &as_role()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.kind), ("InternalError", Kind::Refused));
    assert!(error.message.starts_with("there are no credentials: "), "{}", error.message);
}
