//! Who belongs to the mesh, and where they are.

pub mod record;
