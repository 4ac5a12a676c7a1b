//! Changes of streams that exist, and how other nodes notice them.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use hydrant_metastore::{Error, Kind, NewStream, StreamChanges};
use hydrant_types::{
    CurrentKey, DataKeyId, Stream, StreamEncryption, StreamId, StreamStatus, StreamVersion, Tags,
    WrappedDataKey, limits,
};

use crate::fixture::{FIRST, Fixture, NOW, later, to_redshift, to_s3};

on_both!(
    a_stream_is_created_with_all_that_was_said_about_it,
    an_update_makes_a_version_and_the_former_one_stays,
    of_updates_from_one_version_one_wins,
    an_update_to_equal_settings_is_a_version_too,
    tags_are_set_and_removed_in_one_step,
    a_stream_has_no_more_tags_than_the_limit,
    changes_of_tags_at_once_add_up_and_stop_at_the_limit,
    encryption_is_replaced_only_where_it_is_as_expected,
    of_changes_of_encryption_at_once_one_wins,
    a_stream_is_taken_over_by_a_file_and_given_back,
    a_stream_that_is_being_deleted_is_changed_no_more,
    an_id_that_was_never_given_cannot_be_changed,
    a_change_is_repeated_without_counting_again,
    what_changed_is_read_and_nothing_else,
    who_begins_reads_every_stream_and_none_that_is_gone,
    a_revision_that_was_never_reached_finds_nothing,
    changes_made_at_once_are_all_seen_by_who_follows,
    an_import_keeps_all_that_was_said_about_a_stream,
);

fn tags<const N: usize>(pairs: [(&str, &str); N]) -> Tags {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn numbered(numbers: std::ops::Range<usize>) -> Tags {
    numbers.map(|number| (format!("key-{number}"), String::new())).collect()
}

/// Encrypted with the newest of `keys` data keys.
fn encrypted(keys: u32) -> StreamEncryption {
    let data_keys = (1..=keys)
        .map(|id| WrappedDataKey {
            id: DataKeyId(id),
            wrapped_by: "arn:aws:kms:us-east-1:000000000000:key/a".to_owned(),
            wrapped: format!("d3JhcHBlZA{id}=="),
        })
        .collect();
    StreamEncryption {
        current: Some(CurrentKey { key_arn: None, data_key: DataKeyId(keys) }),
        data_keys,
        changed_at: vec![NOW, later(1)],
    }
}

fn everything(name: &str) -> NewStream {
    NewStream {
        tags: tags([("team", "web"), ("Δ", ""), ("hydrant:note", "a \"quoted\" value")]),
        encryption: encrypted(2),
        declared_in: Some("streams/clicks.toml".to_owned()),
        ..NewStream::new(name.parse().unwrap(), to_s3())
    }
}

async fn now(fixture: &Fixture, stream: &Stream) -> Stream {
    fixture.metastore.stream(&stream.name).await.unwrap().unwrap()
}

async fn a_stream_is_created_with_all_that_was_said_about_it(fixture: Fixture) {
    let new = everything("clicks");
    let created = fixture.metastore.create_stream(&new, NOW).await.unwrap();
    assert_eq!((&created.tags, &created.encryption), (&new.tags, &new.encryption));
    assert_eq!(created.declared_in, new.declared_in);
    assert_eq!(now(&fixture, &created).await, created);
    let plain = fixture.stream("plain", &to_s3()).await;
    assert_eq!((plain.tags, plain.encryption, plain.declared_in), Default::default());
    assert_eq!(fixture.metastore.streams().await.unwrap()[0], created);
}

async fn an_update_makes_a_version_and_the_former_one_stays(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let clicks = metastore.create_stream(&everything("clicks"), NOW).await.unwrap();
    let other = fixture.stream("other", &to_s3()).await;
    let to = to_redshift("clicks");
    let updated = metastore.update_destination(clicks.id, FIRST, &to, later(5)).await.unwrap();
    let expected = Stream {
        version: StreamVersion(2),
        destination: to.clone(),
        updated_at: Some(later(5)),
        ..clicks.clone()
    };
    assert_eq!(updated, expected);
    assert_eq!(now(&fixture, &clicks).await, expected);
    assert_eq!(now(&fixture, &other).await, other);
    assert_eq!(metastore.destination(clicks.id, FIRST).await.unwrap(), Some(to_s3()));
    assert_eq!(metastore.destination(clicks.id, StreamVersion(2)).await.unwrap(), Some(to));
    for stale in [FIRST, StreamVersion(3)] {
        let error = metastore.update_destination(clicks.id, stale, &to_s3(), later(6)).await.unwrap_err();
        assert!(
            matches!(error, Error::VersionMoved { expected, found: StreamVersion(2), .. } if expected == stale),
            "{error}"
        );
        assert_eq!(error.kind(), Kind::Moved);
    }
    assert_eq!(now(&fixture, &clicks).await, expected);
}

async fn of_updates_from_one_version_one_wins(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let targets: Vec<_> = (0..8).map(|at| to_redshift(&format!("table_{at}"))).collect();
    let updates =
        targets.iter().map(|to| fixture.metastore.update_destination(stream.id, FIRST, to, later(1)));
    let (won, lost): (Vec<_>, Vec<_>) = join_all(updates).await.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.iter().all(|lost| matches!(lost, Err(Error::VersionMoved { .. }))), "{lost:?}");
    assert_eq!(now(&fixture, &stream).await, *won[0].as_ref().unwrap());
}

