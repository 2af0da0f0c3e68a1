//! Packs with a valid seal: attributes, shapes, types, places, labels, latents, names, and all that is read
//! from them.
#![no_main]

use eqr_datasets::{Loader, Pack, pack};
use eqr_datasets_fuzz::choices::Choices;
use eqr_datasets_fuzz::generated_pack::write_pack;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(path) = write_pack(&mut Choices::new(data)) else { return };
    let _ = pack::verify(path);
    let pack = match Pack::open(path) {
        Ok(pack) => pack,
        Err(error) => return assert!(data.iter().any(|&byte| byte != 0), "zeros are a whole pack: {error}"),
    };
    let _ = pack.load();
    for split in &pack.splits {
        let _ = (split.units(), split.side(), split.image_bytes());
        for index in 0..split.len() {
            let _ = (split.size(index), split.image_file(index), split.image(index), split.mask(index));
            assert!(pack.class_names.get(split.labels[index] as usize).is_some(), "a label without a name");
        }
        let _ = Loader::new(split.clone(), 4).squares(&[0]);
    }
});
