// The tensors behind the pointers that Rust passes.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

inline at::Tensor tensor(const void* pointer) { return *static_cast<const at::Tensor*>(pointer); }

inline std::vector<at::Tensor> tensors(const void* const* pointers, int64_t count) {
  std::vector<at::Tensor> found;
  found.reserve(count);
  for (int64_t i = 0; i < count; ++i) found.push_back(tensor(pointers[i]));
  return found;
}
