//! Named tensors as safetensors, with the file's text metadata.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, anyhow, bail};
use eqr_datasets::FileKind;
use eqr_datasets::output::OutputKind;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use tch::{Kind, Tensor};

/// Tensors by name, as expected by `Arena::load`.
pub type NamedTensors = BTreeMap<Cow<'static, str>, Tensor>;

/// Safetensors among the files that may be replaced.
pub const SAFETENSORS: OutputKind =
    OutputKind { name: "a safetensors file", begins: |start| FileKind::of(start) == FileKind::Safetensors };

const KINDS: [(Kind, Dtype); 4] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Half, Dtype::F16),
];

/// The bytes of a safetensors file.
///
/// # Errors
/// A tensor whose elements are not floats.
pub fn encode(tensors: &[(String, Tensor)], metadata: Option<HashMap<String, String>>) -> Result<Vec<u8>> {
    let raw = tensors.iter().map(|(name, tensor)| raw(tensor).with_context(|| name.clone()));
    let raw = raw.collect::<Result<Vec<Raw>>>()?;
    let views = raw.iter().map(|raw| TensorView::new(raw.dtype, raw.shape.clone(), &raw.bytes));
    let views = views.collect::<Result<Vec<_>, _>>()?;
    Ok(serialize(tensors.iter().map(|(name, _)| name.as_str()).zip(views), metadata)?)
}

/// Reads the bytes of a safetensors file: its float tensors, on the CPU, and its metadata.
///
/// # Errors
/// Bytes that are not safetensors; a tensor whose elements are not floats.
pub fn decode(bytes: &[u8]) -> Result<(NamedTensors, HashMap<String, String>)> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| match FileKind::of(bytes) {
        FileKind::Safetensors | FileKind::Unknown => anyhow!("not a safetensors file: {error}"),
        kind => {
            anyhow!(kind.instead_of("a safetensors file", "hint: safetensors.torch.save_file writes one"))
        }
    })?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let tensor = |(name, view): (String, TensorView)| {
        let Some((kind, _)) = KINDS.iter().find(|(_, dtype)| *dtype == view.dtype()) else {
            bail!("tensor {name} is of {:?}; expected F32, F64, BF16 or F16", view.dtype());
        };
        let shape = view.shape().iter().map(|&side| i64::try_from(side)).collect::<Result<Vec<_>, _>>()?;
        Ok((Cow::Owned(name), Tensor::f_from_data_size(view.data(), &shape, *kind)?))
    };
    let tensors = SafeTensors::deserialize(bytes).context("not a safetensors file")?.tensors();
    Ok((tensors.into_iter().map(tensor).collect::<Result<_>>()?, metadata))
}

struct Raw {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn raw(tensor: &Tensor) -> Result<Raw> {
    let kind = tensor.kind();
    let Some((_, dtype)) = KINDS.iter().find(|(kept, _)| *kept == kind) else {
        bail!("cannot write {kind:?}")
    };
    let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    let shape = tensor.size().into_iter().map(usize::try_from).collect::<Result<_, _>>()?;
    Ok(Raw { dtype: *dtype, shape, bytes })
}
