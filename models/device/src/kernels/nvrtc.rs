//! NVRTC, CUDA's compiler as a library, loaded at run time.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use crate::shared_library::SharedLibrary;

/// The variable that names the library.
pub const VARIABLE: &str = "EQR_NVRTC";

/// The library by the versions of CUDA that libtorch is built for, then the name for developers.
const NAMES: [&CStr; 3] = [c"libnvrtc.so.13", c"libnvrtc.so.12", c"libnvrtc.so"];

/// A part of libtorch that is linked to its NVRTC, and knows the folder of it. It needs a driver.
const LINKED_BY_LIBTORCH: &CStr = c"libcaffe2_nvrtc.so";

type Program = *mut c_void;

/// The functions that are used, as `nvrtc.h` declares them.
pub struct Nvrtc {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    #[rustfmt::skip]
    create_program: unsafe extern "C" fn(*mut Program, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char) -> c_int,
    compile_program: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    get_code_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    get_code: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    get_log_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    get_log: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    destroy_program: unsafe extern "C" fn(*mut Program) -> c_int,
}

impl Nvrtc {
    /// The library that `EQR_NVRTC` names; otherwise one that is loaded, that libtorch is linked to, or that
    /// the loader finds. It is loaded once.
    ///
    /// # Errors
    /// Why there is none.
    pub fn load() -> Result<&'static Nvrtc, String> {
        static LOADED: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
        let variable = || std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
        LOADED.get_or_init(|| Self::open(variable().as_deref())).as_ref().map_err(Clone::clone)
    }

    fn open(path: Option<&OsStr>) -> Result<Nvrtc, String> {
        let Some(path) = path else { return Self::search() };
        let name = CString::new(path.as_bytes()).expect("a variable holds no NUL");
        let opened = SharedLibrary::open(&name).and_then(Self::with_functions_of);
        opened.map_err(|text| format!("{VARIABLE}={}: {text}", path.display()))
    }

    fn search() -> Result<Nvrtc, String> {
        let loaded = NAMES.into_iter().map(SharedLibrary::loaded);
        let linked = std::iter::once_with(|| SharedLibrary::open(LINKED_BY_LIBTORCH));
        let of_the_loader = NAMES.into_iter().map(SharedLibrary::open);
        let mut found = loaded.chain(linked).chain(of_the_loader);
        found
            .find_map(|library| library.and_then(Self::with_functions_of).ok())
            .ok_or_else(|| "NVRTC (libnvrtc.so.13) is not found".to_owned())
    }

    fn with_functions_of(library: SharedLibrary) -> Result<Nvrtc, String> {
        // SAFETY: nvrtc.h of CUDA 12 and 13 declares each function with the type of its field.
        let nvrtc = unsafe {
            Nvrtc {
                version: library.function(c"nvrtcVersion")?,
                create_program: library.function(c"nvrtcCreateProgram")?,
                compile_program: library.function(c"nvrtcCompileProgram")?,
                get_code_size: library.function(c"nvrtcGetCUBINSize")?,
                get_code: library.function(c"nvrtcGetCUBIN")?,
                get_log_size: library.function(c"nvrtcGetProgramLogSize")?,
                get_log: library.function(c"nvrtcGetProgramLog")?,
                destroy_program: library.function(c"nvrtcDestroyProgram")?,
            }
        };
        nvrtc.load_its_headers();
        Ok(nvrtc)
    }

    /// NVRTC opens the library of its own headers by name. In NVIDIA's packages, the loader does not know the
    /// folder that both lie in, so it is loaded here. Elsewhere the loader finds it.
    fn load_its_headers(&self) {
        let name = format!("libnvrtc-builtins.so.{}", self.version());
        // SAFETY: `Dl_info` consists of plain pointers, for which zeros are a valid value.
        let mut found: libc::Dl_info = unsafe { std::mem::zeroed() };
        // SAFETY: dladdr accepts any address and writes only to `found`.
        if unsafe { libc::dladdr(self.version as *const c_void, &raw mut found) } == 0
            || found.dli_fname.is_null()
        {
            return;
        }
        // SAFETY: dladdr has set the name, which is NUL-terminated and valid as long as the library is
        // loaded.
        let own = OsStr::from_bytes(unsafe { CStr::from_ptr(found.dli_fname) }.to_bytes());
        let path = Path::new(own).with_file_name(name);
        let path = CString::new(path.as_os_str().as_bytes()).expect("a path holds no NUL");
        let _ = SharedLibrary::open(&path);
    }

    /// Version, as `13.0`.
    pub fn version(&self) -> String {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the pointers outlive the call, which writes through them.
        unsafe { (self.version)(&raw mut major, &raw mut minor) };
        format!("{major}.{minor}")
    }

    /// Compiles CUDA C++ to machine code of an architecture, such as `sm_90`. `definitions` are macros and
    /// their values.
    ///
    /// # Errors
    /// The messages of the compiler.
    pub fn compile(
        &self,
        source: &str,
        architecture: &str,
        definitions: &[(&str, i64)],
    ) -> Result<Vec<u8>, String> {
        let source = CString::new(source).map_err(|error| error.to_string())?;
        let options = [format!("--gpu-architecture={architecture}"), "--std=c++17".to_owned()];
        let definitions = definitions.iter().map(|(name, value)| format!("-D{name}={value}"));
        let options: Vec<CString> = options
            .into_iter()
            .chain(definitions)
            .map(|option| CString::new(option).expect("options hold no NUL"))
            .collect();
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let (mut program, none) = (std::ptr::null_mut(), std::ptr::null());
        // SAFETY: the texts are NUL-terminated and outlive the calls; the program is destroyed at the end.
        unsafe {
            let status = (self.create_program)(
                &raw mut program,
                source.as_ptr(),
                c"kernels.cu".as_ptr(),
                0,
                none,
                none,
            );
            if status != 0 {
                return Err(format!("nvrtcCreateProgram: status {status}"));
            }
            let status = (self.compile_program)(program, options.len() as c_int, options.as_ptr());
            let (size, text) = match status {
                0 => (self.get_code_size, self.get_code),
                _ => (self.get_log_size, self.get_log),
            };
            let bytes = Self::bytes(program, size, text);
            (self.destroy_program)(&raw mut program);
            match status {
                0 => bytes,
                _ => Err(format!("nvrtcCompileProgram: status {status}: {}", first_lines(&bytes?))),
            }
        }
    }

    /// What a pair of functions returns: a size, and as many bytes.
    ///
    /// # Safety
    /// The program exists, and the functions belong to each other.
    unsafe fn bytes(
        program: Program,
        size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
        get: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ) -> Result<Vec<u8>, String> {
        let mut length = 0;
        // SAFETY: `length` outlives the call, which writes it.
        let status = unsafe { size(program, &raw mut length) };
        let mut bytes = vec![0u8; length];
        // SAFETY: there is room for as many bytes as the first function said.
        if status != 0 || unsafe { get(program, bytes.as_mut_ptr().cast()) } != 0 {
            return Err("NVRTC does not give its result".to_owned());
        }
        Ok(bytes)
    }
}

/// The beginning of a compiler's NUL-terminated messages.
fn first_lines(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    text.trim_end_matches(['\0', '\n']).lines().take(4).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::{Nvrtc, VARIABLE};

    #[test]
    fn what_the_variable_names_must_be_nvrtc() {
        let refused = |path: &str| Nvrtc::open(Some(path.as_ref())).err().expect("no NVRTC");
        let missing = refused("/nowhere/libnvrtc.so.13");
        assert!(missing.starts_with(&format!("{VARIABLE}=/nowhere/libnvrtc.so.13: ")), "{missing}");
        let other = refused("libc.so.6");
        assert_eq!(other, format!("{VARIABLE}=libc.so.6: it has no function nvrtcVersion"));
    }
}