async fn an_update_to_equal_settings_is_a_version_too(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let again = fixture.metastore.update_destination(stream.id, FIRST, &to_s3(), later(1)).await.unwrap();
    assert_eq!((again.version, again.destination), (StreamVersion(2), stream.destination));
}

async fn tags_are_set_and_removed_in_one_step(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = metastore.create_stream(&everything("clicks"), NOW).await.unwrap();
    let set = tags([("team", "data"), ("cost", "7"), ("kept", "yes")]);
    let remove = ["Δ", "kept", "never there"].map(str::to_owned);
    metastore.change_tags(stream.id, &set, &remove).await.unwrap();
    let found = now(&fixture, &stream).await;
    let expected =
        tags([("team", "data"), ("cost", "7"), ("kept", "yes"), ("hydrant:note", "a \"quoted\" value")]);
    assert_eq!(found.tags, expected, "what is removed and set is set");
    assert_eq!(found, Stream { tags: expected, ..stream }, "nothing else changes");
}

async fn a_stream_has_no_more_tags_than_the_limit(fixture: Fixture) {
    const MAX: usize = limits::STREAM_TAGS_MAX;
    let metastore = &fixture.metastore;
    let full = NewStream { tags: numbered(0..MAX), ..everything("full") };
    let stream = metastore.create_stream(&full, NOW).await.unwrap();
    let revision = metastore.streams_revision().await.unwrap();
    let too_many = |result: Result<(), Error>| matches!(result, Err(Error::TooManyTags(MAX)));
    assert!(too_many(metastore.change_tags(stream.id, &tags([("one more", "")]), &[]).await));
    let new = NewStream { tags: numbered(0..MAX + 1), ..everything("fuller") };
    assert!(too_many(metastore.create_stream(&new, NOW).await.map(drop)));
    assert_eq!(metastore.streams_revision().await.unwrap(), revision);
    assert_eq!(metastore.streams().await.unwrap(), std::slice::from_ref(&stream));
    // One that is there already is no further one, and one in the place of another neither.
    metastore.change_tags(stream.id, &tags([("key-7", "seven")]), &[]).await.unwrap();
    metastore.change_tags(stream.id, &tags([("one more", "")]), &["key-8".to_owned()]).await.unwrap();
    let found = now(&fixture, &stream).await.tags;
    assert_eq!((found.len(), found["key-7"].as_str()), (MAX, "seven"));
}

async fn changes_of_tags_at_once_add_up_and_stop_at_the_limit(fixture: Fixture) {
    const MAX: usize = limits::STREAM_TAGS_MAX;
    let metastore = &fixture.metastore;
    let new = NewStream { tags: numbered(0..MAX - 3), ..everything("clicks") };
    let stream = metastore.create_stream(&new, NOW).await.unwrap();
    let sets: Vec<_> = (0..8).map(|at| tags([(format!("more-{at}").as_str(), "")])).collect();
    let changes = sets.iter().map(|set| metastore.change_tags(stream.id, set, &[]));
    let (done, refused): (Vec<_>, Vec<_>) = join_all(changes).await.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (3, 5));
    assert!(refused.iter().all(|refused| matches!(refused, Err(Error::TooManyTags(MAX)))), "{refused:?}");
    assert_eq!(now(&fixture, &stream).await.tags.len(), MAX);
}

async fn encryption_is_replaced_only_where_it_is_as_expected(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    let none = StreamEncryption::default();
    metastore.set_encryption(stream.id, &none, &encrypted(1)).await.unwrap();
    let error = metastore.set_encryption(stream.id, &none, &encrypted(2)).await.unwrap_err();
    assert!(matches!(error, Error::StreamMoved { .. }), "{error}");
    assert!(!error.to_string().contains("wrapped"), "{error}");
    metastore.set_encryption(stream.id, &encrypted(1), &encrypted(2)).await.unwrap();
    let found = now(&fixture, &stream).await;
    assert_eq!(found, Stream { encryption: encrypted(2), ..stream.clone() }, "nothing else changes");
    let stopped = StreamEncryption { current: None, ..encrypted(2) };
    metastore.set_encryption(stream.id, &encrypted(2), &stopped).await.unwrap();
    assert_eq!(now(&fixture, &stream).await.encryption, stopped);
}

