//! Names as users write them, made safe to stand in SQL.
//!
//! Table and columns come from whoever may create streams. What is a name stays as it is written; what is none, such as
//! `events; DROP TABLE x`, becomes one quoted name, which no table has. So text never leaves its place in the statement.

/// A table's name, and the schema (or database and schema) before it.
pub(crate) struct TableName<'a> {
    schema: Vec<&'a str>,
    name: &'a str,
}

impl<'a> TableName<'a> {
    pub(crate) fn parse(table: &'a str) -> Self {
        let mut schema = split(table, '.');
        let name = schema.pop().unwrap_or_default();
        Self { schema, name }
    }

    /// As it is written in SQL.
    pub(crate) fn sql(&self) -> String {
        self.with_name(&part(self.name))
    }

    /// Another table of the same schema; `name` is SQL.
    pub(crate) fn with_name(&self, name: &str) -> String {
        let mut sql: String = self.schema.iter().map(|schema| part(schema) + ".").collect();
        sql.push_str(name);
        sql
    }

    /// The name itself: without quotes, in the case that Redshift compares.
    pub(crate) fn plain(&self) -> Plain {
        match inner(self.name) {
            Some(inner) => Plain { text: inner.replace("\"\"", "\""), is_quoted: true },
            None if is_bare(self.name) => Plain { text: self.name.to_lowercase(), is_quoted: false },
            None => Plain { text: self.name.to_owned(), is_quoted: true },
        }
    }
}

/// A name without its quotes.
pub(crate) struct Plain {
    pub(crate) text: String,
    /// It needs them.
    pub(crate) is_quoted: bool,
}

/// A column list as it is written in SQL, without parentheses.
pub(crate) fn columns(list: &str) -> String {
    split(list, ',').into_iter().map(part).collect::<Vec<_>>().join(", ")
}

/// A name in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal. Redshift reads backslashes in it as escapes.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Splits at `separator` outside of quotes; the parts are trimmed.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    let at_separator = |c: char| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    };
    text.split(at_separator).map(str::trim).collect()
}

fn part(name: &str) -> String {
    if is_bare(name) || inner(name).is_some() { name.to_owned() } else { quoted(name) }
}

/// Redshift's rule for names without quotes.
fn is_bare(name: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '#' || !c.is_ascii();
    let continues = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii();
    let mut characters = name.chars();
    characters.next().is_some_and(begins) && characters.all(continues) && !name.contains(char::is_whitespace)
}

/// What is between a name's quotes, those within still doubled.
fn inner(name: &str) -> Option<&str> {
    let inner = name.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.is_empty() && !inner.replace("\"\"", "").contains('"')).then_some(inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sql(table: &str) -> String {
        TableName::parse(table).sql()
    }

    #[test]
    fn names_stay_as_they_are_written() {
        for table in
            ["events", "shop.Events", "dev.shop.events_2$", "\"My.Schema\".\"My \"\"Table\"\"\"", "größe"]
        {
            assert_eq!(sql(table), table);
        }
        assert_eq!(sql(" shop . events "), "shop.events");
        assert_eq!(columns("id,\"Kind, of\" ,at"), "id, \"Kind, of\", at");
    }

    #[test]
    fn what_is_no_name_becomes_one() {
        assert_eq!(sql("events; DROP TABLE x"), "\"events; DROP TABLE x\"");
        assert_eq!(sql("events (id) FROM 's3://x' --"), "\"events (id) FROM 's3://x' --\"");
        assert_eq!(sql("\"a\"b\""), "\"\"\"a\"\"b\"\"\"");
        assert_eq!(sql("\"unclosed"), "\"\"\"unclosed\"");
        assert_eq!(sql(""), "\"\"");
        assert_eq!(
            columns("id) FROM 's3://x' CSV; DROP TABLE y; --"),
            "\"id) FROM 's3://x' CSV; DROP TABLE y; --\""
        );
        assert_eq!(literal(r"it's \ here"), r"'it''s \\ here'");
    }

    /// What is outside of double quotes.
    fn outside(sql: &str) -> String {
        sql.split('"').step_by(2).collect()
    }

    proptest! {
        #[test]
        fn nothing_but_names_and_separators_is_ever_outside_of_quotes(text in "[a-z0-9\"';,. ()$\\\\-]{0,30}") {
            for (sql, separators) in [(sql(&text), "."), (columns(&text), ", ")] {
                prop_assert_eq!(sql.matches('"').count() % 2, 0, "{}", sql);
                let outside = outside(&sql);
                let stray = outside.chars().find(|c| {
                    !(c.is_ascii_alphanumeric() || "_$".contains(*c) || separators.contains(*c))
                });
                prop_assert_eq!(stray, None, "{}", sql);
            }
        }

        #[test]
        fn a_literal_ends_where_it_ends(text in "[a'\\\\;]{0,20}") {
            let literal = literal(&text);
            let inside = &literal[1..literal.len() - 1];
            prop_assert!(!inside.replace("''", "").contains('\''));
            prop_assert_eq!(inside.replace("\\\\", "").matches('\\').count(), 0);
        }
    }
}
