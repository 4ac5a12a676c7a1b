//! The file of one object or part: its bytes, then what is known about them.
//!
//! ```text
//! bytes │ description (JSON) │ length of the description (u32) │ its CRC-32 (u32) │ magic (8 bytes)
//! ```
//!
//! Little-endian. The description comes last because sizes and checksums are known only when the body has been written,
//! and the bytes come first so that a range of the object is the same range of the file.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum, Md5};
use tempfile::NamedTempFile;

use crate::disk::Disk;
use crate::object::{Checksums, Described};

const MAGIC: &[u8; 8] = b"HYD-S3-1";
const FOOTER_BYTES: u64 = 16;

/// A body on its way to the disk, in a temporary file that goes away when dropped.
pub(crate) struct Staged {
    file: NamedTempFile,
    size_bytes: u64,
    md5: Md5,
    hasher: ChecksumHasher,
}

/// A whole body in its temporary file, not yet described.
pub(crate) struct Received {
    file: NamedTempFile,
    pub(crate) size_bytes: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Checksums,
}

impl Staged {
    pub(crate) fn create(directory: &Path, hasher: ChecksumHasher) -> io::Result<Self> {
        let file = NamedTempFile::new_in(directory)?;
        Ok(Self { file, size_bytes: 0, md5: Md5::new(), hasher })
    }

    pub(crate) fn append(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        for piece in pieces {
            self.file.write_all(piece)?;
            self.size_bytes += piece.len() as u64;
            self.md5.update(piece);
            self.hasher.update(piece);
        }
        Ok(())
    }

    pub(crate) fn end(self) -> Received {
        Received {
            file: self.file,
            size_bytes: self.size_bytes,
            md5: self.md5.finalize(),
            checksums: self.hasher.finalize().into(),
        }
    }
}

impl Received {
    /// Appends the description and puts the file's contents on disk; its name is still a temporary one.
    pub(crate) fn describe(
        mut self,
        disk: &dyn Disk,
        description: &impl Described,
    ) -> io::Result<NamedTempFile> {
        let json = serde_json::to_vec(description)?;
        let length = u32::try_from(json.len()).map_err(io::Error::other)?;
        self.file.write_all(&json)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&crc32fast::hash(&json).to_le_bytes())?;
        self.file.write_all(MAGIC)?;
        disk.sync_file(self.file.as_file())?;
        Ok(self.file)
    }
}

/// Reads the description at the end of `file`.
///
/// # Errors
/// `InvalidData` when the file is not one of ours or not whole.
pub(crate) fn read_description<D: Described>(file: &File) -> io::Result<D> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let file_bytes = file.metadata()?.len();
    let footer_at = file_bytes.checked_sub(FOOTER_BYTES).ok_or_else(damaged)?;
    let mut footer = [0; FOOTER_BYTES as usize];
    file.read_exact_at(&mut footer, footer_at)?;
    let (numbers, magic) = footer.split_at(8);
    let (length, checksum) = numbers.split_at(4);
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes were split off"));
    let json_at = footer_at.checked_sub(u64::from(number(length))).ok_or_else(damaged)?;
    if magic != MAGIC {
        return Err(damaged());
    }
    let mut json = vec![0; number(length) as usize];
    file.read_exact_at(&mut json, json_at)?;
    if crc32fast::hash(&json) != number(checksum) {
        return Err(damaged());
    }
    let description: D = serde_json::from_slice(&json)?;
    if description.size_bytes() != json_at {
        return Err(damaged());
    }
    Ok(description)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::object::Part;

    fn stored(body: &'static [u8]) -> (tempfile::TempDir, NamedTempFile) {
        let directory = tempfile::tempdir().unwrap();
        let mut staged = Staged::create(directory.path(), ChecksumHasher::default()).unwrap();
        staged.append(&[Bytes::from_static(body)]).unwrap();
        let received = staged.end();
        let part = Part {
            size_bytes: received.size_bytes,
            etag: hex::encode(received.md5),
            modified_ms: 7,
            checksums: Checksums::default(),
        };
        let file = received.describe(&crate::disk::RealDisk, &part).unwrap();
        (directory, file)
    }

    #[test]
    fn a_description_comes_back_and_the_body_lies_at_the_start() {
        let (_directory, file) = stored(b"hello");
        let part: Part = read_description(file.as_file()).unwrap();
        assert_eq!((part.size_bytes, part.modified_ms), (5, 7));
        assert_eq!(part.etag, "5d41402abc4b2a76b9719d911017c592");
        let mut body = [0; 5];
        file.as_file().read_exact_at(&mut body, 0).unwrap();
        assert_eq!(&body, b"hello");
    }

    #[test]
    fn a_file_cut_anywhere_is_recognised() {
        let (_directory, file) = stored(b"hello");
        let whole = file.as_file().metadata().unwrap().len();
        for length in 0..whole {
            file.as_file().set_len(length).unwrap();
            assert!(read_description::<Part>(file.as_file()).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_flipped_bit_in_the_description_is_recognised() {
        let (_directory, file) = stored(b"hello");
        let whole = file.as_file().metadata().unwrap().len();
        for at in 5..whole {
            let mut byte = [0];
            file.as_file().read_exact_at(&mut byte, at).unwrap();
            file.as_file().write_all_at(&[byte[0] ^ 1], at).unwrap();
            assert!(read_description::<Part>(file.as_file()).is_err(), "flipped at {at}");
            file.as_file().write_all_at(&byte, at).unwrap();
        }
        assert!(read_description::<Part>(file.as_file()).is_ok());
    }
}
