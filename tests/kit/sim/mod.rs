//! The simulator: many real cores, one seed, every fault, and a judge.
//!
//! It drives `p2p_mesh::mesh::Mesh` and the real codec over a virtual network, virtual disks and virtual clocks. The
//! same seed gives the same run, to the byte.

pub mod agenda;
pub mod batch;
pub mod bug;
pub mod dice;
pub mod disk;
pub mod hostile;
pub mod long;
pub mod machine;
pub mod measure;
pub mod network;
pub mod people;
pub mod plan;
pub mod schedule;
pub mod settle;
pub mod trace;
pub mod world;
