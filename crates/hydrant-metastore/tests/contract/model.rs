//! Any order of calls leaves what a small model says: what may happen happens, what may not is refused and changes nothing.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use hydrant_metastore::{Error, Filter, Kind, Lease, Metastore, NewLoad, Uploaded};
use hydrant_types::{
    Batch, BatchId, BatchState, Lane, Load, LoadState, LogId, Position, StoredObject, Stream, StreamId,
};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::fixture::{
    Fixture, abandoned, error_output, is_lease_lost, later, object, planned, submitted, to_redshift, to_s3,
    uploaded,
};

/// Indexes are taken modulo what there is.
#[derive(Debug, Clone)]
enum Call {
    Seal { stream: usize, lane: Lane, records: u64, left: Left },
    SealWithGap { stream: usize, lane: Lane },
    SealAgain { batch: usize },
    Upload { batches: Vec<usize> },
    UploadAnother { batch: usize },
    Discard { batch: usize },
    Plan { stream: usize, most: usize },
    PlanAgain { load: usize },
    Advance { step: Step },
    AdvanceFromElsewhere { load: usize },
    TakeLeasesAgain,
    Sweep { limit: u32 },
    Reopen,
}

/// What processing will leave of a batch of the delivery.
#[derive(Debug, Clone, Copy)]
enum Left {
    All,
    Some,
    Nothing,
    NothingWithoutFailure,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Submit,
    Fail,
    Commit,
    Abandon,
}

fn call() -> impl Strategy<Value = Call> {
    let any = any::<usize>();
    let lane = || prop_oneof![3 => Just(Lane::Delivery), 1 => Just(Lane::Backup)];
    let left = prop_oneof![
        4 => Just(Left::All),
        2 => Just(Left::Some),
        1 => Just(Left::Nothing),
        1 => Just(Left::NothingWithoutFailure),
    ];
    prop_oneof![
        6 => (0usize..3, lane(), 1u64..20, left)
            .prop_map(|(stream, lane, records, left)| Call::Seal { stream, lane, records, left }),
        1 => (0usize..3, lane()).prop_map(|(stream, lane)| Call::SealWithGap { stream, lane }),
        2 => any.prop_map(|batch| Call::SealAgain { batch }),
        6 => prop::collection::vec(any, 1..4).prop_map(|batches| Call::Upload { batches }),
        1 => any.prop_map(|batch| Call::UploadAnother { batch }),
        2 => any.prop_map(|batch| Call::Discard { batch }),
        4 => (0usize..3, 1usize..4).prop_map(|(stream, most)| Call::Plan { stream, most }),
        1 => any.prop_map(|load| Call::PlanAgain { load }),
        6 => prop_oneof![Just(Step::Submit), Just(Step::Fail), Just(Step::Commit), Just(Step::Abandon)]
            .prop_map(|step| Call::Advance { step }),
        1 => any.prop_map(|load| Call::AdvanceFromElsewhere { load }),
        1 => Just(Call::TakeLeasesAgain),
        1 => (0u32..4).prop_map(|limit| Call::Sweep { limit }),
        1 => Just(Call::Reopen),
    ]
}

/// The stream that is being deleted.
const DELETING: usize = 2;

/// What is to be in the store, and the store.
struct World {
    fixture: Fixture,
    store: Arc<dyn Metastore>,
    streams: Vec<Stream>,
    log: LogId,
    log_lease: Lease,
    /// Both streams that go to Redshift load into one table.
    table_lease: Lease,
    /// Where each lane of each stream is sealed to.
    ends: BTreeMap<(usize, Lane), u64>,
    batches: Vec<Batch>,
    /// How each batch is uploaded, always so.
    uploads: HashMap<BatchId, Uploaded>,
    loads: Vec<NewLoad>,
    /// Grows with each call, so that each change has a time of its own.
    clock: u64,
}

