//! Linear operations along rows and columns, with separate matrices for each image.

use tch::Tensor;

/// `columns` x image x `rows`^T for every channel: `images` (N, C, H, W), `columns` (N, H', H), `rows` (N,
/// W', W) -> (N, C, H', W').
///
/// For the image sizes here, a dense product is faster than shifted sums with a short kernel. It also allows
/// a separate kernel for each image.
pub(super) fn apply(images: &Tensor, columns: &Tensor, rows: &Tensor) -> Tensor {
    let (n, channels, height, width) = images.size4().expect("images are (N, C, H, W)");
    let along_rows = images.reshape([n, channels * height, width]).bmm(&rows.transpose(1, 2));
    columns.unsqueeze(1).matmul(&along_rows.view([n, channels, height, -1]))
}
