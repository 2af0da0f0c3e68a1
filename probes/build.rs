//! Names libtorch before the LAPACK of ndarray-linalg to the linker, and so to the loader.
//!
//! libtorch brings its own BLAS and LAPACK and exports their usual names. Whichever library comes first gives
//! them to all: behind a system's OpenBLAS, libtorch's own fp32 products became that library's, at half the
//! speed. The other way round ndarray-linalg takes what libtorch has, and the system's library only what it
//! has not.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
}
