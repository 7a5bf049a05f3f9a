//! Who belongs to the mesh, and where they are.

pub(crate) mod book;
pub mod record;
