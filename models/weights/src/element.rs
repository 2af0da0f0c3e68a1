//! The types of a tensor's elements.

/// Type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Element {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

/// Each type with the name of torch's storage of it, and safetensors' name.
const NAMES: [(Element, &str, &str); 10] = [
    (Element::F64, "DoubleStorage", "F64"),
    (Element::F32, "FloatStorage", "F32"),
    (Element::F16, "HalfStorage", "F16"),
    (Element::BF16, "BFloat16Storage", "BF16"),
    (Element::I64, "LongStorage", "I64"),
    (Element::I32, "IntStorage", "I32"),
    (Element::I16, "ShortStorage", "I16"),
    (Element::I8, "CharStorage", "I8"),
    (Element::U8, "ByteStorage", "U8"),
    (Element::Bool, "BoolStorage", "BOOL"),
];

impl Element {
    /// Size of an element in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Element::F64 | Element::I64 => 8,
            Element::F32 | Element::I32 => 4,
            Element::F16 | Element::BF16 | Element::I16 => 2,
            Element::I8 | Element::U8 | Element::Bool => 1,
        }
    }

    /// The type of torch's class `storage`, for example `FloatStorage`.
    pub(crate) fn of_storage(storage: &str) -> Option<Element> {
        NAMES.iter().find(|(_, name, _)| *name == storage).map(|(element, ..)| *element)
    }

    /// The type that safetensors calls `dtype`, for example `F32`.
    pub(crate) fn of_safetensors(dtype: &str) -> Option<Element> {
        NAMES.iter().find(|(.., other)| *other == dtype).map(|(element, ..)| *element)
    }
}
