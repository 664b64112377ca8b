//! Makes Rust of `proto/`, without a protocol compiler on the machine.

use std::{error::Error, fs, path::PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_file("api_bridge.proto")?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    let described = compiler.file_descriptor_set();
    // For reflection, which tells what members mean.
    fs::write(out.join("api_bridge.bin"), described.encode_to_vec())?;
    // Messages become JSON on their way to the operations, where what is absent has its default.
    let both = "#[derive(serde::Serialize, serde::Deserialize)]";
    tonic_prost_build::configure()
        .build_transport(false)
        .message_attribute(".", format!("{both}\n#[serde(default)]"))
        .enum_attribute(".", both)
        .compile_fds(described)?;
    Ok(())
}
