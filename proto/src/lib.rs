//! The local API of p2pd: generated code, a typed client, endpoint addresses and the error vocabulary.

pub mod batch;
pub mod client;
pub mod endpoint;
pub mod error;

/// Messages, clients and servers of `p2p.v1`, generated from the `.proto` files beside this crate.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("p2p.v1");
    pub use crate::batch::PostBatch;
}

pub use tonic_health;

/// Everything that reflection needs to tell about `p2p.v1`.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("p2p_v1");
