//! The body of an operation that is no put, as a value.
//!
//! A value takes many times what its JSON does: three bytes, `{},`, become a few dozen, seven, `{"":0},`, some seven hundred. So values
//! are counted before they are made: there is a limit, and room is taken for each.

use serde_json::{Value, json};

use crate::{error::ApiError, put_json, shape};

/// The largest honest input has a few thousand: a table for each of a thousand kinds of records.
pub(crate) const VALUES_MAX: usize = 10_000;

/// The most that one value takes beside its text: an object with one member is a node of a B-tree with room for eleven.
const VALUE_BYTES: usize = 768;

/// Reads a body; anything but an object is refused. `take_room` is asked for the room that the values need beside the body's own before
/// they are made.
pub(crate) fn read(
    body: &[u8],
    take_room: impl FnOnce(usize) -> Result<(), ApiError>,
) -> Result<Value, ApiError> {
    // SDKs send `{}` for an empty input; nothing at all means the same.
    if body.is_empty() {
        return Ok(json!({}));
    }
    let values = values_at_most(body);
    if values > VALUES_MAX {
        return Err(ApiError::serialization(format!("The request has more than {VALUES_MAX} values.")));
    }
    take_room(values * VALUE_BYTES)?;
    match serde_json::from_slice(body) {
        Ok(input @ Value::Object(_)) => Ok(input),
        Ok(_) => Err(shape::wrong_type("", "an object")),
        Err(error) => Err(put_json::not_json(&error)),
    }
}

/// As many values as JSON can have in it at most: each but the outermost is the first in a list or an object, or comes after a comma.
/// What is no JSON has no more before the place where a parser gives up.
fn values_at_most(body: &[u8]) -> usize {
    let (mut values, mut in_text, mut escaped) = (1, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => values += 1,
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// What a value takes on the heap beside its texts, or more: an object's nodes have eleven places and are half full.
    fn heap_bytes(value: &Value) -> usize {
        match value {
            Value::Array(items) => {
                items.capacity() * size_of::<Value>() + items.iter().map(heap_bytes).sum::<usize>()
            }
            Value::Object(members) => {
                let node = 11 * size_of::<(String, Value)>() + 32;
                members.len().div_ceil(5) * node + members.values().map(heap_bytes).sum::<usize>()
            }
            _ => 0,
        }
    }

    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(items) => items.iter().map(count).sum(),
            Value::Object(members) => members.values().map(count).sum(),
            _ => 0,
        }
    }

    /// The room that was asked for, and what was read.
    fn read_all(body: &str) -> (usize, Result<Value, ApiError>) {
        let mut room = 0;
        let read = read(body.as_bytes(), |bytes| {
            room = bytes;
            Ok(())
        });
        (room, read)
    }

    #[test]
    fn the_bodies_that_grow_most_are_refused_or_have_room_for_all_of_it() {
        for piece in ["0", "[0]", "{}", r#"{"":0}"#, r#"{"":{"":{"":[0]}}}"#, "[[[[0]]]]", r#""","#] {
            let body = |bytes: usize| {
                format!(
                    r#"{{"Else":[{}null]}}"#,
                    format!("{piece},").replace(",,", ",").repeat(bytes / piece.len())
                )
            };
            let (room, refused) = read_all(&body(MIB));
            let error = refused.unwrap_err();
            assert_eq!((room, error.code), (0, "SerializationException"), "{piece}");
            let (room, read) = read_all(&body(2_000));
            let taken = heap_bytes(&read.unwrap());
            assert!(taken <= room && room <= VALUES_MAX * VALUE_BYTES, "{piece}: {taken} in {room}");
        }
    }

    #[test]
    fn commas_in_texts_are_no_values() {
        let columns = "a,b,[{\\\",".repeat(20_000);
        let (room, read) = read_all(&format!(r#"{{"DataTableColumns":"{columns}"}}"#));
        assert!(read.is_ok());
        assert_eq!(room, 2 * VALUE_BYTES);
    }

    #[test]
    fn nothing_is_made_without_room() {
        let refused = read(br#"{"a":1}"#, |_| Err(ApiError::unavailable())).unwrap_err();
        assert_eq!(refused.code, "ServiceUnavailableException");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            r#"[\[\{,"\\a]{0,6}"#.prop_map(Value::from)
        ];
        leaf.prop_recursive(5, 80, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(r#"[\[\{,"\\a]{0,3}"#, inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_value_is_without_room(inner in any_json()) {
            let input = json!({"Else": inner});
            let (room, read) = read_all(&input.to_string());
            let read = read.unwrap();
            prop_assert!(room >= count(&read) * VALUE_BYTES && room >= heap_bytes(&read));
            prop_assert_eq!(read, input);
        }
    }
}
