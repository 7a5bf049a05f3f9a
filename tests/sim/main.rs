//! The mesh under every fault, in virtual time. `make sim` runs many more schedules than these tests.

mod bugs;
mod gates;
mod long;
mod one_slow;
mod schedules;
