//! NCCL's functions, loaded at run time: no NCCL is needed to build the program, nor on machines without
//! GPUs.

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use eqr_device::shared_library::SharedLibrary;
use serde::{Deserialize, Serialize};

/// The variable that names the library, or turns it off with 0.
const VARIABLE: &str = "EQR_NCCL";

/// What NVIDIA's packages call the library, and the name for developers.
const NAMES: [&CStr; 2] = [c"libnccl.so.2", c"libnccl.so"];

/// `ncclUniqueId`: what the ranks of a communicator have in common.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UniqueId {
    pub internal: [c_char; 128],
}

/// `ncclComm_t`.
pub type Comm = *mut c_void;

/// `ncclResult_t`.
pub type Status = c_int;

/// `ncclSuccess`.
pub const SUCCESS: Status = 0;

/// `ncclInProgress`: no error, of calls that do not block.
pub const IN_PROGRESS: Status = 7;

/// `ncclSum`.
pub const SUM: c_int = 0;

/// `ncclDataType_t`, the kinds that collectives carry.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum DataType {
    Float32 = 7,
    Float64 = 8,
}

type Stream = *mut c_void;

/// The functions that are used, as `nccl.h` declares them.
pub struct NcclLibrary {
    pub get_version: unsafe extern "C" fn(*mut c_int) -> Status,
    pub get_unique_id: unsafe extern "C" fn(*mut UniqueId) -> Status,
    pub comm_init_rank: unsafe extern "C" fn(*mut Comm, c_int, UniqueId, c_int) -> Status,
    pub all_reduce:
        unsafe extern "C" fn(*const c_void, *mut c_void, usize, DataType, c_int, Comm, Stream) -> Status,
    pub broadcast:
        unsafe extern "C" fn(*const c_void, *mut c_void, usize, DataType, c_int, Comm, Stream) -> Status,
    pub all_gather: unsafe extern "C" fn(*const c_void, *mut c_void, usize, DataType, Comm, Stream) -> Status,
    pub comm_get_async_error: unsafe extern "C" fn(Comm, *mut Status) -> Status,
    pub comm_abort: unsafe extern "C" fn(Comm) -> Status,
    pub comm_destroy: unsafe extern "C" fn(Comm) -> Status,
    get_error_string: unsafe extern "C" fn(Status) -> *const c_char,
}

/// Why there is no NCCL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Absence {
    /// `EQR_NCCL=0`.
    TurnedOff,
    /// The loader knows no library of that name.
    NotFound,
    /// `EQR_NCCL` names what does not load or is not NCCL: the message.
    Unusable(String),
}

impl NcclLibrary {
    /// The library that `EQR_NCCL` names; otherwise the one that libtorch has loaded, or that the loader
    /// finds. It is loaded once.
    ///
    /// # Errors
    /// Why there is none.
    pub fn load() -> Result<&'static Self, &'static Absence> {
        static LOADED: OnceLock<Result<NcclLibrary, Absence>> = OnceLock::new();
        LOADED.get_or_init(|| Self::open(std::env::var_os(VARIABLE))).as_ref()
    }

    fn open(variable: Option<OsString>) -> Result<Self, Absence> {
        match variable.filter(|path| !path.is_empty()) {
            Some(off) if off == "0" => Err(Absence::TurnedOff),
            Some(path) => {
                let name = CString::new(path.as_bytes()).expect("a variable holds no NUL");
                let hint = "hint: the path of libnccl.so.2; 0 turns NCCL off; unset, it is searched for";
                let unusable = |text| format!("{VARIABLE}={}: {text}\n{hint}", path.display());
                let library = SharedLibrary::open(&name).and_then(Self::with_functions_of);
                library.map_err(|text| Absence::Unusable(unusable(text)))
            }
            None => Self::search().ok_or(Absence::NotFound),
        }
    }

    fn search() -> Option<Self> {
        let by_libtorch = || SharedLibrary::loaded(NAMES[0]);
        let places: [fn() -> Result<SharedLibrary, String>; 3] =
            [by_libtorch, || SharedLibrary::open(NAMES[0]), || SharedLibrary::open(NAMES[1])];
        places.into_iter().find_map(|open| open().and_then(Self::with_functions_of).ok())
    }

    fn with_functions_of(library: SharedLibrary) -> Result<Self, String> {
        // SAFETY: nccl.h of NCCL 2 declares each function with the type of its field.
        unsafe {
            Ok(NcclLibrary {
                get_version: library.function(c"ncclGetVersion")?,
                get_unique_id: library.function(c"ncclGetUniqueId")?,
                comm_init_rank: library.function(c"ncclCommInitRank")?,
                all_reduce: library.function(c"ncclAllReduce")?,
                broadcast: library.function(c"ncclBroadcast")?,
                all_gather: library.function(c"ncclAllGather")?,
                comm_get_async_error: library.function(c"ncclCommGetAsyncError")?,
                comm_abort: library.function(c"ncclCommAbort")?,
                comm_destroy: library.function(c"ncclCommDestroy")?,
                get_error_string: library.function(c"ncclGetErrorString")?,
            })
        }
    }

    /// Version, as `2.27.3`.
    pub fn version(&self) -> String {
        let mut number = 0;
        // SAFETY: `number` outlives the call, which writes it.
        let status = unsafe { (self.get_version)(&raw mut number) };
        if status != SUCCESS {
            return "of unknown version".to_owned();
        }
        format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
    }

    /// `Ok`, or what NCCL says of the failed `call`.
    ///
    /// # Errors
    /// A status that is not success.
    pub fn check(&self, call: &str, status: Status) -> Result<(), String> {
        if status == SUCCESS {
            return Ok(());
        }
        // SAFETY: takes any number, and returns a constant NUL-terminated text.
        let text = unsafe { CStr::from_ptr((self.get_error_string)(status)) }.to_string_lossy();
        Err(format!("{call}: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Absence, NcclLibrary, VARIABLE};

    fn absence(variable: &str) -> Absence {
        NcclLibrary::open(Some(variable.into())).err().expect("no NCCL")
    }

    #[test]
    fn the_variable_turns_nccl_off_and_what_it_names_must_be_nccl() {
        assert_eq!(absence("0"), Absence::TurnedOff);
        let Absence::Unusable(text) = absence("/nowhere/libnccl.so.2") else { panic!("it does not load") };
        assert!(text.starts_with("EQR_NCCL=/nowhere/libnccl.so.2: ") && text.contains("hint:"), "{text}");
        let Absence::Unusable(text) = absence("libc.so.6") else { panic!("it is not NCCL") };
        assert!(text.contains("EQR_NCCL=libc.so.6: it has no function ncclGetVersion"), "{text}");
    }

    /// The library that `make test-cuda-libs` names loads without a driver.
    #[test]
    fn the_real_library_has_every_function() {
        let Some(path) = std::env::var_os(VARIABLE).filter(|path| path != "0") else {
            eprintln!("SKIPPED: {VARIABLE} names no library (make test-cuda-libs)");
            return;
        };
        let library = NcclLibrary::open(Some(path)).unwrap_or_else(|absence| panic!("{absence:?}"));
        assert!(library.version().starts_with("2."), "{}", library.version());
    }
}
