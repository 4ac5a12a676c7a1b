//! What a crash can leave at each step, and what is read then.

use tempfile::TempDir;

use super::{super::testing::stream, *};

const METASTORE: MetastoreId = MetastoreId(uuid::Uuid::from_u128(7));

fn past(revision: u64) -> Past {
    Past { metastore: METASTORE, revision }
}

fn ids(numbers: &[u64]) -> Vec<StreamId> {
    numbers.iter().copied().map(StreamId).collect()
}

/// A copy, and the table that it is of.
struct Site {
    dir: TempDir,
    copy: Copy,
    table: Snapshot,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (copy, content) = Copy::open(&dir.path().join("streams.json")).unwrap();
        assert!(content.is_none());
        Self { dir, copy, table: Snapshot::default() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("streams.json")
    }

    fn write(&mut self, revision: u64, changed: &[Stream], removed: &[u64]) {
        let (changed_ids, removed) =
            (changed.iter().map(|stream| stream.id).collect::<Vec<_>>(), ids(removed));
        self.table = self.table.with(changed.to_vec(), &removed);
        self.copy.write(past(revision), News::Some(&changed_ids, &removed), &self.table).unwrap();
    }

    /// Three lines: two streams, a third, and the first changed while the second is gone.
    fn with_three_lines() -> Self {
        let mut site = Self::new();
        site.write(2, &[stream(1, "a", 1), stream(2, "b", 1)], &[]);
        site.write(3, &[stream(3, "c", 1)], &[]);
        site.write(5, &[stream(1, "a", 2)], &[2]);
        assert_eq!(site.lines(), 3);
        site
    }

    fn lines(&self) -> usize {
        std::fs::read_to_string(self.path()).unwrap().lines().count()
    }

    /// What another process reads.
    fn reopened(&self) -> (Copy, Past, Snapshot) {
        let (copy, content) = Copy::open(&self.path()).unwrap();
        let content = content.unwrap();
        (copy, content.past, Snapshot::new(content.streams))
    }

    fn says(&self, revision: u64, table: &Snapshot) {
        let (_, found, streams) = self.reopened();
        assert_eq!(found, past(revision));
        assert_eq!(streams.streams(), table.streams());
    }

