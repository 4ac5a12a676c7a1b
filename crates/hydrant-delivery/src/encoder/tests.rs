//! Objects are read here by other libraries and by the letter of each format; other programs read them in the end-to-end tests.

use std::io::Read as _;

use flate2::read::{DeflateDecoder, GzDecoder, MultiGzDecoder};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::decoder;

const BATCH: BatchId = BatchId(Uuid::from_u128(0xc035_7a0f_495d_4eb6_9383_66b7_d934_7e15));

fn at_level(compression: Compression, level: u32) -> Encoding {
    Encoding { level, ..Encoding::of(compression) }
}

fn in_members(member_bytes: u64) -> Encoding {
    Encoding { gzip_member_size: Some(ByteSize(member_bytes)), ..at_level(Compression::Gzip, 1) }
}

fn encode(encoding: Encoding, parts: &[impl AsRef<[u8]>]) -> Body {
    let mut encoder = Encoder::new(encoding);
    parts.iter().for_each(|part| encoder.write(part.as_ref()));
    encoder.finish(BATCH)
}

fn some_compression() -> impl Strategy<Value = Compression> {
    prop::sample::select(Compression::ALL.to_vec())
}

/// Every encoding whose length has another rule.
fn every_encoding() -> Vec<Encoding> {
    let levels = |compression| (1..=9).map(move |level| at_level(compression, level));
    let others =
        [Compression::Uncompressed, Compression::Snappy, Compression::HadoopSnappy].map(Encoding::of);
    let members = in_members(4096);
    levels(Compression::Gzip).chain(levels(Compression::Zip)).chain(others).chain([members]).collect()
}

#[test]
fn the_same_records_are_recognised_however_they_come_and_whatever_they_become() {
    let records = b"{\"a\":1}{\"a\":2}{\"a\":3}".repeat(30_000);
    let parts: Vec<&[u8]> = records.chunks(77).collect();
    for encoding in every_encoding() {
        let (whole, parts) = (encode(encoding, &[&records]), encode(encoding, &parts));
        assert_eq!(whole.records_crc32, crc32fast::hash(&records));
        assert_eq!(parts.records_crc32, whole.records_crc32);
        assert_eq!(whole.crc32, crc32fast::hash(&whole.bytes));
    }
}

#[test]
fn no_object_is_longer_than_the_bound_that_its_memory_is_taken_by() {
    // Bytes from 144 on have deflate's longest fixed codes.
    let mut random = fastrand::Rng::with_seed(7);
    for length in [0, 1, 1000, 32_768, 300_000, 1_000_000] {
        let records: Vec<u8> = (0..length).map(|_| random.u8(144..)).collect();
        for encoding in every_encoding() {
            let bound = encoding.object_bytes_max(length);
            let mut encoder = Encoder::with_capacity(encoding, bound as usize);
            let room = encoder.output.as_ptr();
            records.chunks(65_536).for_each(|part| encoder.write(part));
            let object = encoder.finish(BATCH).bytes;
            assert!(object.len() as u64 <= bound, "{encoding:?}: {length} bytes became {}", object.len());
            // An empty vector has no place.
            assert!(length == 0 || object.as_ptr() == room, "{encoding:?}: it never had to grow");
        }
    }
}

#[test]
fn a_new_encoder_takes_what_it_is_said_to_take() {
    for encoding in every_encoding() {
        assert_eq!(Encoder::new(encoding).memory(), encoding.memory_first(), "{encoding:?}");
    }
    for framing in [Framing::Xerial, Framing::Hadoop] {
        let blocks = Blocks::new(framing, &mut Vec::new());
        assert_eq!(framing.memory(), 36 * 1024 + blocks.memory_in_vectors());
    }
}

#[test]
fn a_higher_level_makes_smaller_objects() {
    let record = |n: u64| {
        format!("{{\"n\":{n},\"name\":\"customer {}\",\"price\":{}}}\n", n * 7919 % 1000, n * n % 997)
    };
    let records: String = (0..5000).map(record).collect();
    for compression in [Compression::Gzip, Compression::Zip] {
        let length = |level| encode(at_level(compression, level), &[&records]).bytes.len();
        let (fast, middle, small) = (length(1), length(6), length(9));
        assert!(fast > middle && middle >= small, "{fast}, {middle}, {small}");
    }
}

#[test]
fn levels_out_of_range_are_taken_for_the_nearest() {
    for compression in [Compression::Gzip, Compression::Zip] {
        for (given, taken) in [(0, 1), (99, 9)] {
            let encode = |level| encode(at_level(compression, level), &[b"abcabcabc".repeat(500)]).bytes;
            assert_eq!(encode(given), encode(taken));
        }
    }
}

#[test]
fn a_member_begins_where_the_one_before_is_full_and_none_is_empty() {
    let records = b"0123456789".repeat(100);
    for (member_bytes, members) in [(1000, 1), (999, 2), (500, 2), (100, 10), (1, 1000)] {
        let mut rest = &encode(in_members(member_bytes), &[&records]).bytes[..];
        let mut found = 0;
        while !rest.is_empty() {
            let mut decoder = flate2::bufread::GzDecoder::new(rest);
            let mut member = Vec::new();
            decoder.read_to_end(&mut member).unwrap();
            assert!(!member.is_empty() && member.len() as u64 <= member_bytes);
            rest = decoder.into_inner();
            found += 1;
        }
        assert_eq!(found, members, "of {member_bytes} bytes");
    }
}

#[test]
fn a_content_encoding_is_named_unless_it_is_not_wanted() {
    for compression in Compression::ALL {
        let said = Encoding::of(compression);
        assert_eq!(encode(said, &[b"x"]).content_encoding, compression.content_encoding());
        let unsaid = Encoding { content_encoding: false, ..said };
        assert_eq!(encode(unsaid, &[b"x"]).content_encoding, None);
    }
}

