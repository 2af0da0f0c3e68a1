//! The hash of what a pack holds, wherever it came from and however it lies in the file.

use super::read::Form;
use super::write::Contents;

/// BLAKE3 (hex) that the format calls `content`.
pub(super) fn hash(contents: &Contents) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let floats = |values: &mut dyn Iterator<Item = f32>| values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    add(contents.name.as_bytes());
    add(contents.kind.pack_name().as_bytes());
    contents.class_names.iter().for_each(|name| add(name.as_bytes()));
    add(&floats(&mut contents.mean.into_iter()));
    add(&floats(&mut contents.std.into_iter()));
    for split in &contents.splits {
        add(split.name.as_bytes());
        add(&split.labels.iter().flat_map(|label| label.to_le_bytes()).collect::<Vec<u8>>());
        for payload in std::iter::once(&split.images).chain(&split.masks) {
            add(&form_bytes(&payload.form));
            add(&payload.checksums.iter().copied().collect::<Vec<u8>>());
        }
        if let Some(scene) = split.scene {
            add(&(scene.views as u64).to_le_bytes());
            add(&floats(&mut scene.latents.iter().copied()));
        }
    }
    hasher.finalize().to_hex().to_string()
}

fn form_bytes(form: &Form) -> Vec<u8> {
    match form {
        Form::Pixels { height, width, channels } => {
            [*height, *width, *channels].iter().flat_map(|&axis| (axis as u64).to_le_bytes()).collect()
        }
        Form::Encoded { sizes, .. } => sizes.iter().flatten().flat_map(|side| side.to_le_bytes()).collect(),
    }
}
