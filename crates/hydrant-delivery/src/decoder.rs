//! Reads objects back, for tools and tests that look at what was delivered.

use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder};
use hydrant_types::{ByteSize, Compression};
use snap::raw::{Decoder as Snappy, decompress_len};

/// More records than an object may hold: the biggest buffer is 128 MiB.
const RECORDS_BYTES_MAX: u64 = ByteSize::mib(512).bytes();
const ZIP_LOCAL_HEADER_BYTES: usize = 30;
const XERIAL_HEADER_BYTES: usize = 16;

/// How an object is encoded: by what its header `Content-Encoding` says, else by what it begins with, else (Hadoop's blocks begin with
/// nothing of their own) by its key.
pub fn compression_of(object: &[u8], content_encoding: Option<&str>, key: &str) -> Compression {
    let named = Compression::ALL.into_iter().find(|compression| {
        compression.content_encoding().is_some_and(|name| content_encoding == Some(name))
    });
    match named {
        Some(compression) => compression,
        None if object.starts_with(b"\x1f\x8b") => Compression::Gzip,
        None if object.starts_with(b"PK\x03\x04") => Compression::Zip,
        None if object.starts_with(b"\x82SNAPPY\0") => Compression::Snappy,
        None if key.ends_with(Compression::HadoopSnappy.extension()) => Compression::HadoopSnappy,
        None => Compression::Uncompressed,
    }
}

/// The records in an object, one directly after the other. Computes: not for async workers.
///
/// # Errors
/// It is not what `compression` makes, is cut off, or holds more than 512 MiB.
pub fn records(object: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    match compression {
        Compression::Uncompressed => Ok(object.to_vec()),
        Compression::Gzip => read(MultiGzDecoder::new(object)),
        Compression::Zip => read(DeflateDecoder::new(zip_entry(object)?)),
        Compression::Snappy => blocks(object.get(XERIAL_HEADER_BYTES..).ok_or_else(cut_off)?, 0),
        Compression::HadoopSnappy => blocks(object, 4),
    }
}

fn read(records: impl Read) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    records.take(RECORDS_BYTES_MAX + 1).read_to_end(&mut all)?;
    check_length(all.len())?;
    Ok(all)
}

/// From the beginning of the first entry's bytes on; where they end, the deflate stream says.
fn zip_entry(object: &[u8]) -> io::Result<&[u8]> {
    let header = object.get(..ZIP_LOCAL_HEADER_BYTES).ok_or_else(cut_off)?;
    let length_at = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    object.get(ZIP_LOCAL_HEADER_BYTES + length_at(26) + length_at(28)..).ok_or_else(cut_off)
}

/// Snappy blocks, each after its length, which comes after `skipped` other bytes.
fn blocks(mut object: &[u8], skipped: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while !object.is_empty() {
        let length = object.get(skipped..skipped + 4).ok_or_else(cut_off)?;
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let rest = &object[skipped + 4..];
        let block = rest.get(..length).ok_or_else(cut_off)?;
        let from = all.len();
        let to = from + decompress_len(block)?;
        check_length(to)?;
        all.resize(to, 0);
        Snappy::new().decompress(block, &mut all[from..])?;
        object = &rest[length..];
    }
    Ok(all)
}

fn check_length(bytes: usize) -> io::Result<()> {
    let fits = bytes as u64 <= RECORDS_BYTES_MAX;
    fits.then_some(()).ok_or_else(|| io::Error::other("the object holds more than 512 MiB"))
}

fn cut_off() -> io::Error {
    io::Error::from(io::ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use hydrant_types::BatchId;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::encoder::{Encoder, Encoding};

    fn object(compression: Compression, records: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(Encoding::of(compression));
        encoder.write(records);
        encoder.finish(BatchId(Uuid::nil())).bytes.to_vec()
    }

    #[test]
    fn an_encoding_is_known_by_its_name_and_without_by_its_looks() {
        for compression in Compression::ALL {
            let object = object(compression, b"{\"id\":1}\n");
            let key = format!("a{}", compression.extension());
            assert_eq!(compression_of(&object, None, &key), compression);
            if let Some(name) = compression.content_encoding() {
                assert_eq!(compression_of(&object, Some(name), "a.json"), compression);
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        for compression in Compression::ALL {
            let object = object(compression, &b"{\"id\":1}\n".repeat(10_000));
            assert!(records(&object, compression).is_ok());
            if compression != Compression::Uncompressed {
                records(&object[..object.len() / 2], compression).unwrap_err();
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_nothing_panics(object: Vec<u8>) {
            for compression in Compression::ALL {
                let _ = records(&object, compression);
            }
        }
    }
}