impl World {
    async fn new(fixture: Fixture) -> Self {
        let streams = vec![
            fixture.stream("clicks", &to_s3()).await,
            fixture.stream("events", &to_redshift("t")).await,
            fixture.stream("orders", &to_redshift("t")).await,
        ];
        fixture.metastore.mark_deleting(streams[DELETING].id, later(0)).await.unwrap();
        let (log, log_lease) = fixture.log().await;
        let table_lease = fixture.table(&streams[1].destination.copy_target().unwrap()).await;
        let store = fixture.metastore.clone();
        let (ends, uploads) = (BTreeMap::new(), HashMap::new());
        let (batches, loads) = (Vec::new(), Vec::new());
        Self { fixture, store, streams, log, log_lease, table_lease, ends, batches, uploads, loads, clock: 0 }
    }

    async fn run(&mut self, call: &Call) {
        self.clock += 1;
        match call {
            Call::Seal { stream, lane, records, left } => self.seal(*stream, *lane, *records, *left).await,
            Call::SealWithGap { stream, lane } => self.seal_with_gap(*stream, *lane).await,
            Call::SealAgain { batch } => self.seal_again(*batch).await,
            Call::Upload { batches } => self.upload(batches).await,
            Call::UploadAnother { batch } => self.upload_another(*batch).await,
            Call::Discard { batch } => self.discard(*batch).await,
            Call::Plan { stream, most } => self.plan(*stream, *most).await,
            Call::PlanAgain { load } => self.plan_again(*load).await,
            Call::Advance { step } => self.advance(*step).await,
            Call::AdvanceFromElsewhere { load } => self.advance_from_elsewhere(*load).await,
            Call::TakeLeasesAgain => self.take_leases_again().await,
            Call::Sweep { limit } => self.sweep(*limit).await,
            Call::Reopen => self.store = self.fixture.reopened().await,
        }
    }

    fn end(&self, stream: usize, lane: Lane) -> u64 {
        self.ends.get(&(stream, lane)).copied().unwrap_or(0)
    }

    fn cut(&self, stream: usize, lane: Lane, from: u64, to: u64) -> Batch {
        match lane {
            Lane::Delivery => self.fixture.batch(&self.streams[stream], self.log, from, to),
            Lane::Backup => self.fixture.backup(&self.streams[stream], self.log, from, to),
        }
    }

    async fn seal(&mut self, stream: usize, lane: Lane, records: u64, left: Left) {
        let from = self.end(stream, lane);
        let mut batch = self.cut(stream, lane, from, from + records);
        (batch.sealed_at, batch.updated_at) = (later(self.clock), later(self.clock));
        batch.oldest_arrival = later(self.clock);
        self.store.seal_batches(&self.log_lease, std::slice::from_ref(&batch)).await.unwrap();
        self.ends.insert((stream, lane), from + records);
        let mut upload = uploaded(&batch);
        if lane == Lane::Delivery {
            match left {
                Left::All => {}
                Left::Some => upload.failed = vec![self.fixture.failed(1)],
                Left::Nothing => {
                    upload.object = None;
                    upload.failed = vec![self.fixture.failed(records)];
                }
                Left::NothingWithoutFailure => upload.object = None,
            }
        }
        self.uploads.insert(batch.id, upload);
        self.batches.push(batch);
    }

    async fn seal_with_gap(&mut self, stream: usize, lane: Lane) {
        if self.end(stream, lane) == 0 {
            return;
        }
        let from = self.end(stream, lane) + 1;
        let batch = self.cut(stream, lane, from, from + 1);
        let refused = self.store.seal_batches(&self.log_lease, &[batch]).await;
        assert!(matches!(refused, Err(Error::NotAdjacent { .. })), "{refused:?}");
    }

    async fn seal_again(&mut self, batch: usize) {
        let Some(at) = at(batch, &self.batches) else { return };
        let again = Batch { state: BatchState::Sealed, ..self.batches[at].clone() };
        self.store.seal_batches(&self.log_lease, &[again]).await.unwrap();
    }