    fn refusal(&self) -> String {
        match Copy::open(&self.path()) {
            Err(Error::BadCopy { path, reason }) if path == self.path() => reason,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn lines_say_together_what_the_table_is() {
    let mut site = Site::with_three_lines();
    site.says(5, &site.table);
    // Appended to by who reads it, too.
    site.copy = site.reopened().0;
    site.write(6, &[stream(4, "b", 1)], &[]);
    assert_eq!(site.lines(), 4);
    site.says(6, &site.table);
}

#[test]
fn a_last_line_that_was_cut_at_any_byte_is_left_out_and_the_next_change_is_kept() {
    let mut site = Site::with_three_lines();
    let whole = std::fs::read(site.path()).unwrap();
    let after = site.table.clone();
    let start = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let before = after.with(vec![stream(1, "a", 1), stream(2, "b", 1)], &[]);
    for len in start..whole.len() {
        std::fs::write(site.path(), &whole[..len]).unwrap();
        site.says(3, &before);
        if (len - start) % 50 == 0 || len + 2 > whole.len() {
            (site.copy, site.table) = (site.reopened().0, before.clone());
            site.write(9, &[stream(9, "z", 1)], &[]);
            site.says(9, &site.table);
            assert!(std::fs::read(site.path()).unwrap().ends_with(b"\n"));
        }
    }
    std::fs::write(site.path(), &whole).unwrap();
    site.says(5, &after);
}

#[test]
fn a_last_line_of_which_pages_are_missing_is_left_out() {
    let site = Site::with_three_lines();
    let mut bytes = std::fs::read(site.path()).unwrap();
    let middle = bytes.len() - 40;
    bytes[middle..middle + 20].fill(0);
    std::fs::write(site.path(), &bytes).unwrap();
    assert_eq!(site.reopened().1, past(3));
    // The length is there, and nothing of the line.
    bytes.truncate(bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1);
    bytes.extend([0; 100]);
    std::fs::write(site.path(), &bytes).unwrap();
    assert_eq!(site.reopened().1, past(3));
}

#[test]
fn what_no_crash_leaves_is_refused_with_its_line() {
    let site = Site::with_three_lines();
    let text = std::fs::read_to_string(site.path()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let elsewhere = text.replace(&METASTORE.to_string(), "00000000-0000-0000-0000-000000000008");
    let elsewhere = elsewhere.split_inclusive('\n').next_back().unwrap();
    for (line, bytes) in [
        (1, String::new()),
        (1, lines[0][..lines[0].len() / 2].to_owned()),
        (1, format!("\0{text}")),
        (2, [lines[0], "{}\n", lines[2]].concat()),
        (2, [lines[0], "\0\n", lines[2]].concat()),
        (2, [lines[0], "\n", lines[2]].concat()),
        (2, lines[0].to_owned() + &lines[1].replace("\"id\"", "\"no\"")),
        (3, text.replacen("\"revision\":5", "\"revision\":2", 1)),
        (3, [lines[0], lines[1], elsewhere].concat()),
    ] {
        std::fs::write(site.path(), &bytes).unwrap();
        let refusal = site.refusal();
        assert!(refusal.starts_with(&format!("line {line}: ")), "{refusal} for {bytes}");
    }
}

#[test]
fn the_older_format_is_read_and_replaced_by_the_next_change() {
    let mut site = Site::new();
    let mut old_stream = serde_json::to_value(stream(1, "a", 1)).unwrap();
    for newer in ["tags", "encryption", "declared_in"] {
        old_stream.as_object_mut().unwrap().remove(newer).unwrap();
    }
    let old = serde_json::json!({"metastore": METASTORE, "revision": 4, "streams": [old_stream]});
    std::fs::write(site.path(), old.to_string()).unwrap();
    site.table = Snapshot::new([Stream { tags: Default::default(), ..stream(1, "a", 1) }]);
    site.says(4, &site.table);
    site.copy = site.reopened().0;
    site.write(5, &[stream(2, "b", 1)], &[]);
    assert_eq!(site.lines(), 1);
    site.write(6, &[stream(3, "c", 1)], &[]);
    assert_eq!(site.lines(), 2);
    site.says(6, &site.table);
}

#[test]
fn a_copy_is_replaced_before_it_is_far_longer_than_the_table() {
    let mut site = Site::new();
    let mut replaced = 0;
    for revision in 1..=700 {
        let number = revision % 20;
        let removed = (revision % 7 == 0).then_some(number);
        let changed = (revision % 7 != 0).then(|| stream(number, &format!("s{number}"), revision as u32));
        let before = if site.path().exists() { site.lines() } else { 0 };
        site.write(revision, changed.as_slice(), removed.as_slice());
        let lines = site.lines();
        assert!(lines <= 2 * 20 + EXTRA_ENTRIES + 2, "{lines} lines");
        replaced += usize::from(lines < before);
        if revision % 100 == 0 {
            site.says(revision, &site.table);
            site.copy = site.reopened().0;
        }
    }
    assert!((2..=3).contains(&replaced), "{replaced} times");
    site.says(700, &site.table);
}

#[test]
fn a_replacement_that_a_crash_interrupts_leaves_the_copy_as_it_was() {
    let mut site = Site::with_three_lines();
    let temporary = site.dir.path().join("streams.tmp");
    let new = line(past(9), vec![&stream(9, "z", 1)], &[]);
    for len in [0, 1, new.len() / 2, new.len()] {
        std::fs::write(&temporary, &new[..len]).unwrap();
        site.says(5, &site.table);
    }
    // What was left is in nobody's way, nor longer than what replaces it.
    std::fs::write(&temporary, [b'x'; 100_000]).unwrap();
    site.copy.write(past(6), News::All, &site.table).unwrap();
    site.says(6, &site.table);
    assert_eq!(site.lines(), 1);
    assert!(!temporary.exists());
}

#[test]
fn after_a_write_that_failed_everything_is_written() {
    let mut site = Site::with_three_lines();
    // Somebody puts an older file there: what is appended to it would not follow.
    let text = std::fs::read_to_string(site.path()).unwrap();
    std::fs::write(site.path(), text.lines().next().unwrap().to_owned() + "\n").unwrap();
    site.table = site.table.with(vec![stream(4, "d", 1)], &[]);
    let change = ids(&[4]);
    site.copy.write(past(6), News::Some(&change, &[]), &site.table).unwrap_err();
    site.copy.write(past(6), News::Some(&change, &[]), &site.table).unwrap();
    assert_eq!(site.lines(), 1);
    site.says(6, &site.table);
    std::fs::remove_file(site.path()).unwrap();
    site.copy.write(past(7), News::Some(&[], &[]), &site.table).unwrap_err();
    assert!(!site.path().exists(), "nothing is appended to a file that is not there");
    site.copy.write(past(7), News::Some(&[], &[]), &site.table).unwrap();
    site.says(7, &site.table);
}
