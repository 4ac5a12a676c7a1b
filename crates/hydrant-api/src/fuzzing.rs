//! What the fuzzers in `tests/fuzz` run, and ordinary tests over its corpora. Not part of the interface.
//!
//! Each takes any bytes. It panics where a promise does not hold, and that is all it does.

use hydrant_types::Destination;
use serde_json::{Value, json};

use crate::{
    control_json, create,
    destination::{self, Kind},
    encryption,
    error::ApiError,
    input::{Faults, Node},
    model,
    operations::Operation,
    put, scanner, shape, tags, update,
};

/// The request scanner: what it reads, serde_json reads in the same way; and no put has more in it than its body.
pub fn put_scanner(body: &[u8]) {
    for (scan, parse) in [
        (scanner::put_record as fn(&[u8]) -> _, put::parse_one as fn(&[u8]) -> _),
        (scanner::put_record_batch, put::parse_batch),
    ] {
        let scanned: Option<put::PutInput> = scan(body);
        let parsed: Result<put::PutInput, ApiError> = parse(body);
        if let Ok(parsed) = &parsed {
            assert!(parsed.payload.data_bytes() <= body.len() as u64);
        }
        if let Some(scanned) = scanned {
            let parsed = parsed.expect("what the scanner reads is a put");
            assert_eq!(scanned.stream, parsed.stream);
            assert_eq!(scanned.payload.lengths(), parsed.payload.lengths());
            assert_eq!(scanned.payload.data(), parsed.payload.data());
        }
    }
}

/// A control call's body up to where the metastore would be asked; its first byte chooses the operation. A refusal is the client's
/// fault, says so, and is not much longer than what the client sent.
pub fn control_json(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    let Err(refusal) = control_json::read(body, |_| Ok(())).and_then(|input| check(*which, &input)) else {
        return;
    };
    assert_eq!(refusal.status, 400, "{refusal:?}");
    let answer = refusal.body();
    serde_json::from_str::<Value>(&answer).expect("an error's body is JSON");
    assert!(
        answer.len() <= ANSWER_BASE + body.len() * ANSWER_PER_BYTE,
        "{} for {}",
        answer.len(),
        body.len()
    );
}

/// The longest fixed text there is, and the most that one byte of a request makes: an empty object in a list of 500 violates two
/// constraints with long paths.
const ANSWER_BASE: usize = 16 * 1024;
const ANSWER_PER_BYTE: usize = 256;

fn check(which: u8, input: &Value) -> Result<(), ApiError> {
    let operation = Operation::ALL[usize::from(which) % Operation::ALL.len()];
    shape::check(input, model::input(operation.name()))?;
    let (input, mut faults) = (Node::root(input), Faults::default());
    match operation {
        Operation::CreateDeliveryStream => {
            let creation = create::read(&input, REGION, &mut faults);
            stays(&faults.or(creation)?.destination);
        }
        Operation::UpdateDestination => {
            for destination in destinations() {
                stays(&update::apply(&destination, input.value())?);
            }
        }
        Operation::TagDeliveryStream => {
            let tags = tags::read(&input.at("Tags"), &mut faults);
            faults.or(Some(tags))?;
        }
        Operation::UntagDeliveryStream => drop(tags::read_keys(&input.at("TagKeys"))),
        Operation::StartDeliveryStreamEncryption => {
            let key = encryption::read(&input, true, REGION, &mut faults);
            faults.or(Some(key))?;
        }
        _ => {}
    }
    Ok(())
}

const REGION: &str = "us-east-1";

/// What can be made is not refused when it is to stay as it is.
fn stays(destination: &Destination) {
    let kind = match destination {
        Destination::S3(_) => Kind::ExtendedS3,
        Destination::Redshift(_) => Kind::Redshift,
    };
    let same = update::apply(destination, &json!({kind.update(): {}}));
    assert_eq!(same.expect("an update that gives nothing is taken"), *destination);
}

/// One of each type, to be updated.
fn destinations() -> [Destination; 2] {
    let role = "arn:aws:iam::123456789012:role/r";
    let s3 = json!({"RoleARN": role, "BucketARN": "arn:aws:s3:::b"});
    let redshift = json!({
        "RoleARN": role, "ClusterJDBCURL": "jdbc:redshift://c.x.us-east-1.redshift.amazonaws.com:5439/d",
        "CopyCommand": {"DataTableName": "t"}, "Username": "u", "Password": "secret", "S3Configuration": s3,
    });
    [(Kind::ExtendedS3, s3), (Kind::Redshift, redshift)].map(|(kind, config)| {
        destination::read(kind, &Node::root(&config), &mut Faults::default())
            .expect("they have all that is required")
    })
}

#[cfg(test)]
mod tests {
    use hydrant_testkit::replay_corpus;

    use super::*;

    #[test]
    fn the_corpus_of_the_request_scanner_holds() {
        replay_corpus("put_scanner", 500, put_scanner);
    }

    /// Each operation's check is reached by bodies that it takes and by others.
    #[test]
    fn every_control_operations_input_is_checked() {
        let s3 = &json!({"RoleARN": "arn:aws:iam::123456789012:role/r", "BucketARN": "arn:aws:s3:::b"});
        for (operation, good, bad) in [
            (
                Operation::CreateDeliveryStream,
                json!({"DeliveryStreamName": "s", "S3DestinationConfiguration": s3}),
                json!({"DeliveryStreamName": "s"}),
            ),
            (
                Operation::TagDeliveryStream,
                json!({"DeliveryStreamName": "s", "Tags": [{"Key": "k"}]}),
                json!({"DeliveryStreamName": "s", "Tags": [{"Key": "hydrant:gzip-level", "Value": "x"}]}),
            ),
            (
                Operation::StartDeliveryStreamEncryption,
                json!({"DeliveryStreamName": "s"}),
                json!({"DeliveryStreamName": "s", "DeliveryStreamEncryptionConfigurationInput": {"KeyType": "CUSTOMER_MANAGED_CMK"}}),
            ),
            (
                Operation::UpdateDestination,
                json!({"DeliveryStreamName": "s", "CurrentDeliveryStreamVersionId": "1", "DestinationId": "d", "RedshiftDestinationUpdate": {
                    "RoleARN": s3["RoleARN"], "ClusterJDBCURL": "jdbc:redshift://c.x.us-east-1.redshift.amazonaws.com:5439/d",
                    "CopyCommand": {"DataTableName": "t"}, "Username": "u", "Password": "secret", "S3Update": s3,
                }}),
                json!({"DeliveryStreamName": "s", "CurrentDeliveryStreamVersionId": "1", "DestinationId": "d"}),
            ),
        ] {
            let which = Operation::ALL.iter().position(|one| *one == operation).unwrap() as u8;
            check(which, &good).unwrap();
            assert_eq!(check(which, &bad).unwrap_err().code, "InvalidArgumentException", "{operation:?}");
        }
    }

    #[test]
    fn the_corpus_of_the_json_layer_holds() {
        replay_corpus("control_json", 500, control_json);
    }
}