    async fn upload(&mut self, batches: &[usize]) {
        let chosen: Vec<usize> = batches.iter().filter_map(|batch| at(*batch, &self.batches)).collect();
        let uploads: Vec<Uploaded> =
            chosen.iter().map(|at| self.uploads[&self.batches[*at].id].clone()).collect();
        let marked = self.store.mark_uploaded(&self.log_lease, &uploads, later(self.clock)).await;
        // One that was uploaded before it was discarded has that very object.
        if chosen.iter().any(|at| self.batches[*at].state == BatchState::Discarded { object: None }) {
            assert!(matches!(marked, Err(Error::BatchMoved { .. })), "{marked:?}");
            return;
        }
        marked.unwrap();
        for (at, upload) in chosen.into_iter().zip(uploads) {
            if self.batches[at].state == BatchState::Sealed {
                self.has_uploaded(at, upload);
            }
        }
    }

    fn has_uploaded(&mut self, at: usize, upload: Uploaded) {
        let now = later(self.clock);
        for failed in upload.failed {
            let beside = error_output(&self.batches[at], &failed, now);
            self.uploads.insert(beside.id, uploaded(&beside));
            self.batches.push(beside);
        }
        let batch = &mut self.batches[at];
        batch.state = match (upload.object, &batch.copy_target) {
            (None, _) => BatchState::Empty,
            (Some(object), None) => BatchState::Delivered { object },
            (Some(object), Some(_)) => BatchState::Uploaded { object },
        };
        batch.updated_at = now;
    }

    async fn discard(&mut self, batch: usize) {
        let Some(at) = at(batch, &self.batches) else { return };
        let (now, deleting) = (later(self.clock), self.streams[DELETING].id);
        let batch = &mut self.batches[at];
        let discarded = self.store.discard_batches(&self.log_lease, &[batch.id], now).await;
        match &batch.state {
            BatchState::Discarded { .. } => discarded.unwrap(),
            BatchState::Sealed | BatchState::Uploaded { .. } if batch.stream == deleting => {
                discarded.unwrap();
                batch.state = BatchState::Discarded { object: batch.state.object().cloned() };
                batch.updated_at = now;
            }
            BatchState::Sealed | BatchState::Uploaded { .. } => {
                assert_eq!(discarded.unwrap_err().kind(), Kind::Rejected);
            }
            _ => assert!(matches!(discarded, Err(Error::BatchMoved { .. })), "{discarded:?}"),
        }
    }

    async fn upload_another(&mut self, batch: usize) {
        let Some(at) = at(batch, &self.batches) else { return };
        let batch = &self.batches[at];
        if batch.state == BatchState::Sealed {
            return;
        }
        let other = Some(StoredObject { etag: "other".to_owned(), bytes: 1 });
        for object in [other, None] {
            if object.is_none() && batch.state == BatchState::Empty {
                continue;
            }
            let upload = Uploaded { object, ..uploaded(batch) };
            let refused = self.store.mark_uploaded(&self.log_lease, &[upload], later(self.clock)).await;
            assert!(matches!(refused, Err(Error::BatchMoved { .. })), "{refused:?}");
        }
    }

    async fn plan(&mut self, stream: usize, most: usize) {
        let Some(target) = self.streams[stream].destination.copy_target() else { return };
        let waits = |batch: &&Batch| {
            batch.stream == self.streams[stream].id && matches!(batch.state, BatchState::Uploaded { .. })
        };
        let expected: Vec<Batch> = self.batches.iter().filter(waits).take(most).cloned().collect();
        let found = self.store.waiting_batches(self.streams[stream].id, &target, most as u32).await.unwrap();
        assert_eq!(found, expected);
        if expected.is_empty() {
            return;
        }
        let mut new = self.fixture.load(&self.streams[stream], &expected);
        (new.load.planned_at, new.load.updated_at) = (later(self.clock), later(self.clock));
        let planned = self.store.plan_load(&self.table_lease, &new).await;
        if self.loads.iter().any(|other| !other.load.state.is_done()) {
            return assert!(matches!(planned, Err(Error::LoadMoved { .. })), "{planned:?}");
        }
        planned.unwrap();
        self.set_batches(&new, |object| BatchState::InLoad { object, load: new.load.id });
        self.loads.push(new);
    }

