//! Any bytes as a pickle of torch.save, and as a file of weights of which every tensor is read.
#![no_main]

use eqr_weights::{Weights, parse};
use libfuzzer_sys::fuzz_target;
use std::io::Write;

fuzz_target!(|data: &[u8]| {
    let _ = parse(data);
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(data).expect("a temporary file");
    let Ok(mut weights) = Weights::open(file.path()) else { return };
    let listed = weights.listed().clone();
    let Ok(read) = weights.read(listed.keys().map(String::as_str)) else { return };
    for (name, tensor) in read {
        let count: i64 = tensor.shape.iter().product();
        assert_eq!(tensor.shape, listed[&name].shape);
        assert_eq!(tensor.bytes.len(), count as usize * tensor.element.bytes());
    }
});
