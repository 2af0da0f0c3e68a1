//! Test data for the formats and for the sources that read them.

/// Calls `read` with `start` truncated to every length, and with each byte changed in three ways. No call may
/// panic.
pub(crate) fn damage(start: &[u8], read: impl Fn(&[u8])) {
    for end in 0..start.len() {
        read(&start[..end]);
    }
    let mut damaged = start.to_vec();
    for index in 0..start.len() {
        for change in [0x01, 0x80, 0xff] {
            damaged[index] ^= change;
            read(&damaged);
            damaged[index] ^= change;
        }
    }
}

/// A `.npy` file of version 1, as NumPy writes it.
pub(crate) fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    npy_with_header(1, &format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"), data)
}

/// A `.npy` file with any version and header.
pub(crate) fn npy_with_header(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let length = header.len() as u32;
    let mut bytes = b"\x93NUMPY".to_vec();
    bytes.extend_from_slice(&[version, 0]);
    bytes.extend_from_slice(&length.to_le_bytes()[..if version == 1 { 2 } else { 4 }]);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// Texts as NumPy stores them: UTF-32, each padded with zeros to `length` characters.
pub(crate) fn utf32(texts: &[&str], length: usize) -> Vec<u8> {
    let filled =
        |text: &str| text.chars().map(u32::from).chain(std::iter::repeat(0)).take(length).collect::<Vec<_>>();
    texts.iter().flat_map(|text| filled(text)).flat_map(u32::to_le_bytes).collect()
}
