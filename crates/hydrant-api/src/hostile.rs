//! Inputs that nobody would send: made after the model's shapes, with something wrong here and there.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{
    create, describe,
    destination::{self, Kind},
    input::{Faults, Node},
    model, operations,
    shape::{Findings, Shape},
    update,
};

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.next().is_multiple_of(chances)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.next() as usize % from.len()]
    }
}

/// Texts that mean something to one rule or another.
const TEXTS: [&str; 22] = [
    "orders",
    "",
    " ",
    "a\u{0}b\n",
    "arn:aws:iam::123456789012:role/r",
    "arn:aws:s3:::bucket",
    "arn:aws:s3:::",
    "arn:aws:kms:eu-west-1:123456789012:key/k",
    "jdbc:redshift://shop.abc.eu-west-1.redshift.amazonaws.com:5439/dev",
    "jdbc:redshift://redshift.redshift.x:1/d",
    "https://splunk.example:8088",
    "https://:0",
    "!{timestamp:yyyy}/",
    "!{firehose:error-output-type}",
    "a/!{",
    "!{}}{:",
    "hydrant:gzip-level",
    "250ms",
    "-1",
    "NaN",
    "𐍈é\u{2028}",
    "00000000000000000000000000000000000000000000000000000000000000000",
];

fn anything(random: &mut Random) -> Value {
    match random.next() % 8 {
        0 => Value::Null,
        1 => json!(random.one_in(2)),
        2 => json!(random.next()),
        3 => json!(random.next() as i64 as f64 / 7.0),
        4 => json!([]),
        5 => json!({"Enabled": true, "": []}),
        6 => json!([[[{}]], null]),
        _ => json!(random.pick(&TEXTS)),
    }
}

/// A value of this shape, mostly.
fn value(shape: &Shape, wrong: u64, random: &mut Random) -> Value {
    if random.one_in(wrong) {
        return anything(random);
    }
    match shape {
        Shape::Text { .. } => json!(random.pick(&TEXTS)),
        Shape::Enum(values) => json!(random.pick(values)),
        Shape::Integer { min, max } => {
            json!((*min).max(-9).saturating_add((random.next() % 200) as i64).min(*max))
        }
        Shape::Double { .. } => json!(0.5),
        Shape::Boolean => json!(!random.one_in(3)),
        Shape::Timestamp => json!(1.5e9),
        Shape::Blob { .. } => json!("YQ=="),
        Shape::List { item, .. } => (0..random.next() % 4).map(|_| value(item, wrong, random)).collect(),
        Shape::Map { value: held, .. } => {
            let mut map = Map::new();
            map.insert((*random.pick(&TEXTS)).to_owned(), value(held, wrong, random));
            Value::Object(map)
        }
        Shape::Struct(members) => {
            let mut object = Map::new();
            for member in *members {
                if member.required || random.one_in(3) {
                    object.insert(member.name.to_owned(), value(member.shape, wrong, random));
                }
            }
            Value::Object(object)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// No input makes a panic, and what is found is told in a bounded answer.
    #[test]
    fn whatever_comes_is_answered(seed: u64) {
        let random = &mut Random(seed);
        for operation in operations::Operation::ALL {
            let shape = model::input(operation.name());
            let input = value(shape, 6, random);
            for findings in [Findings::of(&input, shape), Findings::of_strict(&input, shape)] {
                if let Err(error) = findings.refusal() {
                    prop_assert!(["SerializationException", "ValidationException"].contains(&error.code));
                    prop_assert!(error.body().len() < 1_000_000);
                }
            }
        }
    }

    /// The rules hold for whatever they are given, also where no shape was checked before; what they let through is settings that
    /// make themselves again.
    #[test]
    fn whatever_passes_the_rules_makes_the_same_settings_again(seed: u64) {
        let random = &mut Random(seed);
        let mut input = value(model::input("CreateDeliveryStream"), 40, random);
        let kind = *random.pick(&Kind::ALL);
        let config = value(model::shape(&kind.configuration()), 40, random);
        if let Some(object) = input.as_object_mut() {
            object.retain(|name, _| !name.ends_with("DestinationConfiguration"));
            object.insert(kind.configuration(), config.clone());
        }
        let mut faults = Faults::default();
        let creation = create::read(&Node::root(&input), "eu-west-1", &mut faults);
        let shaped = Findings::of(&input, model::input("CreateDeliveryStream")).is_empty();
        prop_assert!(creation.is_some() || !faults.is_empty() || !shaped, "nothing is refused without a reason");
        let Some(destination) = destination::read(kind, &Node::root(&config), &mut Faults::default()) else {
            return Ok(());
        };
        let again = Value::Object(describe::configuration(&destination));
        let again = destination::read(kind, &Node::root(&again), &mut Faults::default());
        prop_assert_eq!(again.as_ref(), Some(&destination));
        let nothing = json!({kind.update(): {}});
        if Findings::of(&Value::Object(describe::configuration(&destination)), model::shape(&kind.configuration())).is_empty() {
            prop_assert_eq!(update::apply(&destination, &nothing).unwrap(), destination);
        }
    }
}

/// The properties above are of use only where inputs get that far.
#[test]
fn enough_inputs_pass_the_rules() {
    let mut passed = 0;
    for seed in 0..4_000 {
        let random = &mut Random(seed);
        let kind = [Kind::S3, Kind::ExtendedS3, Kind::Redshift][seed as usize % 3];
        let config = value(model::shape(&kind.configuration()), 40, random);
        passed += u32::from(destination::read(kind, &Node::root(&config), &mut Faults::default()).is_some());
    }
    assert!(passed > 50, "{passed} passed");
}
