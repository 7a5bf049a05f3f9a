//! What the tests are made with: the judge of histories, the simulator, a harness of real processes, and the nemesis
//! that torments them.

pub mod chaos;
pub mod checker;
pub mod daemon;
pub mod exposition;
pub mod http;
pub mod ledger;
pub mod line;
pub mod member;
pub mod process;
pub mod program;
pub mod sim;
pub mod skip;
pub mod switch;
pub mod tracer;
pub mod volume;
