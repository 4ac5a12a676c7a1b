//! One page of a bucket's keys.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::object::Object;

/// What to list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a> {
    pub(crate) prefix: &'a str,
    /// Keys that have it after the prefix are shown as one common prefix up to it.
    pub(crate) delimiter: Option<&'a str>,
    /// Only what comes after this key or common prefix.
    pub(crate) after: &'a str,
    pub(crate) entries_max: usize,
}

/// Objects and common prefixes, each in order of their bytes.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) prefixes: Vec<String>,
    /// The last entry, where there are more: the next page's `after`.
    pub(crate) resume_after: Option<String>,
}

/// Lists at most `entries_max` entries, without walking through what a common prefix hides.
pub(crate) fn page(objects: &BTreeMap<String, Arc<Object>>, query: Query<'_>) -> Page {
    let mut page = Page::default();
    // Whoever asks for nothing gets nothing, and not the promise of more (S3 does the same).
    if query.entries_max == 0 {
        return page;
    }
    let mut last = String::new();
    let mut from = match query.after < query.prefix {
        true => Bound::Included(query.prefix.to_owned()),
        false => Bound::Excluded(query.after.to_owned()),
    };
    loop {
        let mut rest = objects.range::<str, _>((from.as_ref().map(String::as_str), Bound::Unbounded));
        let Some((key, object)) = rest.next() else { break };
        if !key.starts_with(query.prefix) {
            break;
        }
        let common = common_prefix(key, query);
        from = match common {
            Some(prefix) => after_all_with(prefix),
            None => Bound::Excluded(key.clone()),
        };
        let entry = common.unwrap_or(key);
        if entry <= query.after {
            continue;
        }
        if page.objects.len() + page.prefixes.len() == query.entries_max {
            page.resume_after = Some(last);
            break;
        }
        last = entry.to_owned();
        match common {
            Some(prefix) => page.prefixes.push(prefix.to_owned()),
            None => page.objects.push(Arc::clone(object)),
        }
    }
    page
}

fn common_prefix<'k>(key: &'k str, query: Query<'_>) -> Option<&'k str> {
    let delimiter = query.delimiter.filter(|delimiter| !delimiter.is_empty())?;
    let rest = &key[query.prefix.len()..];
    let end = query.prefix.len() + rest.find(delimiter)? + delimiter.len();
    Some(&key[..end])
}

/// The first text that does not start with `prefix` and is greater than all that do.
fn after_all_with(prefix: &str) -> Bound<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        if let Some(next) = successor(last) {
            text.push(next);
            return Bound::Included(text);
        }
    }
    // Nothing is greater than a text of greatest characters: an empty range at the end.
    Bound::Excluded(prefix.to_owned() + &char::MAX.to_string().repeat(KEY_CHARS_MAX))
}

/// Keys have at most 1024 bytes, so a longer text of greatest characters is greater than every key with that start.
const KEY_CHARS_MAX: usize = 1_025;

fn successor(character: char) -> Option<char> {
    // The code points between these two belong to UTF-16's surrogates and are no characters.
    match character {
        '\u{d7ff}' => Some('\u{e000}'),
        char::MAX => None,
        _ => char::from_u32(character as u32 + 1),
    }
}

#[cfg(test)]
mod tests;
