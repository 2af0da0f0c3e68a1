//! Links the LAPACK that ndarray-linalg calls: libtorch's own first, then the system's OpenBLAS.
//!
//! libtorch brings its own BLAS and LAPACK and exports their usual names. The library that comes first
//! provides them to the whole program. Behind OpenBLAS, libtorch's own fp32 products ran in OpenBLAS, at half
//! the speed. In this order ndarray-linalg takes what libtorch has, and OpenBLAS provides only what libtorch
//! lacks.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
    if pkg_config::probe_library("openblas").is_err() {
        println!("cargo:rustc-link-lib=dylib=openblas"); // in a folder that the linker searches
    }
}