    async fn plan_again(&mut self, load: usize) {
        let Some(at) = at(load, &self.loads) else { return };
        let mut again = self.loads[at].clone();
        again.load.state = planned(1);
        self.store.plan_load(&self.table_lease, &again).await.unwrap();
    }

    async fn advance(&mut self, step: Step) {
        let Some(at) = self.loads.iter().position(|load| !load.load.state.is_done()) else { return };
        let state = self.loads[at].load.state.clone();
        let attempt = state.attempt();
        let next = match (step, &state) {
            (Step::Submit, LoadState::Planned { .. }) => submitted(attempt),
            (Step::Fail, LoadState::Submitted { .. }) => planned(attempt + 1),
            (Step::Commit, LoadState::Submitted { .. }) => LoadState::Committed { attempt, rows: Some(7) },
            (Step::Abandon, LoadState::Submitted { .. }) => match abandoned() {
                LoadState::Abandoned { errors_manifest_key, code, reason, .. } => {
                    LoadState::Abandoned { attempt, errors_manifest_key, code, reason }
                }
                _ => unreachable!(),
            },
            _ => return,
        };
        let now = later(self.clock);
        let id = self.loads[at].load.id;
        for _repetition in 0..2 {
            self.store.advance_load(&self.table_lease, id, &state, &next, None, now).await.unwrap();
        }
        let load: &mut Load = &mut self.loads[at].load;
        if matches!(next, LoadState::Submitted { .. }) {
            load.first_submitted_at.get_or_insert(now);
        }
        (load.state, load.updated_at) = (next.clone(), now);
        let new = self.loads[at].clone();
        match next {
            LoadState::Committed { .. } => {
                self.set_batches(&new, |object| BatchState::Loaded { object, load: id })
            }
            LoadState::Abandoned { reason, .. } => {
                self.set_batches(&new, |object| BatchState::Parked {
                    object,
                    load: id,
                    reason: reason.clone(),
                });
            }
            _ => {}
        }
    }

    async fn advance_from_elsewhere(&mut self, load: usize) {
        let Some(at) = at(load, &self.loads) else { return };
        let id = self.loads[at].load.id;
        let refused = self
            .store
            .advance_load(&self.table_lease, id, &planned(99), &submitted(99), None, later(self.clock))
            .await;
        assert!(matches!(refused, Err(Error::LoadMoved { .. })), "{refused:?}");
    }

    async fn take_leases_again(&mut self) {
        let former = self.log_lease.clone();
        self.log_lease = self.fixture.lease(&former.resource).await;
        self.table_lease = self.fixture.lease(&self.table_lease.resource).await;
        assert!(is_lease_lost(&self.store.seal_batches(&former, &[]).await));
    }

    /// Everything that is done is old; how many rows go is the limit's business, which ones is not.
    async fn sweep(&mut self, limit: u32) {
        let deleted = self.store.sweep(later(self.clock), limit).await.unwrap();
        assert!(deleted <= u64::from(limit));
        let mut gone = 0;
        for at in (0..self.batches.len()).rev() {
            if self.store.batch(self.batches[at].id).await.unwrap().is_none() {
                assert!(self.batches[at].state.is_done());
                self.batches.remove(at);
                gone += 1;
            }
        }
        for at in (0..self.loads.len()).rev() {
            let load = &self.loads[at];
            if self.store.load(load.load.id).await.unwrap().is_none() {
                assert!(load.load.state.is_done());
                assert!(!self.batches.iter().any(|batch| load.batches.contains(&batch.id)));
                self.loads.remove(at);
                gone += 1;
            } else {
                let batches = &self.batches;
                self.loads[at].batches.retain(|id| batches.iter().any(|batch| batch.id == *id));
            }
        }
        assert_eq!(deleted, gone);
    }

