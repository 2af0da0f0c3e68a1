// The second half of sums over rows: kernels/column_sums.cu.

#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "launch.h"

// Sums of the columns of `parts` (count, columns), float32, in the type `kind`.
inline at::Tensor column_sums(const Kernel& kernel, const at::Tensor& parts, at::ScalarType kind) {
  const auto count = static_cast<int>(parts.size(0));
  const auto columns = static_cast<int>(parts.size(1));
  const at::Tensor sums = at::empty({columns}, parts.options().dtype(kind));
  launch(kernel, parts.device(), {pieces(columns, 32)}, 256, parts.const_data_ptr<float>(), sums.mutable_data_ptr(),
         count, columns);
  return sums;
}
