//! Kernels by the form of their input, each compiled and tried once.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use super::availability::{VARIABLE, begun};
use super::driver::{Gpu, Kernel, LoadedModule};
use super::nvrtc::Nvrtc;

/// What all kernels share.
const COMMON: &str = include_str!("common.cu");

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form {
    gpu: usize,
    /// Whether the elements are bfloat16; otherwise they are float32.
    bf16: bool,
    /// Length of a row, for kernels that depend on it; otherwise 1.
    width: i64,
}

impl Form {
    /// The form of a kernel on `tensor`, if kernels are wanted and can read it.
    pub(super) fn of(tensor: &Tensor, width: i64) -> Option<Form> {
        let Device::Cuda(gpu) = tensor.device() else { return None };
        let bf16 = match tensor.kind() {
            Kind::Float => false,
            Kind::BFloat16 => true,
            _ => return None,
        };
        begun().map(|_| Form { gpu, bf16, width })
    }

    /// Length of a row.
    pub(super) fn width(self) -> i64 {
        self.width
    }

    /// Kind and device of its tensors.
    pub(super) fn options(self) -> (Kind, Device) {
        (if self.bf16 { Kind::BFloat16 } else { Kind::Float }, Device::Cuda(self.gpu))
    }

    /// The macros of its sources, and their values.
    fn definitions(self) -> [(&'static str, i64); 2] {
        [("BF16", self.bf16.into()), ("WIDTH", self.width)]
    }

    /// Compiles a source for its GPU.
    pub(super) fn compile(self, source: &str) -> Result<Kernels, String> {
        let gpu = Gpu::new(self.gpu)?;
        let code = Nvrtc::load()?.compile(&whole(source), &gpu.architecture(), &self.definitions())?;
        Ok(Kernels(gpu.load(&code)?))
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.bf16 { "bfloat16" } else { "float32" })?;
        if self.width > 1 { write!(f, ", width {}", self.width) } else { Ok(()) }
    }
}

/// The kernels of a compiled source.
pub(super) struct Kernels(LoadedModule);

impl Kernels {
    /// The kernel of this name.
    pub(super) fn get(&self, name: &CStr) -> Result<Kernel, String> {
        self.0.kernel(name)
    }
}

/// The source of kernels with what they share.
fn whole(source: &str) -> String {
    [COMMON, source].concat()
}

/// The forms of one operation. `K` are its kernels.
pub(super) struct Forms<K: 'static> {
    /// The operation, for people.
    name: &'static str,
    /// Those that were tried. `None` if they are not used.
    tried: Mutex<BTreeMap<Form, Option<&'static K>>>,
}

impl<K> Forms<K> {
    /// None of the forms is compiled yet.
    pub(super) const fn new(name: &'static str) -> Self {
        Forms { name, tried: Mutex::new(BTreeMap::new()) }
    }

    /// The kernels of a form, if they passed `trial`. The first call compiles and tries them.
    pub(super) fn get(
        &self,
        form: Form,
        compile: impl FnOnce(Form) -> Result<K, String>,
        trial: impl FnOnce(&K, Form) -> Result<(), String>,
    ) -> Option<&'static K> {
        // a trial that panicked has left no form
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        *tried.entry(form).or_insert_with(|| {
            let kernels = compile(form).and_then(|kernels| trial(&kernels, form).map(|()| kernels));
            // graphs of libtorch may keep them as long as the process lives
            kernels.map(|kernels| &*Box::leak(Box::new(kernels))).map_err(|why| self.tell(form, &why)).ok()
        })
    }

    fn tell(&self, form: Form, why: &str) {
        if let Some(say) = begun() {
            say(&format!(
                "note: the GPU kernel for {} ({form}) is not used, but libtorch's operations, which are slower: {why}\n\
                 hint: {VARIABLE}=0 turns all such kernels off",
                self.name
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, Nvrtc, whole};

    const SOURCES: [(&str, &str); 4] = [
        ("jitter", include_str!("jitter.cu")),
        ("residual_norm", include_str!("residual_norm.cu")),
        ("column_sums", include_str!("column_sums.cu")),
        ("gelu", include_str!("gelu.cu")),
    ];

    /// The sources compile for the GPUs of today, which needs no GPU, but NVRTC.
    #[test]
    fn the_real_compiler_accepts_every_source() {
        let variable = super::super::nvrtc::VARIABLE;
        if std::env::var_os(variable).is_none() {
            eprintln!("SKIPPED: {variable} names no library (make test-cuda-libs)");
            return;
        }
        let compiler = Nvrtc::load().unwrap();
        for (name, source) in SOURCES {
            for (bf16, width) in [(false, 384), (true, 384), (true, 100), (false, 768)] {
                for architecture in ["sm_80", "sm_90", "sm_100"] {
                    let form = Form { gpu: 0, bf16, width };
                    let code = compiler.compile(&whole(source), architecture, &form.definitions());
                    let code = code.unwrap_or_else(|error| panic!("{name}.cu, {form:?}: {error}"));
                    // machine code is a file in the format of programs
                    assert!(code.starts_with(b"\x7fELF"), "{name}.cu, {form:?}, {architecture}");
                }
            }
        }
    }
}
