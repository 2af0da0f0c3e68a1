//! Libraries that are loaded at run time, so that the program starts where they are missing.

use std::ffi::{CStr, c_int, c_void};

/// A loaded library, which stays loaded.
#[derive(Clone, Copy, Debug)]
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
    pub unsafe fn function<F: Copy>(self, name: &CStr) -> Result<F, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_name_and_what_is_missing_is_said() {
        let library = SharedLibrary::open(c"libc.so.6").unwrap();
        // SAFETY: the C standard declares `int abs(int)`.
        let abs = unsafe { library.function::<extern "C" fn(c_int) -> c_int>(c"abs") }.unwrap();
        assert_eq!(abs(-3), 3);
        // SAFETY: a function that does not exist is not called.
        let missing = unsafe { library.function::<extern "C" fn()>(c"eqr_no_such_function") };
        assert_eq!(missing.err().as_deref(), Some("it has no function eqr_no_such_function"));
        assert!(SharedLibrary::open(c"/nowhere/lib.so").unwrap_err().contains("/nowhere/lib.so"));
        assert!(SharedLibrary::loaded(c"libnowhere.so").is_err());
    }
}
