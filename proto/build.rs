//! Compiles the `.proto` files without a system `protoc`.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    println!("cargo:rerun-if-changed={}", root.join("p2p").display());
    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_imports(true).include_source_info(true);
    for file in ["chat", "mesh", "daemon"] {
        compiler.open_file(format!("p2p/v1/{file}.proto"))?;
    }
    let descriptors = compiler.file_descriptor_set();
    let out = Path::new(&env::var("OUT_DIR")?).join("p2p_v1.bin");
    fs::write(out, prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .extern_path(".p2p.v1.PostBatch", "crate::batch::PostBatch")
        .compile_fds(descriptors)?;
    Ok(())
}
