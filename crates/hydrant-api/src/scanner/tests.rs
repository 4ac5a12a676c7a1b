use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::put;

/// What a reader makes of a body: the stream's name and the records.
type Found = (String, Vec<Vec<u8>>);

fn found(input: &PutInput) -> Found {
    let mut start = 0;
    let cut = |length: &u32| {
        let record = input.payload.data()[start..start + *length as usize].to_vec();
        start += *length as usize;
        record
    };
    (input.stream.to_string(), input.payload.lengths().iter().map(cut).collect())
}

/// What a PutRecordBatch says, by the shortest way there is: into values, and base64 by another engine. `None` for whatever is not
/// a put within its limits.
fn specified(body: &[u8], batch: bool) -> Option<Found> {
    let Value::Object(input) = serde_json::from_slice(body).ok()? else { return None };
    let stream = input.get("DeliveryStreamName")?.as_str()?;
    stream.parse::<hydrant_types::StreamName>().ok()?;
    let record = |record: &Value| {
        let bytes = STANDARD.decode(record.as_object()?.get("Data")?.as_str()?).ok()?;
        (bytes.len() <= limits::RECORD_BYTES_MAX).then_some(bytes)
    };
    let records: Option<Vec<_>> = match batch {
        true => input.get("Records")?.as_array()?.iter().map(record).collect(),
        false => Some(vec![record(input.get("Record")?)?]),
    };
    let records = records.filter(|records| (1..=limits::BATCH_RECORDS_MAX).contains(&records.len()))?;
    Some((stream.to_owned(), records))
}

/// The scanner reads what is specified or declines; the reader behind it reads exactly what is specified. Whether the scanner read it.
fn agree(body: &[u8]) -> bool {
    let mut scanned_any = false;
    for batch in [true, false] {
        let expected = specified(body, batch);
        let (scanned, parsed) = match batch {
            true => (put_record_batch(body), put::parse_batch(body)),
            false => (put_record(body), put::parse_one(body)),
        };
        let text = || String::from_utf8_lossy(body).into_owned();
        if let Some(scanned) = &scanned {
            assert_eq!(Some(found(scanned)), expected, "the scanner on {}", text());
            scanned_any = true;
        }
        // What is passed over is not looked into: a number out of range or half a surrogate pair there is no fault.
        let only_passed_over_is_bad = serde_json::from_slice::<Value>(body).is_err()
            && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
        if !only_passed_over_is_bad {
            assert_eq!(parsed.as_ref().ok().map(found), expected, "serde_json on {}", text());
        }
    }
    scanned_any
}

