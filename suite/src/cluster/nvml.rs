//! The energy of a GPU, from the counter of its driver: NVML, which is loaded at run time.
//!
//! UNTESTED on hardware: no GPU was available. Tests run it with a library made for them.

use std::ffi::{CStr, CString, c_char, c_int, c_ulonglong, c_void};
use std::os::unix::ffi::OsStrExt;

use crate::cluster::gpu_uuid::gpu_uuid;
use eqr_device::shared_library::SharedLibrary;

/// What the driver calls the library.
const NAME: &CStr = c"libnvidia-ml.so.1";

/// Another library with the same functions.
const VARIABLE: &str = "EQR_NVML";

/// `nvmlReturn_t`.
type Status = c_int;

/// `NVML_SUCCESS`.
const SUCCESS: Status = 0;

/// `nvmlDevice_t`.
type Device = *mut c_void;

/// The functions that are used, as `nvml.h` declares them.
struct Nvml {
    init: unsafe extern "C" fn() -> Status,
    handle_by_uuid: unsafe extern "C" fn(*const c_char, *mut Device) -> Status,
    /// Millijoules since the driver was loaded.
    total_energy: unsafe extern "C" fn(Device, *mut c_ulonglong) -> Status,
    error_string: unsafe extern "C" fn(Status) -> *const c_char,
}

/// Counts the energy of a GPU.
pub struct GpuMeter {
    nvml: Nvml,
    device: Device,
    /// The GPU in messages.
    name: String,
    /// The counter at the start, in millijoules.
    start: u64,
}

impl GpuMeter {
    /// Begins to count the energy of a GPU of this process.
    ///
    /// # Errors
    /// Why it cannot be counted: no NVML; a GPU that it does not know, such as a part of one (MIG), or that
    /// has no counter (those before Volta).
    pub fn start(gpu: usize) -> Result<GpuMeter, String> {
        let nvml = Nvml::open()?;
        let uuid = gpu_uuid(gpu).ok_or_else(|| format!("the driver does not say which GPU {gpu} is"))?;
        let name = uuid_text(&uuid);
        let text = CString::new(name.clone()).expect("hexadecimal digits hold no NUL");
        let mut device = std::ptr::null_mut();
        // SAFETY: takes no argument, and may be called again.
        nvml.check("nvmlInit_v2", &name, unsafe { (nvml.init)() })?;
        // SAFETY: a NUL-terminated text, and a pointer that outlives the call, which writes through it.
        let status = unsafe { (nvml.handle_by_uuid)(text.as_ptr(), &raw mut device) };
        nvml.check("nvmlDeviceGetHandleByUUID", &name, status)?;
        let meter = GpuMeter { nvml, device, name, start: 0 };
        let start = meter.counter()?;
        Ok(GpuMeter { start, ..meter })
    }

    /// The energy since the start, in joules.
    ///
    /// # Errors
    /// A counter that can no longer be read.
    pub fn joules(&self) -> Result<f64, String> {
        Ok(self.counter()?.saturating_sub(self.start) as f64 / 1e3)
    }

    fn counter(&self) -> Result<u64, String> {
        let mut millijoules = 0;
        // SAFETY: the library's own handle, and a pointer that outlives the call, which writes through it.
        let status = unsafe { (self.nvml.total_energy)(self.device, &raw mut millijoules) };
        self.nvml.check("nvmlDeviceGetTotalEnergyConsumption", &self.name, status)?;
        Ok(millijoules)
    }
}

impl Nvml {
    fn open() -> Result<Nvml, String> {
        let (name, source) = match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => {
                let name = CString::new(path.as_bytes()).expect("a variable holds no NUL");
                (name, format!("{VARIABLE}={}", path.display()))
            }
            None => (NAME.to_owned(), "NVML".to_owned()),
        };
        let library = SharedLibrary::open(&name);
        library.and_then(Nvml::with_functions_of).map_err(|text| format!("{source}: {text}"))
    }

    fn with_functions_of(library: SharedLibrary) -> Result<Nvml, String> {
        // SAFETY: nvml.h declares each function with the type of its field.
        unsafe {
            Ok(Nvml {
                init: library.function(c"nvmlInit_v2")?,
                handle_by_uuid: library.function(c"nvmlDeviceGetHandleByUUID")?,
                total_energy: library.function(c"nvmlDeviceGetTotalEnergyConsumption")?,
                error_string: library.function(c"nvmlErrorString")?,
            })
        }
    }

    /// What NVML says of a failed `call` about `gpu`.
    fn check(&self, call: &str, gpu: &str, status: Status) -> Result<(), String> {
        if status == SUCCESS {
            return Ok(());
        }
        // SAFETY: takes any number, and returns a constant NUL-terminated text.
        let text = unsafe { CStr::from_ptr((self.error_string)(status)) }.to_string_lossy();
        Err(format!("{gpu}: {call}: {text}"))
    }
}

/// The identity as NVML writes it: `GPU-` and groups of 4, 2, 2, 2 and 6 bytes.
fn uuid_text(uuid: &[u8; 16]) -> String {
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let groups = [0..4, 4..6, 6..8, 8..10, 10..16].map(|group| digits(&uuid[group]));
    format!("GPU-{}", groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::uuid_text;

    #[test]
    fn identities_are_written_in_groups() {
        let uuid = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0, 1, 2, 3, 4, 5, 6, 0xff];
        assert_eq!(uuid_text(&uuid), "GPU-12345678-9abc-def0-0001-0203040506ff");
    }
}
