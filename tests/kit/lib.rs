//! What the tests stand on: the judge of histories and the simulator.

pub mod checker;
pub mod sim;
