// The kernels of kernels/jitter.cu.

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "launch.h"
#include "message.h"
#include "tensors.h"

namespace {

constexpr int64_t kThreads = 256;

// Pixels of an image that a block of grey_sums adds up. It does not depend on the GPU, so neither do the sums.
constexpr int64_t kSummed = 8192;

// Pixels of an image that a block of jitter changes.
constexpr int64_t kChanged = 1024;

// The values of a factor (N), or null if it changes no image.
const float* values(const void* factor) {
  return factor ? static_cast<const at::Tensor*>(factor)->const_data_ptr<float>() : nullptr;
}

}  // namespace

extern "C" {

// Writes a new tensor: `images` (N, 3, H, W), float32 and contiguous, with the factors (N), float32 and
// contiguous, or null.
char* eqr_jitter(const Kernel* grey_sums, const Kernel* jitter, const void* images, const void* brightness,
                 const void* contrast, const void* saturation, const void* hue, void** changed) {
  return message_of([&] {
    const at::Tensor from = tensor(images);
    const int64_t number = from.size(0);
    const auto pixels = static_cast<int>(from.size(2) * from.size(3));
    const auto parts = static_cast<int>(pieces(pixels, kSummed));
    const auto* read = from.const_data_ptr<float>();
    at::Tensor sums;
    if (contrast) {
      sums = at::empty({number, parts}, from.options());
      launch(*grey_sums, from.device(), {number, parts}, kThreads, read, values(brightness),
             sums.mutable_data_ptr<float>(), pixels);
    }
    const at::Tensor to = at::empty_like(from);
    launch(*jitter, from.device(), {number, pieces(pixels, kChanged)}, kThreads, read, values(brightness),
           values(contrast), values(saturation), values(hue), contrast ? sums.const_data_ptr<float>() : nullptr, parts,
           to.mutable_data_ptr<float>(), pixels);
    *changed = new at::Tensor(to);
  });
}

}  // extern "C"