async fn of_changes_of_encryption_at_once_one_wins(fixture: Fixture) {
    let stream = fixture.stream("clicks", &to_s3()).await;
    let (none, others): (_, Vec<_>) = (StreamEncryption::default(), (1..=8).map(encrypted).collect());
    let changes = others.iter().map(|next| fixture.metastore.set_encryption(stream.id, &none, next));
    let outcomes = join_all(changes).await;
    let won: Vec<_> = (0..8).filter(|at| outcomes[*at].is_ok()).collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    assert_eq!(now(&fixture, &stream).await.encryption, others[won[0]]);
}

async fn a_stream_is_taken_over_by_a_file_and_given_back(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = fixture.stream("clicks", &to_s3()).await;
    for file in [Some("a.toml"), Some("b.toml"), None] {
        metastore.set_declared_in(stream.id, file).await.unwrap();
        let expected = Stream { declared_in: file.map(str::to_owned), ..stream.clone() };
        assert_eq!(now(&fixture, &stream).await, expected);
    }
}

async fn a_stream_that_is_being_deleted_is_changed_no_more(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = metastore.create_stream(&everything("clicks"), NOW).await.unwrap();
    metastore.mark_deleting(stream.id, later(1)).await.unwrap();
    let deleting = now(&fixture, &stream).await;
    let revision = metastore.streams_revision().await.unwrap();
    for found in ["deleting", "removed"] {
        let refused = [
            metastore.update_destination(stream.id, FIRST, &to_s3(), later(2)).await.map(drop),
            metastore.change_tags(stream.id, &tags([("a", "b")]), &[]).await,
            metastore.set_encryption(stream.id, &stream.encryption, &StreamEncryption::default()).await,
        ];
        for refused in refused {
            let error = refused.unwrap_err();
            assert_eq!(error.to_string(), format!("stream {} is {found}, expected active", stream.id));
        }
        if found == "deleting" {
            assert_eq!(now(&fixture, &stream).await, deleting);
            assert_eq!(metastore.streams_revision().await.unwrap(), revision);
            // Its file may be gone before it is.
            metastore.set_declared_in(stream.id, None).await.unwrap();
            metastore.remove_stream(stream.id, later(3)).await.unwrap();
        }
    }
    assert!(matches!(
        metastore.set_declared_in(stream.id, Some("a.toml")).await,
        Err(Error::StreamMoved { .. })
    ));
}

async fn an_id_that_was_never_given_cannot_be_changed(fixture: Fixture) {
    let metastore = &fixture.metastore;
    for id in [StreamId(7), StreamId(u64::MAX)] {
        for refused in [
            metastore.update_destination(id, FIRST, &to_s3(), NOW).await.map(drop),
            metastore.change_tags(id, &Tags::new(), &[]).await,
            metastore.set_encryption(id, &encrypted(1), &encrypted(2)).await,
            metastore.set_declared_in(id, None).await,
        ] {
            assert!(matches!(refused, Err(Error::NoSuchStream(_))), "{refused:?}");
        }
    }
}

async fn a_change_is_repeated_without_counting_again(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let stream = metastore.create_stream(&everything("clicks"), NOW).await.unwrap();
    let (set, remove) = (tags([("cost", "7")]), ["team".to_owned()]);
    let none = StreamEncryption::default();
    let mut revisions = Vec::new();
    for _repetition in 0..2 {
        metastore.change_tags(stream.id, &set, &remove).await.unwrap();
        metastore.set_encryption(stream.id, &stream.encryption, &none).await.unwrap();
        metastore.set_declared_in(stream.id, Some("b.toml")).await.unwrap();
        revisions.push(metastore.streams_revision().await.unwrap());
    }
    assert_eq!(revisions, [4, 4], "the creation and three changes");
}

/// Follows the changes since `revision`, and says what they are by name and id.
async fn follow(fixture: &Fixture, revision: &mut u64) -> (Vec<String>, Vec<StreamId>) {
    let StreamChanges { revision: reached, changed, removed } =
        fixture.metastore.streams_changed(*revision).await.unwrap();
    assert_eq!(reached, fixture.metastore.streams_revision().await.unwrap());
    *revision = reached;
    let all = fixture.metastore.streams().await.unwrap();
    assert!(changed.iter().all(|stream| all.contains(stream)), "as they are now");
    (changed.iter().map(|stream| stream.name.to_string()).collect(), removed)
}

