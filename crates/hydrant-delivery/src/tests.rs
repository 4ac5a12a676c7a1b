//! Whole deliveries: a real record log and a real metastore in a temporary directory; an object store and a warehouse that misbehave.

mod attaching;
mod backups;
mod deliveries;
mod discards;
mod exactly_once;
mod faults;
mod keys;
mod loads;
mod metastore;
mod objects;
mod options;
mod processing;
mod removals;
mod updates;
mod warehouse;
pub(crate) mod world;
