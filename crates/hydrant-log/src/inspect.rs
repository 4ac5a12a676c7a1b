//! Looking into a log offline: what is in it, and whether every byte of it checks.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
};

use hydrant_types::{DataKeyId, LogId, MetastoreId, Position, StreamId, Timestamp};
use serde::Serialize;

use crate::{
    checkpoint::Checkpoint,
    disk::{Disk, RealDisk},
    footer::{Footer, StreamInSegment},
    frame::FrameKind,
    recovery::{self, Found, Held},
    scan::{Scanned, walk},
    segment::{FRAMES_START, Segment},
    streams::StreamPoint,
};

/// What a log holds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its identity.
    pub log_id: LogId,
    /// The metastore it is registered with.
    pub metastore: Option<MetastoreId>,
    /// Its streams.
    pub streams: BTreeMap<StreamId, StreamReport>,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Bytes after the last valid commit group, which no answer depended on.
    pub torn_bytes: u64,
    /// Frames with live records that are encrypted: their check sums were checked, their contents were not. Counted by [`verify`].
    pub encrypted_frames: u64,
    /// What does not check; empty for a sound log. Complete after [`verify`].
    pub damage: Vec<Damage>,
}

/// Where a stream is.
#[derive(Debug, Serialize)]
pub struct StreamReport {
    /// The oldest position kept.
    pub trimmed: Position,
    /// Everything before was sealed into batches.
    pub sealed: Position,
    /// The next record's position.
    pub next: Position,
    /// Whether it takes no more.
    pub closed: bool,
    /// The data keys that its live records need; found by [`verify`].
    pub data_keys: BTreeSet<DataKeyId>,
}

/// A segment file.
#[derive(Debug, Serialize)]
pub struct SegmentReport {
    /// Its file.
    pub path: String,
    /// Whether it ends in a footer.
    pub sealed: bool,
    /// Bytes of frames.
    pub bytes: u64,
    /// Streams with records in it.
    pub streams: usize,
    /// Frames with live records; counted by [`verify`].
    pub frames: u64,
}

/// Something that does not check.
#[derive(Debug, Serialize)]
pub struct Damage {
    /// The segment's file.
    pub path: String,
    /// Where.
    pub offset: u64,
    /// What does not hold.
    pub reason: String,
}

/// What is in the log in `dir`, from its checkpoint and footers. Reads only; blocks.
///
/// # Errors
/// There is no log, or it cannot be read.
pub fn inspect(dir: &Path) -> io::Result<Report> {
    inspect_on(&(Arc::new(RealDisk) as Arc<dyn Disk>), dir)
}

/// As [`inspect`], and reads every live byte of every frame. Blocks for as long as that takes.
///
/// # Errors
/// As [`inspect`]; damage is no error but in the report.
pub fn verify(dir: &Path) -> io::Result<Report> {
    verify_on(&(Arc::new(RealDisk) as Arc<dyn Disk>), dir)
}

pub(crate) fn inspect_on(disk: &Arc<dyn Disk>, dir: &Path) -> io::Result<Report> {
    look(disk, dir).map(|(report, _)| report)
}

pub(crate) fn verify_on(disk: &Arc<dyn Disk>, dir: &Path) -> io::Result<Report> {
    let (mut report, found) = look(disk, dir)?;
    let mut live = Coverage::new(&report.streams);
    for ((segment, held), summary) in found.segments.iter().zip(&mut report.segments) {
        let bytes = segment.read_whole()?;
        let frames = match held {
            Held::Footer(footer) => walk(&bytes[..footer.end as usize], segment.header.seed),
            Held::Frames(scan) => scan.frames.clone(),
        };
        live.take(segment, &frames, summary, &mut report.damage);
        match held {
            Held::Footer(footer) => live.check_footer(segment, footer, &mut report.damage)?,
            Held::Frames(_) => {
                report.damage.push(damage(segment, segment.room_end(), "the footer does not hold"))
            }
        }
    }
    if let (Some(tail), Some(summary)) = (&found.tail, report.segments.last_mut()) {
        live.take(&tail.segment, &tail.scan.frames, summary, &mut report.damage);
    }
    live.check_ends(&report.streams, dir, &mut report.damage);
    report.encrypted_frames = live.encrypted_frames;
    for (stream, keys) in live.data_keys {
        report.streams.entry(stream).and_modify(|report| report.data_keys = keys);
    }
    Ok(report)
}