async fn what_changed_is_read_and_nothing_else(fixture: Fixture) {
    let metastore = &fixture.metastore;
    let streams = [
        metastore.create_stream(&everything("b"), NOW).await.unwrap(),
        fixture.stream("a", &to_s3()).await,
        fixture.stream("c", &to_redshift("c")).await,
    ];
    let [b, a, c] = streams.each_ref().map(|stream| stream.id);
    let mut at = 0;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(follow(&fixture, &mut at).await, (names(&["a", "b", "c"]), vec![]));
    assert_eq!(follow(&fixture, &mut at).await, (vec![], vec![]));
    metastore.update_destination(c, FIRST, &to_s3(), later(1)).await.unwrap();
    assert_eq!(follow(&fixture, &mut at).await, (names(&["c"]), vec![]));
    metastore.change_tags(b, &tags([("x", "y")]), &[]).await.unwrap();
    assert_eq!(follow(&fixture, &mut at).await, (names(&["b"]), vec![]));
    metastore.set_encryption(a, &StreamEncryption::default(), &encrypted(1)).await.unwrap();
    assert_eq!(follow(&fixture, &mut at).await, (names(&["a"]), vec![]));
    metastore.set_declared_in(c, Some("c.toml")).await.unwrap();
    metastore.mark_deleting(a, later(2)).await.unwrap();
    assert_eq!(follow(&fixture, &mut at).await, (names(&["a", "c"]), vec![]));
    metastore.remove_stream(a, later(3)).await.unwrap();
    let again = fixture.stream("a", &to_s3()).await;
    assert_eq!(follow(&fixture, &mut at).await, (names(&["a"]), vec![a]), "{} has the name now", again.id);
    metastore.import_stream(&Stream { id: StreamId(70), name: "d".parse().unwrap(), ..again }).await.unwrap();
    assert_eq!(follow(&fixture, &mut at).await, (names(&["d"]), vec![]));
}

async fn who_begins_reads_every_stream_and_none_that_is_gone(fixture: Fixture) {
    let metastore = &fixture.metastore;
    assert_eq!(follow(&fixture, &mut 0).await, (vec![], vec![]));
    let gone = fixture.stream("gone", &to_s3()).await.id;
    let deleting = metastore.create_stream(&everything("going"), NOW).await.unwrap().id;
    metastore.mark_deleting(gone, NOW).await.unwrap();
    metastore.remove_stream(gone, NOW).await.unwrap();
    metastore.mark_deleting(deleting, NOW).await.unwrap();
    let all = metastore.streams_changed(0).await.unwrap();
    assert_eq!((all.changed, all.removed), (metastore.streams().await.unwrap(), vec![]));
    assert_eq!(all.revision, 5);
    assert_eq!(metastore.streams_changed(1).await.unwrap().removed, [gone]);
    let going = &metastore.streams_changed(3).await.unwrap().changed[0];
    assert_eq!(going.status, StreamStatus::Deleting);
}

async fn a_revision_that_was_never_reached_finds_nothing(fixture: Fixture) {
    fixture.stream("clicks", &to_s3()).await;
    for ahead in [2, 1_000, u64::MAX] {
        let found = fixture.metastore.streams_changed(ahead).await.unwrap();
        assert_eq!(found, StreamChanges { revision: 1, changed: vec![], removed: vec![] });
    }
}

/// Changes whose transactions overlap must not become visible behind one who has read a later revision.
async fn changes_made_at_once_are_all_seen_by_who_follows(fixture: Fixture) {
    let mut streams = Vec::new();
    for at in 0..6 {
        streams.push(fixture.stream(&format!("s{at}"), &to_s3()).await);
    }
    let changing = std::cell::Cell::new(true);
    let change = async |stream: &Stream| {
        for number in 0..12 {
            let set = tags([("number", number.to_string().as_str())]);
            fixture.metastore.change_tags(stream.id, &set, &[]).await.unwrap();
        }
    };
    let changes = async {
        join_all(streams.iter().map(change)).await;
        changing.set(false);
    };
    let follow = async {
        let (mut known, mut at, mut looks) = (BTreeMap::new(), 0, 0);
        loop {
            // The last look begins after the last change.
            let last = !changing.get();
            let found = fixture.metastore.streams_changed(at).await.unwrap();
            at = found.revision;
            known.extend(found.changed.into_iter().map(|stream| (stream.name.clone(), stream)));
            looks += 1;
            if last {
                return (known.into_values().collect::<Vec<_>>(), looks);
            }
        }
    };
    let ((), (known, looks)) = tokio::join!(changes, follow);
    assert!(looks > 3, "looked {looks} times while there were changes");
    assert_eq!(known, fixture.metastore.streams().await.unwrap());
}

async fn an_import_keeps_all_that_was_said_about_a_stream(fixture: Fixture) {
    let created = fixture.metastore.create_stream(&everything("clicks"), NOW).await.unwrap();
    let stream = Stream { id: StreamId(40), name: "orders".parse().unwrap(), ..created };
    for _repetition in 0..2 {
        fixture.metastore.import_stream(&stream).await.unwrap();
    }
    assert_eq!(now(&fixture, &stream).await, stream);
}
