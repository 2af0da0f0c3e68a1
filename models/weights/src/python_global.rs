//! The names of Python that a pickle of parameters needs. Any other one is refused.

use crate::element::Element;
use crate::error::{Error, Result};

/// What a name of Python means to the reader. None of it is ever called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    /// `torch.FloatStorage` and its like.
    Storage(Element),
    /// `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ..)`.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter(tensor, ..)`.
    RebuildParameter,
    /// A dictionary with an order or a default.
    Dictionary,
    /// `torch.Size`: a tuple.
    Size,
    /// Something that lies beside parameters and has nothing that is read: command-line arguments, numbers
    /// of numpy, paths, types.
    Inert,
}

const CALLS: [(&str, Global); 8] = [
    ("collections.OrderedDict", Global::Dictionary),
    ("collections.defaultdict", Global::Dictionary),
    ("collections.Counter", Global::Dictionary),
    ("torch._utils._rebuild_tensor", Global::RebuildTensor),
    ("torch._utils._rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils._rebuild_parameter", Global::RebuildParameter),
    ("torch._utils._rebuild_parameter_with_state", Global::RebuildParameter),
    ("torch.Size", Global::Size),
];

/// Plain data that training scripts store beside parameters. Their content is not read.
const INERT: [&str; 21] = [
    "argparse.Namespace",
    "types.SimpleNamespace",
    "_codecs.encode",
    "datetime.datetime",
    "datetime.timedelta",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "pathlib.PureWindowsPath",
    "pathlib._local.PosixPath",
    "torch.device",
    "torch.serialization._get_layout",
    "torch.torch_version.TorchVersion",
    "torch.memory_format",
];

/// Types of plain data in the modules `builtins` and, in Python 2, `__builtin__`.
const BUILT_IN: [&str; 13] = [
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "long",
    "set",
    "str",
    "tuple",
];

/// `torch.float32` and its like.
const TORCH_TYPES: [&str; 12] = [
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "complex64",
    "complex128",
];

impl Global {
    /// What `module.name` means.
    ///
    /// # Errors
    /// A name that is not on the lists.
    pub fn find(module: &str, name: &str) -> Result<Global> {
        let whole = format!("{module}.{name}");
        if let Some((_, global)) = CALLS.iter().find(|(call, _)| *call == whole) {
            return Ok(*global);
        }
        if let Some(element) = Element::of_storage(name).filter(|_| module == "torch") {
            return Ok(Global::Storage(element));
        }
        let inert = match module {
            "builtins" | "__builtin__" => BUILT_IN.contains(&name),
            "torch" => TORCH_TYPES.contains(&name),
            _ => false,
        };
        if inert || INERT.contains(&whole.as_str()) { Ok(Global::Inert) } else { Err(Error::Refused(whole)) }
    }
}
