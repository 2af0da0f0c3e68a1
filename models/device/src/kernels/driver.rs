//! CUDA's driver, loaded at run time: compiled kernels become functions of a GPU.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use crate::shared_library::SharedLibrary;

/// `CUcontext`.
type Context = *mut c_void;

/// `CUfunction`.
type Function = *mut c_void;

/// `CUmodule`.
type Module = *mut c_void;

/// `CUDA_SUCCESS`.
const SUCCESS: c_int = 0;

/// `CUdevice_attribute`: the two numbers of the compute capability.
const CAPABILITY: [c_int; 2] = [75, 76];

/// The functions that the C++ of `native/launch.h` calls, which declares the same fields.
#[repr(C)]
struct Launcher {
    #[rustfmt::skip]
    launch_kernel: unsafe extern "C" fn(Function, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, *mut c_void, *mut *mut c_void, *mut *mut c_void) -> c_int,
    push_context: unsafe extern "C" fn(Context) -> c_int,
    pop_context: unsafe extern "C" fn(*mut Context) -> c_int,
    get_error_string: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int,
}

/// The functions that are used, as `cuda.h` declares them.
struct Driver {
    launcher: Launcher,
    init: unsafe extern "C" fn(c_uint) -> c_int,
    device_get: unsafe extern "C" fn(*mut c_int, c_int) -> c_int,
    device_get_attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int,
    primary_context_retain: unsafe extern "C" fn(*mut Context, c_int) -> c_int,
    module_load_data: unsafe extern "C" fn(*mut Module, *const c_void) -> c_int,
    module_get_function: unsafe extern "C" fn(*mut Function, Module, *const c_char) -> c_int,
}

impl Driver {
    fn load() -> Result<&'static Driver, String> {
        static LOADED: OnceLock<Result<Driver, String>> = OnceLock::new();
        LOADED.get_or_init(Self::open).as_ref().map_err(Clone::clone)
    }

    fn open() -> Result<Driver, String> {
        let library = SharedLibrary::open(c"libcuda.so.1")?;
        // SAFETY: cuda.h of CUDA 12 and 13 declares each function with the type of its field.
        let driver = unsafe {
            Driver {
                launcher: Launcher {
                    launch_kernel: library.function(c"cuLaunchKernel")?,
                    push_context: library.function(c"cuCtxPushCurrent_v2")?,
                    pop_context: library.function(c"cuCtxPopCurrent_v2")?,
                    get_error_string: library.function(c"cuGetErrorString")?,
                },
                init: library.function(c"cuInit")?,
                device_get: library.function(c"cuDeviceGet")?,
                device_get_attribute: library.function(c"cuDeviceGetAttribute")?,
                primary_context_retain: library.function(c"cuDevicePrimaryCtxRetain")?,
                module_load_data: library.function(c"cuModuleLoadData")?,
                module_get_function: library.function(c"cuModuleGetFunction")?,
            }
        };
        // SAFETY: takes a number, which must be 0.
        driver.check("cuInit", unsafe { (driver.init)(0) })?;
        Ok(driver)
    }

    fn check(&self, call: &str, status: c_int) -> Result<(), String> {
        if status == SUCCESS {
            return Ok(());
        }
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: `text` outlives the call, which writes it.
        unsafe { (self.launcher.get_error_string)(status, &raw mut text) };
        if text.is_null() {
            return Err(format!("{call}: status {status}"));
        }
        // SAFETY: the text is constant and NUL-terminated.
        Err(format!("{call}: {}", unsafe { CStr::from_ptr(text) }.to_string_lossy()))
    }
}

/// A GPU and the context of libtorch's memory on it.
#[derive(Clone, Copy)]
pub(super) struct Gpu {
    driver: &'static Driver,
    context: Context,
    capability: [c_int; 2],
}

/// A function of a GPU, as `native/launch.h` declares it.
#[repr(C)]
pub(super) struct Kernel {
    launcher: &'static Launcher,
    context: Context,
    function: Function,
}

// SAFETY: the handles are not bound to a thread; CUDA's calls on them may be made from several at once.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

/// Machine code on a GPU, which stays there.
pub(super) struct LoadedModule {
    gpu: Gpu,
    module: Module,
}

impl Gpu {
    /// The GPU of libtorch's number.
    pub(super) fn new(number: usize) -> Result<Gpu, String> {
        let driver = Driver::load()?;
        let (mut device, mut context, mut capability) = (0, std::ptr::null_mut(), [0; 2]);
        let number = c_int::try_from(number).unwrap_or(c_int::MAX);
        // SAFETY: the pointers outlive the calls, which write through them.
        unsafe {
            driver.check("cuDeviceGet", (driver.device_get)(&raw mut device, number))?;
            for (value, attribute) in capability.iter_mut().zip(CAPABILITY) {
                let status = (driver.device_get_attribute)(value, attribute, device);
                driver.check("cuDeviceGetAttribute", status)?;
            }
            // the context of CUDA's runtime, and so of libtorch
            let status = (driver.primary_context_retain)(&raw mut context, device);
            driver.check("cuDevicePrimaryCtxRetain", status)?;
        }
        Ok(Gpu { driver, context, capability })
    }

    /// Its architecture as compilers call it, such as `sm_90`.
    pub(super) fn architecture(&self) -> String {
        let [major, minor] = self.capability;
        format!("sm_{major}{minor}")
    }

    /// Brings machine code to the GPU.
    pub(super) fn load(self, code: &[u8]) -> Result<LoadedModule, String> {
        let mut module = std::ptr::null_mut();
        let load = || {
            // SAFETY: `module` outlives the call, which writes it; the code is what a compiler for this GPU
            // wrote.
            unsafe { (self.driver.module_load_data)(&raw mut module, code.as_ptr().cast()) }
        };
        let status = self.in_context(load)?;
        self.driver.check("cuModuleLoadData", status)?;
        Ok(LoadedModule { gpu: self, module })
    }

    /// Calls the driver while the GPU's context is the current one.
    fn in_context(self, call: impl FnOnce() -> c_int) -> Result<c_int, String> {
        let mut before = std::ptr::null_mut();
        let Launcher { push_context, pop_context, .. } = self.driver.launcher;
        // SAFETY: the context is retained.
        self.driver.check("cuCtxPushCurrent", unsafe { push_context(self.context) })?;
        let status = call();
        // SAFETY: this thread has pushed the context; `before` outlives the call, which writes it.
        unsafe { pop_context(&raw mut before) };
        Ok(status)
    }
}

impl LoadedModule {
    /// A kernel of the module.
    pub(super) fn kernel(&self, name: &CStr) -> Result<Kernel, String> {
        let Gpu { driver, context, .. } = self.gpu;
        let mut function = std::ptr::null_mut();
        let get = || {
            // SAFETY: `function` outlives the call, which writes it; the module is loaded; the name is
            // NUL-terminated.
            unsafe { (driver.module_get_function)(&raw mut function, self.module, name.as_ptr()) }
        };
        let status = self.gpu.in_context(get)?;
        driver.check("cuModuleGetFunction", status)?;
        Ok(Kernel { launcher: &driver.launcher, context, function })
    }
}
