//! Whole deliveries: a real record log and a real metastore in a temporary directory; an object store and a warehouse that misbehave.

mod attaching;
mod deliveries;
mod exactly_once;
mod faults;
mod loads;
mod metastore;
mod objects;
mod removals;
mod warehouse;
pub(crate) mod world;
