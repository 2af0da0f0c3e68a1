//! What sources ask about members.

use std::path::Path;

/// Whether the name says JPEG or PNG. Lists and notes that lie beside the images are passed over.
pub(super) fn is_image(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    !hidden && matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png"))
}