    fn set_batches(&mut self, new: &NewLoad, state: impl Fn(StoredObject) -> BatchState) {
        for batch in self.batches.iter_mut().filter(|batch| new.batches.contains(&batch.id)) {
            batch.state = state(object(batch.id));
            batch.updated_at = later(self.clock);
        }
    }

    /// What is in the store is what the model says, all of it.
    async fn check(&self) {
        let all = Filter { limit: 10_000, ..Filter::default() };
        let mut newest_first = self.batches.clone();
        newest_first.sort_by_key(|batch| (Reverse(batch.sealed_at), batch.id));
        assert_eq!(self.store.batches(&all).await.unwrap(), newest_first);
        let loads: Vec<Load> = self.loads.iter().rev().map(|load| load.load.clone()).collect();
        assert_eq!(self.store.loads(&all).await.unwrap(), loads);
        for load in &self.loads {
            let batches = self.store.load_batches(load.load.id).await.unwrap();
            let ids: Vec<BatchId> = batches.iter().map(|batch| batch.id).collect();
            assert_eq!(ids, load.batches);
        }
        let positions = self.store.sealed_to(self.log).await.unwrap();
        for stream in &self.streams {
            let of_stream = |batch: &&Batch| batch.stream == stream.id;
            let unfinished = |batch: &&Batch| {
                matches!(
                    batch.state,
                    BatchState::Sealed | BatchState::Uploaded { .. } | BatchState::InLoad { .. }
                )
            };
            let count = self.batches.iter().filter(of_stream).filter(unfinished).count() as u64;
            assert_eq!(self.store.unfinished_batches(stream.id).await.unwrap(), count);
        }
        assert_eq!(positions.len(), self.ends.len());
        for (&(stream, lane), &end) in &self.ends {
            let stream = self.streams[stream].id;
            let unsent = self.batches.iter().find(|batch| {
                (batch.stream, batch.content.lane()) == (stream, Some(lane))
                    && batch.state == BatchState::Sealed
            });
            let uploaded = unsent.map_or(Position(end), |batch| batch.range.from);
            let found = positions.iter().find(|to| (to.stream, to.lane) == (stream, lane)).unwrap();
            assert_eq!((found.sealed, found.uploaded), (Position(end), uploaded));
            self.check_where_records_are(stream, Position(end - 1)).await;
        }
    }

    async fn check_where_records_are(&self, stream: StreamId, position: Position) {
        let found = self.store.batches_at(self.log, stream, position).await.unwrap();
        let holds = |batch: &&Batch| batch.stream == stream && batch.range.contains(position);
        let mut expected: Vec<Batch> = self.batches.iter().filter(holds).cloned().collect();
        expected.sort_by_key(|batch| match batch.content.lane() {
            Some(Lane::Delivery) => 0,
            Some(Lane::Backup) => 1,
            None => 2,
        });
        assert_eq!(found, expected);
    }
}

fn at<T>(index: usize, among: &[T]) -> Option<usize> {
    index.checked_rem(among.len())
}

/// Runs `cases` lists of calls, each against a store of its own.
fn check<F>(cases: u32, fixture: impl Fn() -> F)
where
    F: Future<Output = Fixture>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(call(), 1..60), |calls| {
            runtime.block_on(async {
                let mut world = World::new(fixture().await).await;
                for call in &calls {
                    world.run(call).await;
                }
                world.check().await;
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_calls_leave_in_sqlite_what_the_model_says() {
    check(20, Fixture::sqlite);
}

#[test]
fn any_calls_leave_in_postgres_what_the_model_says() {
    check(12, Fixture::postgres);
}
