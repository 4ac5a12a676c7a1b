//! Uploads in parts: their plan and parts on disk, until they become an object or are given up.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use s3s::crypto::{Checksum as _, Md5};
use s3s::{S3Error, S3Result, s3_error};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Error;
use crate::bucket::{Bucket, Condition, read_at_start};
use crate::checksums::Expected;
use crate::disk::Disk;
use crate::headers::Headers;
use crate::object::{Checksums, Object, Part, now_ms};
use crate::object_file::{Received, Staged, read_description};
use crate::store::{at, entries, failed, write_durably};

const PLAN: &str = "upload.json";
/// S3 user guide, "Amazon S3 multipart upload limits"; the last part may be smaller.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
const PARTS_MAX: u16 = 10_000;
const COPY_BYTES: usize = 1024 * 1024;

/// What the client said when it began.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) started_ms: u64,
    pub(crate) headers: Headers,
    /// Such as `CRC32`.
    pub(crate) algorithm: Option<String>,
    /// The object's checksum is to be made of its parts' checksums.
    pub(crate) composite: bool,
}

/// An upload under way.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) plan: Plan,
    pub(crate) parts: BTreeMap<u16, Part>,
}

/// A part as the client lists it at the end.
#[derive(Debug)]
pub(crate) struct ListedPart {
    pub(crate) number: u16,
    pub(crate) etag: String,
}

/// An object made of parts, in its temporary file.
struct Assembled {
    received: Received,
    etag: String,
    checksums: Checksums,
}

/// # Errors
/// `InvalidArgument` outside 1 to 10,000.
pub(crate) fn part_number(number: i32) -> S3Result<u16> {
    u16::try_from(number)
        .ok()
        .filter(|number| (1..=PARTS_MAX).contains(number))
        .ok_or_else(|| s3_error!(InvalidArgument, "Part number must be an integer between 1 and {PARTS_MAX}"))
}

impl Plan {
    pub(crate) fn new(key: String, headers: Headers, algorithm: Option<String>, composite: bool) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self { id, key, started_ms: now_ms(), headers, algorithm, composite }
    }
}

impl Upload {
    /// Reads an upload back at start.
    pub(crate) fn open(disk: &dyn Disk, directory: &Path) -> Result<Self, Error> {
        disk.sync_dir(directory).map_err(at("sync", directory))?;
        let plan_path = directory.join(PLAN);
        let json = fs::read(&plan_path).map_err(at("read", &plan_path))?;
        let plan = serde_json::from_slice(&json).map_err(|_| Error::Damaged { path: plan_path.clone() })?;
        let mut parts = BTreeMap::new();
        for path in entries(directory)?.into_iter().filter(|path| *path != plan_path) {
            let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            let number = number.ok_or_else(|| Error::Damaged { path: path.clone() })?;
            parts.insert(number, read_at_start(&path)?);
        }
        Ok(Self { plan, parts })
    }
}

impl Bucket {
    /// Begins an upload. Durable when it returns.
    pub(crate) fn begin_upload(&self, plan: Plan) -> S3Result<()> {
        let mut index = self.index().write();
        self.place().check()?;
        index.check_open()?;
        let path = self.upload_path(&plan.id);
        let aside = self.place().tmp().join(&plan.id);
        let disk = self.place().disk();
        let make = || {
            fs::create_dir(&aside)?;
            write_durably(disk, &aside.join(PLAN), &serde_json::to_vec(&plan)?)?;
            disk.sync_dir(&aside)?;
            fs::rename(&aside, &path)
        };
        make().map_err(failed("make", &path))?;
        self.place().settle(&path)?;
        index.uploads.insert(plan.id.clone(), Upload { plan, parts: BTreeMap::new() });
        Ok(())
    }

    /// The plan of an upload.
    ///
    /// # Errors
    /// `NoSuchUpload`, also when it is another key's.
    pub(crate) fn upload_plan(&self, id: &str, key: &str) -> S3Result<Plan> {
        self.with_upload(id, key, |upload| Ok(upload.plan.clone()))
    }

    /// Looks at an upload.
    ///
    /// # Errors
    /// `NoSuchUpload`, also when it is another key's.
    pub(crate) fn with_upload<T>(
        &self,
        id: &str,
        key: &str,
        look: impl FnOnce(&Upload) -> S3Result<T>,
    ) -> S3Result<T> {
        let index = self.index().read();
        look(index.uploads.get(id).filter(|upload| upload.plan.key == key).ok_or_else(no_such_upload)?)
    }

    /// Uploads under way whose keys start with `prefix`, from after (key, id), in order.
    pub(crate) fn uploads(&self, prefix: &str, after: (&str, &str)) -> Vec<Plan> {
        let index = self.index().read();
        let plans = index.uploads.values().map(|upload| &upload.plan);
        let mut plans: Vec<Plan> = plans
            .filter(|plan| plan.key.starts_with(prefix) && (plan.key.as_str(), plan.id.as_str()) > after)
            .cloned()
            .collect();
        plans.sort_by(|one, other| (&one.key, &one.id).cmp(&(&other.key, &other.id)));
        plans
    }

    /// Stores a part, in place of an earlier one of that number. Durable when it returns.
    pub(crate) fn put_part(
        &self,
        id: &str,
        key: &str,
        number: u16,
        body: Received,
        part: Part,
    ) -> S3Result<()> {
        let described = body.describe(self.place().disk(), &part);
        let file = described.map_err(failed("write", &self.place().tmp()))?;
        let mut index = self.index().write();
        self.place().check()?;
        index.check_open()?;
        let upload = index.uploads.get_mut(id).filter(|upload| upload.plan.key == key);
        let upload = upload.ok_or_else(no_such_upload)?;
        let path = self.upload_path(id).join(file_name(number));
        file.persist(&path).map_err(|error| failed("rename", &path)(error.error))?;
        self.place().settle(&path)?;
        upload.parts.insert(number, part);
        Ok(())
    }

