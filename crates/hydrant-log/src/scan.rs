//! Reading a segment frame by frame, where no footer says what is in it: what is whole, what is torn, what is damaged.

use hydrant_types::Lsn;

use crate::{
    calls::KnownCall,
    footer::Contents,
    frame::{ALIGN, FrameKind, HEADER_LEN, Header, raw_numbers},
    segment::{Extent, FRAMES_START, SegmentHeader, push_extent},
};

/// A frame whose header holds.
#[derive(Debug, Clone)]
pub(crate) struct Scanned {
    pub(crate) offset: u64,
    pub(crate) header: Header,
    pub(crate) payload_holds: bool,
}

/// Bytes in which frames were that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) offset: u64,
    pub(crate) first: Lsn,
    pub(crate) last: Lsn,
    /// No frame in it is of a younger group.
    pub(crate) last_group: u64,
}

/// What a segment's frames say.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Those that are kept, in order.
    pub(crate) frames: Vec<Scanned>,
    pub(crate) holes: Vec<Hole>,
    /// Where frames end.
    pub(crate) end: u64,
    /// Bytes after that which were written and never acknowledged.
    pub(crate) torn_bytes: u64,
    pub(crate) next_lsn: Lsn,
    pub(crate) next_group: u64,
}

/// What is known from elsewhere about how far a segment was synced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Groups below were synced: a later segment or the checkpoint says so.
    pub(crate) synced_below: u64,
    /// The next segment's first frame, where there is one.
    pub(crate) followed_by: Option<Lsn>,
}

impl Scanned {
    fn end(&self) -> u64 {
        self.offset + self.header.frame_len()
    }

    fn group_start(&self) -> u64 {
        self.offset.saturating_sub(u64::from(self.header.group_offset))
    }

    fn group_end(&self) -> u64 {
        self.group_start() + u64::from(self.header.group_len)
    }
}

/// Reads every frame in `bytes`, a segment up to its trailer.
pub(crate) fn scan(bytes: &[u8], segment: &SegmentHeader, known: Known) -> Scan {
    let mut frames = walk(bytes, segment.seed);
    let torn = cut_torn_group(&mut frames, known.synced_below);
    let mut holes = holes_between(&frames, segment);
    let last = frames.last();
    let mut end = last.map_or(FRAMES_START, Scanned::end);
    let mut next_lsn = last.map_or(segment.first_lsn, |last| last.header.lsn.next());
    let mut next_group = last.map_or(segment.first_group, |last| last.header.group + 1);

    // Frames that must have been behind the last that is kept.
    let synced_below = torn.as_ref().map_or(known.synced_below, |torn| torn.header.group);
    let group_end = last.map_or(end, Scanned::group_end);
    if next_group < synced_below || group_end > end {
        let behind =
            torn.as_ref().map(|torn| torn.header.lsn).or(known.followed_by).unwrap_or(next_lsn.next());
        let last_group = synced_below.max(next_group) - 1;
        holes.push(Hole { offset: end, first: next_lsn, last: Lsn(behind.0.saturating_sub(1)), last_group });
        end = torn.as_ref().map_or(group_end, Scanned::group_start);
        (next_lsn, next_group) = (next_lsn.max(behind), next_group.max(synced_below));
    }
    let torn_bytes = match &torn {
        Some(torn) => u64::from(torn.header.group_len),
        None if known.followed_by.is_none() && is_begun(bytes, end, next_lsn, next_group) => {
            HEADER_LEN as u64
        }
        None => 0,
    };
    Scan { frames, holes, end, torn_bytes, next_lsn, next_group }
}

/// Takes the last group away where it is not whole and nothing says that it was synced. Gives the first of its frames.
fn cut_torn_group(frames: &mut Vec<Scanned>, synced_below: u64) -> Option<Scanned> {
    let group = frames.last()?.header.group;
    let start = frames.iter().position(|frame| frame.header.group == group)?;
    if group < synced_below || is_whole(&frames[start..]) {
        return None;
    }
    let first = frames[start].clone();
    frames.truncate(start);
    Some(first)
}

impl Scan {
    /// What a footer would say.
    pub(crate) fn contents(&self) -> Contents {
        let mut contents = Contents {
            end: self.end,
            next_lsn: self.next_lsn,
            next_group: self.next_group,
            ..Contents::default()
        };
        for Scanned { offset, header, .. } in &self.frames {
            contents.calls.extend(KnownCall::in_frame(header));
            if header.kind == FrameKind::Records {
                push_extent(contents.extents.entry(header.stream).or_default(), Extent::of(header, *offset));
                *contents.bytes.entry(header.stream).or_default() += header.frame_len();
            }
        }
        contents
    }
}

/// Every frame whose header holds. Where one does not, the next that does is looked for.
pub(crate) fn walk(bytes: &[u8], seed: u32) -> Vec<Scanned> {
    let mut frames = Vec::new();
    let mut offset = FRAMES_START as usize;
    while offset + HEADER_LEN <= bytes.len() {
        match Header::decode(&bytes[offset..offset + HEADER_LEN], seed) {
            Some(header) if offset as u64 + header.frame_len() <= bytes.len() as u64 => {
                let payload = &bytes[offset + HEADER_LEN..][..header.padded_len()];
                let payload_holds = header.covers(payload);
                let frame = Scanned { offset: offset as u64, header, payload_holds };
                offset = frame.end() as usize;
                frames.push(frame);
            }
            _ => offset += ALIGN,
        }
    }
    frames
}

/// Whether `frames` are all of one group, and every byte of them holds.
fn is_whole(frames: &[Scanned]) -> bool {
    let mut at = frames[0].group_start();
    let end = frames[0].group_end();
    for frame in frames {
        if frame.offset != at || !frame.payload_holds {
            return false;
        }
        at = frame.end();
    }
    at == end
}

fn holes_between(frames: &[Scanned], segment: &SegmentHeader) -> Vec<Hole> {
    let mut holes = Vec::new();
    let (mut at, mut lsn) = (FRAMES_START, segment.first_lsn);
    for frame in frames {
        if frame.offset > at {
            let last_group = match frame.header.group_offset {
                0 => frame.header.group.saturating_sub(1),
                _ => frame.header.group,
            };
            holes.push(Hole {
                offset: at,
                first: lsn,
                last: Lsn(frame.header.lsn.0.saturating_sub(1)),
                last_group,
            });
        }
        (at, lsn) = (frame.end(), frame.header.lsn.next());
    }
    holes
}

/// Whether a frame was begun at `end` that does not hold: what an earlier use of the file left has smaller numbers.
fn is_begun(bytes: &[u8], end: u64, lsn: Lsn, group: u64) -> bool {
    let Some(frame) = bytes.get(end as usize..end as usize + HEADER_LEN) else { return false };
    let (raw_lsn, raw_group) = raw_numbers(frame);
    raw_lsn == lsn.0 || raw_group == group
}
