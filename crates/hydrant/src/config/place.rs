//! Where a faulty key was given: which line of the file, or which variable.

use toml::de::{DeTable, DeValue};

use super::Environment;

/// `hydrant.toml: line 3: ` or `HYDRANT_API__LISTEN: `; nothing where `key` was given nowhere. `key` is as faults have it, such as
/// `auth.keys[0].streams`.
pub(super) fn of(key: &str, text: &str, name: &str, environment: &Environment) -> String {
    let variable = format!("HYDRANT_{}", key.replacen('.', "__", 1).to_ascii_uppercase());
    if environment.contains_key(&variable) {
        return format!("{variable}: ");
    }
    line_of(text, key).map(|line| format!("{name}: line {line}: ")).unwrap_or_default()
}

/// The line of `key`, counted from 1; of what is around it where it is missing itself.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut at = None;
    for part in key.split('.') {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
            None => (part, None),
        };
        let Some((found, value)) = table.get_key_value(name) else { break };
        at = Some(found.span().start);
        let mut value = value.get_ref();
        if let (DeValue::Array(array), Some(index)) = (value, index) {
            let Some(element) = array.get(index) else { break };
            at = Some(element.span().start);
            value = element.get_ref();
        }
        let DeValue::Table(inner) = value else { break };
        table = inner;
    }
    Some(text.get(..at?)?.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# ä\n[api]\nlisten = \"x\"\n[[auth.keys]]\naccess_key_id = \"a\"\n\n[[auth.keys]]\naccess_key_id = \"b\"\nstreams = []\n";

    #[test]
    fn a_key_is_on_its_line_and_a_missing_one_on_that_of_what_is_around_it() {
        for (key, line) in [
            ("api.listen", Some(3)),
            ("api.region", Some(2)),
            ("auth.keys[0].access_key_id", Some(5)),
            ("auth.keys[1].streams", Some(9)),
            ("auth.keys[1].actions", Some(7)),
            ("auth.keys[7].actions", Some(4)),
            ("metastore.url", None),
        ] {
            assert_eq!(line_of(TEXT, key), line, "{key}");
        }
    }

    #[test]
    fn a_variable_is_named_before_the_line_it_overrides() {
        let environment = [("HYDRANT_API__LISTEN".to_owned(), "y".to_owned())].into();
        assert_eq!(of("api.listen", TEXT, "h.toml", &environment), "HYDRANT_API__LISTEN: ");
        assert_eq!(of("api.listen", TEXT, "h.toml", &Environment::new()), "h.toml: line 3: ");
        assert_eq!(of("metastore.url", TEXT, "h.toml", &environment), "");
    }
}
