//! Compiles the C++ of `native/` against the headers of the libtorch that tch is built with.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=native");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let libtorch = std::env::var_os("LIBTORCH").expect("LIBTORCH is set by .cargo/config.toml");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .include(PathBuf::from(libtorch).join("include"))
        .warnings(false) // of libtorch's headers
        .file("native/gelu.cpp")
        .file("native/graph.cpp")
        .file("native/jitter.cpp")
        .file("native/many_tensors.cpp")
        .file("native/residual_norm.cpp")
        .file("native/settings.cpp")
        .file("native/stream.cpp")
        .file("native/vector_jacobian.cpp")
        .compile("eqr_native");
}