/// As APPNOTE.TXT lays it out, from the end to the front, as readers do.
#[test]
fn a_zip_archives_directory_points_at_its_one_entry() {
    let records = b"{\"a\":1}\n".repeat(1000);
    let archive = encode(Encoding::of(Compression::Zip), &[&records]).bytes;
    let short = |at: usize| usize::from(u16::from_le_bytes([archive[at], archive[at + 1]]));
    let long = |at: usize| short(at) + (short(at + 2) << 16);
    let end = archive.len() - 22;
    assert_eq!(&archive[end..end + 4], b"PK\x05\x06");
    assert_eq!((short(end + 8), short(end + 10), short(end + 20)), (1, 1, 0), "one entry and no comment");
    let central = long(end + 16);
    assert_eq!((&archive[central..central + 4], central + long(end + 12)), (&b"PK\x01\x02"[..], end));
    assert_eq!(&archive[central + 46..end], b"c0357a0f-495d-4eb6-9383-66b7d9347e15", "the batch's id");
    let (crc32, compressed, bytes) = (long(central + 16), long(central + 20), long(central + 24));
    assert_eq!((crc32 as u32, bytes), (crc32fast::hash(&records), records.len()));
    let local = long(central + 42);
    assert_eq!(local, 0);
    assert_eq!(&archive[..4], b"PK\x03\x04");
    assert_eq!(archive[4..30], archive[central + 6..central + 32], "both headers say the same");
    let begin = 30 + short(26) + short(28);
    let mut read = Vec::new();
    DeflateDecoder::new(&archive[begin..begin + compressed]).read_to_end(&mut read).unwrap();
    assert_eq!((read, begin + compressed), (records, central));
}

/// Written by snappy-java and by Hadoop, whose blocks of incompressible records are literals: these can be written down.
#[test]
fn snappys_framings_are_those_of_java() {
    let literal = |text: &str| [&[text.len() as u8, ((text.len() - 1) << 2) as u8], text.as_bytes()].concat();
    let block = literal("abcdef");
    let xerial = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x08"[..], &block].concat();
    assert_eq!(encode(Encoding::of(Compression::Snappy), &[b"abcdef"]).bytes, xerial);
    let hadoop = [&b"\0\0\0\x06\0\0\0\x08"[..], &block].concat();
    assert_eq!(encode(Encoding::of(Compression::HadoopSnappy), &[b"abcdef"]).bytes, hadoop);
    // More than a block: the second begins after 32 KiB, or 64 KiB.
    let records = vec![b'a'; 300_000];
    let object = encode(Encoding::of(Compression::HadoopSnappy), &[&records]).bytes;
    assert_eq!(object[..4], 65_536u32.to_be_bytes());
    let object = encode(Encoding::of(Compression::Snappy), &[&records]).bytes;
    assert_eq!(snap::raw::decompress_len(&object[20..]).unwrap(), 32_768);
}

proptest! {
    #[test]
    fn memory_never_exceeds_what_was_announced(
        pieces in prop::collection::vec(0usize..70_000, 1..40),
        encoding in prop::sample::select(every_encoding()),
    ) {
        let mut random = fastrand::Rng::with_seed(pieces.len() as u64);
        let mut encoder = Encoder::new(encoding);
        for length in pieces {
            let piece: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
            let announced = encoder.memory_while_writing(length);
            encoder.write(&piece);
            prop_assert!(encoder.memory() <= announced);
        }
        let announced = encoder.memory_while_writing(0);
        prop_assert!(encoder.finish(BATCH).bytes.len() as u64 <= announced);
    }

    #[test]
    fn every_format_holds_exactly_the_records(
        parts: Vec<Vec<u8>>,
        sizes in prop::collection::vec(0usize..300_000, 0..4),
        compression in some_compression(),
        level in 1u32..=9,
    ) {
        let long = sizes.iter().map(|&size| b"{\"n\":1}\n".iter().copied().cycle().take(size).collect());
        let parts: Vec<Vec<u8>> = parts.into_iter().chain(long).collect();
        let body = encode(at_level(compression, level), &parts);
        prop_assert_eq!(body.crc32, crc32fast::hash(&body.bytes));
        prop_assert_eq!(body.records_crc32, crc32fast::hash(&parts.concat()));
        prop_assert!(decoder::records(&body.bytes, compression).unwrap() == parts.concat());
    }

    #[test]
    fn one_gzip_member_holds_all_where_no_more_are_asked_for(parts: Vec<Vec<u8>>, level in 1u32..=9) {
        let body = encode(at_level(Compression::Gzip, level), &parts);
        let mut read = Vec::new();
        let mut decoder = GzDecoder::new(&body.bytes[..]);
        decoder.read_to_end(&mut read).unwrap();
        prop_assert_eq!(read, parts.concat());
        prop_assert!(decoder.into_inner().is_empty(), "nothing after the first member");
    }

    #[test]
    fn members_of_any_size_hold_exactly_the_records(parts: Vec<Vec<u8>>, member_bytes in 1u64..100) {
        let body = encode(in_members(member_bytes), &parts);
        let mut read = Vec::new();
        MultiGzDecoder::new(&body.bytes[..]).read_to_end(&mut read).unwrap();
        prop_assert_eq!(read, parts.concat());
    }

    #[test]
    fn uncompressed_is_the_records_as_they_came(parts: Vec<Vec<u8>>) {
        let body = encode(Encoding::of(Compression::Uncompressed), &parts);
        prop_assert_eq!(&body.bytes[..], &parts.concat()[..]);
    }
}
