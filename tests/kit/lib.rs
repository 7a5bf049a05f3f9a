//! What the tests are made with: the judge of histories, the simulator, and a harness of real processes.

pub mod checker;
pub mod daemon;
pub mod ledger;
pub mod member;
pub mod program;
pub mod sim;
pub mod skip;
pub mod tracer;
pub mod volume;
