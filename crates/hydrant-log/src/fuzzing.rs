//! What the fuzzers in `tests/fuzz` run, and an ordinary test over its corpus. Not part of the interface.

use hydrant_types::{LogId, Lsn};

use crate::{
    frame::{HEADER_LEN, Header, MAGIC, header_crc},
    scan::{Known, scan},
    segment::{FRAMES_START, SegmentHeader},
};

/// The frame reader, as a start after a crash runs it: any bytes where a segment's frames should be. The first byte says whether
/// checksums are mended first; without that nothing but a check sum would ever be tried.
///
/// Panics where frames overlap, are out of order, or reach beyond the bytes there are.
pub fn frame_reader(data: &[u8]) {
    let Some((mended, frames)) = data.split_first() else { return };
    let segment = SegmentHeader {
        log: LogId(uuid::Uuid::nil()),
        seq: 1,
        seed: 0x5eed,
        replaces: 0,
        first_group: 1,
        first_lsn: Lsn(1),
    };
    let mut bytes = vec![0; FRAMES_START as usize];
    bytes.extend_from_slice(frames);
    if mended & 1 == 1 {
        mend(&mut bytes[FRAMES_START as usize..], segment.seed);
    }
    for known in [
        Known { synced_below: 0, followed_by: None },
        Known { synced_below: 4, followed_by: Some(Lsn(4)) },
        Known { synced_below: u64::MAX, followed_by: Some(Lsn(u64::MAX)) },
    ] {
        let found = scan(&bytes, &segment, known);
        let mut at = FRAMES_START;
        for frame in &found.frames {
            assert!(frame.offset >= at, "{found:?}");
            at = frame.offset + frame.header.frame_len();
        }
        assert!(at <= bytes.len() as u64, "{found:?}");
        // What a start makes of it.
        assert!(found.contents().calls.len() <= found.frames.len());
    }
}

/// Gives every frame that could be one the check sums that it should have.
fn mend(mut frames: &mut [u8], seed: u32) {
    while frames.len() >= HEADER_LEN {
        let mut step = 8;
        if frames[..4] == MAGIC.to_le_bytes() {
            let crc = header_crc(&frames[..HEADER_LEN], seed);
            frames[4..8].copy_from_slice(&crc.to_le_bytes());
            if let Some(header) = Header::decode(&frames[..HEADER_LEN], seed)
                && header.frame_len() <= frames.len() as u64
            {
                step = header.frame_len() as usize;
                let crc = crc32fast::hash(&frames[HEADER_LEN..step]);
                frames[68..72].copy_from_slice(&crc.to_le_bytes());
                let crc = header_crc(&frames[..HEADER_LEN], seed);
                frames[4..8].copy_from_slice(&crc.to_le_bytes());
            }
        }
        frames = &mut frames[step..];
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_the_frame_reader_holds() {
        hydrant_testkit::replay_corpus("frame_reader", 2_000, super::frame_reader);
    }
}
