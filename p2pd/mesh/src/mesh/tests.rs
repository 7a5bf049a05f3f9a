//! The mesh through its door: inputs go in, effects come out, and nothing else is looked at where that suffices.

mod configure;
mod dials;
mod disk;
mod figures;
mod forks;
mod hints;
mod hostile;
mod kit;
mod links;
mod liveness;
mod newest;
mod places;
mod publish;
mod rates;
mod receipts;
mod records;
mod repair;
mod spread;
mod store;
mod world;