#[test]
fn the_sdks_own_forms_are_read() {
    for body in [
        r#"{"DeliveryStreamName":"s","Records":[{"Data":"aGk="},{"Data":""}]}"#,
        r#"{"DeliveryStreamName": "s", "Records": [{"Data": "aGk="}, {"Data": "aGkK"}]}"#,
        "{\n  \"Records\" : [ { \"Data\" : \"aGk=\" } ] ,\r\n\t\"DeliveryStreamName\" : \"s\" } ",
        r#"{"DeliveryStreamName":"s","Record":{"Data":"aGk="}}"#,
        r#" {"Record": {"Data": "+/+/"}, "DeliveryStreamName": "A-z_0.9"}"#,
    ] {
        assert!(agree(body.as_bytes()), "{body}");
    }
    let one = put_record(br#"{"DeliveryStreamName":"s","Record":{"Data":"aGk="}}"#).unwrap();
    assert_eq!(found(&one), ("s".to_owned(), vec![b"hi".to_vec()]));
}

#[test]
fn anything_unexpected_is_declined() {
    for body in [
        // Legal, and for the other reader.
        r#"{"DeliveryStreamName":"s","Records":[{"Data":"a\/8="}]}"#,
        r#"{"DeliveryStreamName":"\u0073","Records":[{"Data":""}]}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":"aGk=","Else":1}]}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":"AAAA","Data":"aGk="}]}"#,
        r#"{"DeliveryStreamName":"s","DeliveryStreamName":"t","Records":[{"Data":""}]}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":""}],"Else":{"a":[1,null,{"b":"\"}"}]}}"#,
        // Not a put.
        r#"{"DeliveryStreamName":"s","Records":[{"Data":"aGk"}]}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":"aGl="}]}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":"aGk=="}]}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":"a-_k"}]}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":" aGk="}]}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":null}]}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"data":""}]}"#,
        r#"{"DeliveryStreamName":"s","Records":[]}"#,
        r#"{"DeliveryStreamName":"s t","Records":[{"Data":""}]}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":""}]}x"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":""}]}{}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":""},]}"#,
        r#"{"DeliveryStreamName":"s","Records":[{"Data":""}],}"#,
        r#"{"DeliveryStreamName":"s" "Records":[{"Data":""}]}"#,
        r#"{"Records":[{"Data":""}]}"#,
        "{\"DeliveryStreamName\":\"s\u{1}\",\"Records\":[{\"Data\":\"\"}]}",
        "{\"DeliveryStreamName\":\"s\",\u{a0}\"Records\":[{\"Data\":\"\"}]}",
        "",
        "{",
        "\u{feff}{}",
    ] {
        assert!(!agree(body.as_bytes()), "{body}");
    }
    assert!(!agree(b"{\"DeliveryStreamName\":\"s\xff\",\"Records\":[{\"Data\":\"\"}]}"));
}

#[test]
fn records_and_calls_at_their_limits_are_read_and_beyond_declined() {
    let batch = |records: &[usize]| {
        let records: Vec<String> = records
            .iter()
            .map(|bytes| format!("{{\"Data\":\"{}\"}}", STANDARD.encode(vec![b'x'; *bytes])))
            .collect();
        format!("{{\"DeliveryStreamName\":\"s\",\"Records\":[{}]}}", records.join(",")).into_bytes()
    };
    assert!(agree(&batch(&[1; limits::BATCH_RECORDS_MAX])));
    assert!(!agree(&batch(&[1; limits::BATCH_RECORDS_MAX + 1])));
    for more in 0..3 {
        assert!(agree(&batch(&[limits::RECORD_BYTES_MAX - more])), "{more} less");
    }
    for more in 1..4 {
        assert!(!agree(&batch(&[limits::RECORD_BYTES_MAX + more])), "{more} more");
    }
}

/// Any JSON string for `text`, with some characters escaped in one of the ways there are.
fn written(text: &str, escapes: &[u8]) -> String {
    let mut out = String::from("\"");
    for (at, character) in text.chars().enumerate() {
        match (escapes.get(at % escapes.len().max(1)).copied().unwrap_or(0), character) {
            (1, character) => {
                let mut units = [0; 2];
                character
                    .encode_utf16(&mut units)
                    .iter()
                    .for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
            (2, '/') => out.push_str("\\/"),
            (_, '"') => out.push_str("\\\""),
            (_, '\\') => out.push_str("\\\\"),
            (_, control) if u32::from(control) < 0x20 => {
                out.push_str(&format!("\\u{:04X}", u32::from(control)))
            }
            (_, character) => out.push(character),
        }
    }
    out + "\""
}

/// Mostly no escapes at all.
fn escapes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => Just(vec![0]), 1 => proptest::collection::vec(0_u8..3, 1..8)]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 2 => Just(" "), 1 => Just("\n"), 1 => Just("\r\n\t "), 1 => Just("\u{b}")]
}

/// Any value, nested a little: what an unknown member may hold.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-12.5e3".to_owned()),
        Just("01".to_owned()),
        (".{0,6}", escapes()).prop_map(|(text, escapes)| written(&text, &escapes)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((".{0,3}", inner), 0..3).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("{}:{value}", written(name, &[0]))).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Base64, most of it good: its padding cut, doubled, moved; another alphabet; trailing bits.
fn base64_text() -> impl Strategy<Value = String> {
    let good = proptest::collection::vec(any::<u8>(), 0..70).prop_map(|bytes| STANDARD.encode(bytes)).boxed();
    prop_oneof![
        8 => good.clone(),
        1 => good.clone().prop_map(|text| text.trim_end_matches('=').to_owned()),
        1 => good.clone().prop_map(|text| text + "="),
        1 => good.clone().prop_map(|text| text.replace('+', "-").replace('/', "_")),
        1 => (good.clone(), any::<prop::sample::Index>(), "[ -~\n]").prop_map(|(text, at, other)| {
            let mut text = text;
            if !text.is_empty() {
                let at = at.index(text.len());
                text.replace_range(at..=at, &other);
            }
            text
        }),
        1 => "[A-Za-z0-9+/]{2,3}".prop_map(|text| format!("{text:=<4}")),
    ]
}