fn look(disk: &Arc<dyn Disk>, dir: &Path) -> io::Result<(Report, Found)> {
    let checkpoint = Checkpoint::read(disk.as_ref(), dir)?.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("{} holds no record log", dir.display()))
    })?;
    let found = recovery::look(disk, dir, &checkpoint, Timestamp(0))?;
    let known = checkpoint.streams.iter().filter(|(_, point)| !point.forgotten);
    let mut streams: BTreeMap<_, _> = known.map(|(id, point)| (*id, StreamReport::from(point))).collect();
    let is_forgotten = |id: &StreamId| checkpoint.streams.get(id).is_some_and(|point| point.forgotten);
    let mut note = |id: StreamId, next: Position| {
        if !is_forgotten(&id) {
            let report = streams.entry(id).or_insert_with(|| StreamReport::from(&StreamPoint::default()));
            report.next = report.next.max(next);
        }
    };
    let mut segments = Vec::new();
    for (segment, held) in &found.segments {
        match held {
            Held::Footer(footer) => {
                footer.streams.iter().for_each(|stream| note(stream.stream, stream.next));
                segments.push(segment_report(segment, true, footer.end, footer.streams.len()));
            }
            Held::Frames(scan) => segments.push(scanned_report(segment, scan, &mut note)),
        }
    }
    if let Some(tail) = &found.tail {
        segments.push(scanned_report(&tail.segment, &tail.scan, &mut note));
    }
    let damage = found.damage.iter().map(|found| Damage {
        path: found.path.display().to_string(),
        offset: found.offset,
        reason: format!("LSN {} to {}: {}", found.first, found.last, found.reason),
    });
    let report = Report {
        log_id: checkpoint.log_id,
        metastore: checkpoint.metastore,
        damage: damage.collect(),
        streams,
        segments,
        torn_bytes: found.tail.as_ref().map_or(0, |tail| tail.scan.torn_bytes),
        encrypted_frames: 0,
    };
    Ok((report, found))
}

impl From<&StreamPoint> for StreamReport {
    fn from(point: &StreamPoint) -> Self {
        let StreamPoint { trimmed, sealed, next, closed, .. } = *point;
        Self { trimmed, sealed, next, closed, data_keys: BTreeSet::new() }
    }
}

fn scanned_report(
    segment: &Segment,
    scan: &crate::scan::Scan,
    note: &mut impl FnMut(StreamId, Position),
) -> SegmentReport {
    let contents = scan.contents();
    for (stream, extents) in &contents.extents {
        extents.last().into_iter().for_each(|last| note(*stream, last.next));
    }
    segment_report(segment, false, scan.end, contents.extents.len())
}

fn segment_report(segment: &Segment, sealed: bool, end: u64, streams: usize) -> SegmentReport {
    let path = segment.path.display().to_string();
    SegmentReport { path, sealed, bytes: end - FRAMES_START, streams, frames: 0 }
}

fn damage(segment: &Segment, offset: u64, reason: impl Into<String>) -> Damage {
    Damage { path: segment.path.display().to_string(), offset, reason: reason.into() }
}

/// How far each stream's live records were found whole.
struct Coverage {
    trimmed: BTreeMap<StreamId, Position>,
    next: BTreeMap<StreamId, Position>,
    encrypted_frames: u64,
    data_keys: BTreeMap<StreamId, BTreeSet<DataKeyId>>,
}

impl Coverage {
    fn new(streams: &BTreeMap<StreamId, StreamReport>) -> Self {
        let trimmed: BTreeMap<_, _> = streams.iter().map(|(id, stream)| (*id, stream.trimmed)).collect();
        Self { next: trimmed.clone(), trimmed, encrypted_frames: 0, data_keys: BTreeMap::new() }
    }

    fn take(
        &mut self,
        segment: &Segment,
        frames: &[Scanned],
        summary: &mut SegmentReport,
        found: &mut Vec<Damage>,
    ) {
        let mut end = FRAMES_START;
        for Scanned { offset, header, payload_holds } in frames {
            let trimmed = self.trimmed.get(&header.stream).copied();
            if let Some(trimmed) =
                trimmed.filter(|trimmed| header.next() > *trimmed && header.kind == FrameKind::Records)
            {
                let next = self.next.entry(header.stream).or_insert(trimmed);
                summary.frames += 1;
                if let Some(encrypted) = header.encrypted {
                    self.encrypted_frames += 1;
                    self.data_keys.entry(header.stream).or_default().insert(encrypted.key);
                }
                if header.first > *next {
                    let reason = format!(
                        "stream {}: records {next} to {} before the next frame are missing",
                        header.stream, header.first
                    );
                    found.push(damage(segment, end, reason));
                }
                if !payload_holds {
                    let reason = format!("stream {}: the payload's check sum does not hold", header.stream);
                    found.push(damage(segment, *offset, reason));
                }
                *next = header.next().max(*next);
            }
            end = offset + header.frame_len();
        }
    }

    /// The extents lead to the frames that were found.
    fn check_footer(&self, segment: &Segment, footer: &Footer, found: &mut Vec<Damage>) -> io::Result<()> {
        let file = segment.file()?;
        for StreamInSegment { stream, at, next, .. } in &footer.streams {
            let Some(have) = self.next.get(stream) else { continue };
            if at.read(segment, file.as_ref())?.is_none() {
                found.push(damage(
                    segment,
                    footer.end,
                    format!("stream {stream}: its part of the footer does not hold"),
                ));
            }
            if next > have {
                let reason = format!("stream {stream}: records {have} to {next} are missing");
                found.push(damage(segment, footer.end, reason));
            }
        }
        Ok(())
    }

    fn check_ends(&self, streams: &BTreeMap<StreamId, StreamReport>, dir: &Path, found: &mut Vec<Damage>) {
        for (stream, report) in streams {
            let have = self.next.get(stream).copied().unwrap_or(report.trimmed);
            if have < report.next {
                let reason = format!("stream {stream}: records {have} to {} are in no segment", report.next);
                found.push(Damage { path: dir.display().to_string(), offset: 0, reason });
            }
        }
    }
}
