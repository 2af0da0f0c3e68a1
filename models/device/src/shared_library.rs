//! Libraries that are loaded at run time, so that the program starts where they are missing.

use std::ffi::{CStr, c_int, c_void};

/// A loaded library, which stays loaded.
#[derive(Debug)]
pub struct SharedLibrary(*mut c_void);

impl SharedLibrary {
    /// Loads the library of this name or path, unless it is loaded. Its initialisers run; those of CUDA's
    /// libraries only register functions.
    ///
    /// # Errors
    /// The loader's message.
    pub fn open(name: &CStr) -> Result<Self, String> {
        Self::find(name, 0)
    }

    /// The library of this name, if it is loaded.
    ///
    /// # Errors
    /// The loader's message.
    pub fn loaded(name: &CStr) -> Result<Self, String> {
        Self::find(name, libc::RTLD_NOLOAD)
    }

    fn find(name: &CStr, mode: c_int) -> Result<Self, String> {
        // SAFETY: a NUL-terminated name.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL | mode) };
        if handle.is_null() { Err(loader_message()) } else { Ok(SharedLibrary(handle)) }
    }

    /// The function `name` of the library or of those that it is linked to.
    ///
    /// # Errors
    /// There is none.
    ///
    /// # Safety
    /// `F` is the type of the pointer to the function.
    pub unsafe fn function<F: Copy>(&self, name: &CStr) -> Result<F, String> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        // SAFETY: an open library and a NUL-terminated name.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if symbol.is_null() {
            return Err(format!("it has no function {}", name.to_string_lossy()));
        }
        // SAFETY: the caller vouches for the type, and the sizes are equal.
        Ok(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&symbol) })
    }
}

fn loader_message() -> String {
    // SAFETY: dlerror returns null, or a NUL-terminated message of this thread's last failure.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return "it is not loaded".to_owned();
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned()
}