    /// Joins the parts and makes them the object of their key, if `condition` holds.
    ///
    /// # Errors
    /// `InvalidPart`, `InvalidPartOrder`, `EntityTooSmall`, `BadDigest`, and those of a put.
    pub(crate) fn complete_upload(
        &self,
        id: &str,
        key: &str,
        listed: &[ListedPart],
        expected: &Expected,
        condition: &Condition,
    ) -> S3Result<Object> {
        let plan = self.upload_plan(id, key)?;
        let parts = self.with_upload(id, key, |upload| chosen(upload, listed))?;
        let assembled = self.assemble(&plan, &parts)?;
        expected.verify(&assembled.received.md5, &assembled.checksums)?;
        let object = Object {
            key: plan.key,
            size_bytes: assembled.received.size_bytes,
            etag: assembled.etag,
            modified_ms: now_ms(),
            headers: plan.headers,
            checksums: assembled.checksums,
        };
        let described = assembled.received.describe(self.place().disk(), &object);
        let file = described.map_err(failed("write", &self.place().tmp()))?;
        let mut index = self.index().write();
        // Given up, or completed by another call, while the parts were joined.
        if !index.uploads.contains_key(id) {
            return Err(no_such_upload());
        }
        self.put_into(&mut index, file, object.clone(), condition)?;
        index.uploads.remove(id);
        drop(index);
        // The object is there and durable, so that is the answer. Should this fail, which is logged, the upload is listed
        // again after a restart.
        let _ = self.place().discard(&self.upload_path(id));
        Ok(object)
    }

    /// # Errors
    /// `NoSuchUpload`.
    pub(crate) fn abort_upload(&self, id: &str, key: &str) -> S3Result<()> {
        let mut index = self.index().write();
        self.place().check()?;
        if index.uploads.get(id).is_none_or(|upload| upload.plan.key != key) {
            return Err(no_such_upload());
        }
        self.place().discard(&self.upload_path(id))?;
        index.uploads.remove(id);
        Ok(())
    }

    fn assemble(&self, plan: &Plan, parts: &[(u16, Part)]) -> S3Result<Assembled> {
        // A composite checksum comes from the parts' own; the bytes then get the default one, which is not kept.
        let whole = plan.algorithm.clone().filter(|_| !plan.composite);
        let hasher = Expected::of(&http::HeaderMap::new(), None, whole).hasher();
        let tmp = self.place().tmp();
        let mut staged = Staged::create(&tmp, hasher).map_err(failed("make", &tmp))?;
        let mut md5_of_parts = Md5::new();
        for (number, part) in parts {
            let path = self.upload_path(&plan.id).join(file_name(*number));
            append_part(&mut staged, &path, part)?;
            md5_of_parts.update(&hex::decode(&part.etag).map_err(|_| s3_error!(InvalidPart))?);
        }
        let received = staged.end();
        let composite = plan.algorithm.as_deref().filter(|_| plan.composite);
        let checksums = match composite {
            None => received.checksums.clone(),
            Some(algorithm) => {
                let sums = parts.iter().map(|(_, part)| &part.checksums);
                Checksums::composite(algorithm, sums).unwrap_or_default()
            }
        };
        let etag = format!("{}-{}", hex::encode(md5_of_parts.finalize()), parts.len());
        Ok(Assembled { received, etag, checksums })
    }
}

/// The stored parts that the client lists, if they are what it thinks and make an object.
fn chosen(upload: &Upload, listed: &[ListedPart]) -> S3Result<Vec<(u16, Part)>> {
    if listed.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    if !listed.is_sorted_by(|one, next| one.number < next.number) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let mut chosen = Vec::with_capacity(listed.len());
    for wanted in listed {
        let stored = upload.parts.get(&wanted.number).filter(|part| part.etag == wanted.etag);
        let stored = stored.ok_or_else(invalid_part)?;
        chosen.push((wanted.number, stored.clone()));
    }
    let all_but_last = &chosen[..chosen.len() - 1];
    if all_but_last.iter().any(|(_, part)| part.size_bytes < PART_BYTES_MIN) {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ));
    }
    Ok(chosen)
}

/// A part that was replaced since it was looked up is recognised by its file's own description.
fn append_part(staged: &mut Staged, path: &Path, part: &Part) -> S3Result<()> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => no_such_upload(),
        _ => failed("open", path)(error),
    })?;
    let stored: Part = read_description(&file).map_err(failed("read", path))?;
    if stored.etag != part.etag {
        return Err(invalid_part());
    }
    let mut body = file.take(stored.size_bytes);
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match body.read(&mut buffer).map_err(failed("read", path))? {
            0 => return Ok(()),
            length => {
                staged.append(&[Bytes::copy_from_slice(&buffer[..length])]).map_err(failed("copy", path))?
            }
        }
    }
}

fn file_name(number: u16) -> String {
    format!("{number:05}")
}

fn invalid_part() -> S3Error {
    s3_error!(InvalidPart, "One or more of the specified parts could not be found or has another ETag")
}

fn no_such_upload() -> S3Error {
    s3_error!(NoSuchUpload, "The specified upload does not exist; it may have been aborted or completed")
}
