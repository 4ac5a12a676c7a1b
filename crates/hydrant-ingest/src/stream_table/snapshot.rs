//! One state of the table.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use hydrant_types::{Stream, StreamId};

/// One state of the table. A new one shares all that did not change: what it costs are three copies of pointers, about a tenth of a
/// millisecond for the 5,000 streams that there may be.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    by_name: HashSet<Named>,
    by_id: HashMap<StreamId, Arc<Stream>>,
    /// In order of their names.
    ordered: Vec<Arc<Stream>>,
}

/// A part of the streams in order of their names.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// At most as many as were asked for.
    pub streams: &'a [Arc<Stream>],
    /// Whether more follow.
    pub has_more: bool,
}

impl Snapshot {
    /// Of streams whose names and ids differ.
    pub(super) fn new(streams: impl IntoIterator<Item = Stream>) -> Self {
        let mut ordered: Vec<_> = streams.into_iter().map(Arc::new).collect();
        ordered.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Self {
            by_name: ordered.iter().cloned().map(Named).collect(),
            by_id: ordered.iter().map(|stream| (stream.id, stream.clone())).collect(),
            ordered,
        }
    }

    /// Without `removed`, and with `changed` as they are now.
    pub(super) fn with(&self, changed: Vec<Stream>, removed: &[StreamId]) -> Self {
        let mut next = self.clone();
        // First: a new stream may have the name of one that is gone.
        removed.iter().for_each(|id| next.remove(*id));
        changed.into_iter().for_each(|stream| next.put(stream));
        next
    }

    fn remove(&mut self, id: StreamId) {
        let Some(stream) = self.by_id.remove(&id) else { return };
        self.by_name.remove(stream.name.as_str());
        if let Ok(at) = self.place(stream.name.as_str()) {
            self.ordered.remove(at);
        }
    }

    fn put(&mut self, stream: Stream) {
        let stream = Arc::new(stream);
        match self.place(stream.name.as_str()) {
            Ok(at) => self.ordered[at] = stream.clone(),
            Err(at) => self.ordered.insert(at, stream.clone()),
        }
        self.by_name.replace(Named(stream.clone()));
        self.by_id.insert(stream.id, stream);
    }

    /// Where a name is, or belongs.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.ordered.binary_search_by(|stream| stream.name.as_str().cmp(name))
    }

    /// The stream of this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Stream>> {
        self.by_name.get(name).map(|Named(stream)| stream)
    }

    /// The stream with this id.
    pub fn by_id(&self, id: StreamId) -> Option<&Arc<Stream>> {
        self.by_id.get(&id)
    }

    /// All of them, by name.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.ordered.clone()
    }

    /// Those whose names come after `after` (all after an empty text), by name, `limit` of them at most. Costs what the page holds.
    pub fn page(&self, after: &str, limit: usize) -> Page<'_> {
        let from = self.place(after).map_or_else(|before| before, |there| there + 1);
        let rest = &self.ordered[from..];
        Page { streams: &rest[..limit.min(rest.len())], has_more: rest.len() > limit }
    }

    pub(super) fn ordered(&self) -> &[Arc<Stream>] {
        &self.ordered
    }
}

/// A stream that is looked for by its name.
#[derive(Debug, Clone)]
struct Named(Arc<Stream>);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        self.0.name.as_str()
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.as_str().hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Named {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::testing::stream, *};

    fn names(streams: &[Arc<Stream>]) -> Vec<&str> {
        streams.iter().map(|stream| stream.name.as_str()).collect()
    }

    proptest! {
        /// Step by step it becomes what it would be if it were made anew.
        #[test]
        fn a_table_that_was_changed_is_as_if_made_anew(
            steps in prop::collection::vec((any::<bool>(), 0usize..8, 0u32..3), 0..40)
        ) {
            let (mut table, mut model) = (Snapshot::default(), Vec::<Stream>::new());
            for (last_id, (removes, number, version)) in steps.into_iter().enumerate() {
                let name = format!("s{number}");
                let there = model.iter().position(|stream| stream.name.as_str() == name);
                let gone = there.filter(|_| removes).map(|at| model.remove(at).id);
                // A name that has just become free is given again at once.
                let id = there.filter(|_| !removes).map_or(last_id as u64 + 1, |at| model.remove(at).id.0);
                let changed = stream(id, &name, version);
                model.push(changed.clone());
                table = table.with(vec![changed], gone.as_slice());
                if version == 0 {
                    let last = model.pop().expect("just pushed").id;
                    table = table.with(vec![], &[last, StreamId(9_999)]);
                }
                let anew = Snapshot::new(model.clone());
                prop_assert_eq!(table.streams(), anew.streams());
                prop_assert_eq!(&table.by_id, &anew.by_id);
                prop_assert_eq!(table.by_name.len(), model.len());
                for stream in &model {
                    prop_assert_eq!(&**table.by_name(stream.name.as_str()).unwrap(), stream);
                    prop_assert_eq!(&**table.by_id(stream.id).unwrap(), stream);
                }
            }
        }
    }

    #[test]
    fn a_page_begins_behind_a_name_that_need_not_be_there() {
        let table = Snapshot::new(["b", "d", "a", "c"].iter().zip(1..).map(|(name, id)| stream(id, name, 1)));
        let page = |after, limit| {
            let page = table.page(after, limit);
            (names(page.streams), page.has_more)
        };
        assert_eq!(page("", 10), (vec!["a", "b", "c", "d"], false));
        assert_eq!(page("", 2), (vec!["a", "b"], true));
        assert_eq!(page("b", 2), (vec!["c", "d"], false));
        assert_eq!(page("bb", 1), (vec!["c"], true));
        assert_eq!(page("d", 1), (vec![], false));
        assert_eq!(page("zz", 1), (vec![], false));
        assert_eq!(page("", 0), (vec![], true));
        assert!(!Snapshot::default().page("", 0).has_more);
    }

    #[test]
    fn what_does_not_change_is_shared() {
        let before = Snapshot::new([stream(1, "a", 1), stream(2, "b", 1)]);
        let after = before.with(vec![stream(2, "b", 2)], &[]);
        assert!(Arc::ptr_eq(before.by_name("a").unwrap(), after.by_name("a").unwrap()));
        assert_eq!(before.by_name("b").unwrap().version.0, 1, "what somebody holds stays as it is");
    }
}
