//! ClusterJDBCURL: which cluster or workgroup, region and database.

use std::sync::LazyLock;

use hydrant_types::Warehouse;
use regex::Regex;

/// What the URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) warehouse: Warehouse,
    pub(crate) region: String,
    pub(crate) database: String,
}

/// Whether the model's pattern matches, which looks ahead and behind: no label begins or ends with a dash.
pub(crate) fn matches(url: &str) -> bool {
    captures(url).is_some()
}

/// What stands before `redshift`, by labels; which of the two services; the database.
fn captures(url: &str) -> Option<(Vec<&str>, &str, &str)> {
    static URL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"^jdbc:(?:redshift|postgresql)://((?:[A-Za-z0-9-]{1,63}\.)+)(redshift(?:-serverless)?)\.[a-zA-Z0-9.-]+:[0-9]{1,5}/([a-zA-Z0-9_$-]+)$",
        )
        .expect("the pattern is a constant that a test compiles")
    });
    let (_, [labels, service, database]) = URL.captures(url)?.extract();
    let labels: Vec<&str> = labels.trim_end_matches('.').split('.').collect();
    let dashed = labels.iter().any(|label| label.starts_with('-') || label.ends_with('-'));
    (!dashed).then_some((labels, service, database))
}

/// The parts of a URL that [`matches`]; `None` where it names no region beside the cluster or workgroup.
///
/// `jdbc:redshift://<cluster>.<hash>.<region>.redshift.amazonaws.com:5439/<database>`, or
/// `jdbc:redshift://<workgroup>.<account>.<region>.redshift-serverless.amazonaws.com:5439/<database>`.
pub(crate) fn parse(url: &str) -> Option<Target> {
    let (labels, service, database) = captures(url)?;
    let [name, .., region] = labels.as_slice() else { return None };
    let warehouse = match service {
        "redshift-serverless" => Warehouse::Workgroup((*name).to_owned()),
        _ => Warehouse::Cluster((*name).to_owned()),
    };
    Some(Target { warehouse, region: (*region).to_owned(), database: database.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_and_workgroups_are_told_apart() {
        let cluster = parse("jdbc:redshift://shop.abc123.eu-west-1.redshift.amazonaws.com:5439/dev").unwrap();
        assert_eq!(cluster.warehouse, Warehouse::Cluster("shop".to_owned()));
        assert_eq!((cluster.region.as_str(), cluster.database.as_str()), ("eu-west-1", "dev"));
        let workgroup =
            parse("jdbc:redshift://wg.123456789012.us-east-1.redshift-serverless.amazonaws.com:5439/dev")
                .unwrap();
        assert_eq!(workgroup.warehouse, Warehouse::Workgroup("wg".to_owned()));
        for bad in [
            "jdbc:mysql://shop.abc.eu-west-1.redshift.amazonaws.com:5439/dev",
            "jdbc:redshift://-shop.abc.eu-west-1.redshift.amazonaws.com:5439/dev",
            "jdbc:redshift://shop.abc.eu-west-1.redshift.amazonaws.com/dev",
            "jdbc:redshift://shop.abc.eu-west-1.redshift.amazonaws.com:5439/",
            "jdbc:redshift://redshift.amazonaws.com:5439/dev",
            "jdbc:redshift://shop.abc.eu-west-1.redshift.amazonaws.com:٥٤٣٩/dev",
        ] {
            assert!(!matches(bad), "{bad}");
            assert_eq!(parse(bad), None, "{bad}");
        }
        let no_region = "jdbc:redshift://shop.redshift.amazonaws.com:5439/dev";
        assert!(matches(no_region) && parse(no_region).is_none());
    }
}