/// An object's members in the order given, with blanks wherever they may be.
fn object(members: Vec<(String, String)>, space: &str) -> String {
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{space}{name}{space}:{space}{value}{space}")).collect();
    format!("{{{}}}", members.join(","))
}

/// `of` as a member, mostly alone; sometimes twice, without it, beside others, or with another type.
fn members(name: &'static str, of: BoxedStrategy<String>) -> BoxedStrategy<Vec<(String, String)>> {
    let member = (escapes(), of).prop_map(move |(escapes, value)| (written(name, &escapes), value)).boxed();
    let other = (".{0,5}", any_json()).prop_map(|(name, value)| (written(&name, &[0]), value));
    let odd = any_json().prop_map(move |value| (written(name, &[0]), value));
    prop_oneof![
        12 => member.clone().prop_map(|member| vec![member]),
        1 => Just(Vec::new()),
        2 => proptest::collection::vec(member.clone(), 2..3),
        2 => (member, proptest::collection::vec(other, 1..3), any::<bool>()).prop_map(|(member, others, first)| {
            let mut all = others;
            all.insert(if first { 0 } else { all.len() }, member);
            all
        }),
        1 => odd.prop_map(|member| vec![member]),
    ]
    .boxed()
}

fn odd_put() -> impl Strategy<Value = String> {
    let data = (base64_text(), escapes()).prop_map(|(text, escapes)| written(&text, &escapes)).boxed();
    let record = (members("Data", data), space()).prop_map(|(members, space)| object(members, space)).boxed();
    let records = (proptest::collection::vec(record.clone(), 0..5), space())
        .prop_map(|(records, space)| format!("[{space}{}{space}]", records.join(&format!("{space},"))))
        .boxed();
    let name = prop_oneof![8 => Just("s".to_owned()), 1 => "[a-zA-Z0-9_.-]{1,64}", 1 => ".{0,4}"];
    let name = (name, escapes()).prop_map(|(name, escapes)| written(&name, &escapes)).boxed();
    let records = prop_oneof![3 => members("Records", records), 1 => members("Record", record)];
    let trailing =
        prop_oneof![12 => Just(""), 1 => Just(" \n"), 1 => Just("{}"), 1 => Just("\0"), 1 => Just(",")];
    (members("DeliveryStreamName", name), records, any::<bool>(), space(), trailing).prop_map(
        |(name, records, name_first, space, trailing)| {
            let members = match name_first {
                true => name.into_iter().chain(records).collect(),
                false => records.into_iter().chain(name).collect(),
            };
            object(members, space) + trailing
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_scanner_reads_what_serde_json_reads_or_declines(body in odd_put()) {
        agree(body.as_bytes());
    }

    #[test]
    fn a_body_changed_at_any_byte_is_still_read_alike(body in odd_put(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut body = body.into_bytes();
        let at = at.index(body.len());
        if cut {
            body.truncate(at);
        } else {
            body[at] = byte;
        }
        agree(&body);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(body: Vec<u8>) {
        agree(&body);
    }

    /// What SDKs write must not fall back, or the scanner were of no use.
    #[test]
    fn what_sdks_write_is_read_by_the_scanner(
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20),
        blanks: bool,
        name_first: bool,
    ) {
        let records: Vec<Value> =
            records.iter().map(|record| serde_json::json!({"Data": STANDARD.encode(record)})).collect();
        let (colon, comma) = if blanks { (": ", ", ") } else { (":", ",") };
        let list = records.iter().map(|r| r.to_string().replace(':', colon)).collect::<Vec<_>>().join(comma);
        let (name, records) = (format!("\"DeliveryStreamName\"{colon}\"s\""), format!("\"Records\"{colon}[{list}]"));
        let (first, second) = if name_first { (name, records) } else { (records, name) };
        let body = format!("{{{first}{comma}{second}}}");
        prop_assert!(agree(body.as_bytes()), "{}", body);
    }
}
