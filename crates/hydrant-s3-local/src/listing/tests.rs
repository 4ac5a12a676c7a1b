use proptest::prelude::*;

use super::*;
use crate::headers::Headers;
use crate::object::Checksums;

fn bucket<'a>(keys: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, Arc<Object>> {
    let object = |key: &str| Object {
        key: key.to_owned(),
        size_bytes: 0,
        etag: String::new(),
        modified_ms: 0,
        headers: Headers::default(),
        checksums: Checksums::default(),
    };
    keys.into_iter().map(|key| (key.to_owned(), Arc::new(object(key)))).collect()
}

fn shown(page: &Page) -> Vec<&str> {
    let keys = page.objects.iter().map(|object| object.key.as_str());
    keys.chain(page.prefixes.iter().map(String::as_str)).collect()
}

fn query<'a>(prefix: &'a str, delimiter: Option<&'a str>, after: &'a str, entries_max: usize) -> Query<'a> {
    Query { prefix, delimiter, after, entries_max }
}

#[test]
fn a_key_beside_its_own_folder_is_listed_as_both() {
    let bucket = bucket(["a", "a/b", "a//c", "b"]);
    let page = page(&bucket, query("", Some("/"), "", 10));
    assert_eq!(shown(&page), ["a", "b", "a/"]);
    assert_eq!(page.resume_after, None);
}

#[test]
fn a_double_slash_is_a_folder_without_a_name() {
    let bucket = bucket(["a//c", "a/b"]);
    assert_eq!(shown(&page(&bucket, query("a/", Some("/"), "", 10))), ["a/b", "a//"]);
}

#[test]
fn asking_for_nothing_is_answered_with_nothing() {
    let bucket = bucket(["a"]);
    let page = page(&bucket, query("", None, "", 0));
    assert!(shown(&page).is_empty() && page.resume_after.is_none());
}

#[test]
fn a_common_prefix_of_the_greatest_character_ends_the_list() {
    let key = format!("{0}{0}", char::MAX);
    let bucket = bucket([key.as_str(), "a"]);
    let delimiter = char::MAX.to_string();
    let page = page(&bucket, query("", Some(&delimiter), "", 10));
    assert_eq!(shown(&page), ["a", delimiter.as_str()]);
}

/// What the pages say together, by reading all keys.
fn expected(keys: &[String], prefix: &str, delimiter: Option<&str>) -> Vec<String> {
    let mut entries: Vec<String> = keys
        .iter()
        .filter(|key| key.starts_with(prefix))
        .map(|key| common_prefix(key, query(prefix, delimiter, "", 1)).unwrap_or(key).to_owned())
        .collect();
    entries.sort();
    entries.dedup();
    entries
}

proptest! {
    #[test]
    fn pages_of_any_size_show_every_entry_once(
        keys in proptest::collection::btree_set("[ab/\u{d7ff}]{1,5}", 0..40),
        prefix in "[ab/]{0,2}",
        delimiter in proptest::option::of("[/b]{1,2}"),
        entries_max in 1_usize..6,
    ) {
        let keys: Vec<String> = keys.into_iter().collect();
        let bucket = bucket(keys.iter().map(String::as_str));
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let page = page(&bucket, query(&prefix, delimiter.as_deref(), &after, entries_max));
            let mut entries: Vec<String> = shown(&page).into_iter().map(str::to_owned).collect();
            entries.sort();
            prop_assert!(entries.len() <= entries_max);
            seen.extend(entries);
            match page.resume_after {
                Some(last) => after = last,
                None => break,
            }
        }
        prop_assert_eq!(seen, expected(&keys, &prefix, delimiter.as_deref()));
    }
}
