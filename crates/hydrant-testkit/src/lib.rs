//! Real components on free ports, clocks, fault-injecting wrappers.
//!
//! Tests of this project run against the real thing wherever there is one: a PostgreSQL server ([`Postgres`]), an S3
//! server that checks signatures and conditional puts ([`SeaweedFs`]), the built binary ([`Process`]). Faults come from
//! a proxy in front of them ([`FaultProxy`]), from signals (`pause`, `crash`, `kill9`), and never from code in the product.
//!
//! Everything listens on 127.0.0.1, lives in a temporary directory and ends with the test's process, however that ends.
//! What is missing on the machine is named in a panic together with the command that installs it.

mod ca;
mod clock;
mod corpus;
mod entropy;
mod eventually;
mod fault_proxy;
mod keeper;
mod moto;
mod port;
mod postgres;
mod process;
mod seaweedfs;
mod tools;

pub use ca::Ca;
pub use clock::ManualClock;
pub use corpus::replay_corpus;
pub use entropy::SeededEntropy;
pub use eventually::eventually;
pub use fault_proxy::{Fault, FaultProxy};
pub use keeper::Scratch;
pub use moto::Moto;
pub use port::free_port;
pub use postgres::Postgres;
pub use process::Process;
pub use seaweedfs::SeaweedFs;
pub use tools::{hydrant_binary, node, python, workspace_root};
