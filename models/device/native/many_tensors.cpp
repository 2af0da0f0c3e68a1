// Operations on many tensors in a few kernels, and the fused update of Adam, which tch lacks.

#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_fused_adam.h>

#include <cstdint>

#include "message.h"
#include "tensors.h"

extern "C" {

char* eqr_copy_each(const void* const* to, const void* const* from, int64_t count) {
  return message_of([&] { at::_foreach_copy_(tensors(to, count), tensors(from, count)); });
}

char* eqr_add_each(const void* const* to, const void* const* from, int64_t count) {
  return message_of([&] { at::_foreach_add_(tensors(to, count), tensors(from, count)); });
}

// One step of Adam with an L2 term in the gradient. `step` is a number in float32 on the device.
char* eqr_fused_adam(const void* values, const void* gradients, const void* m, const void* v, const void* step,
                     double lr, double beta1, double beta2, double weight_decay, double eps) {
  return message_of([&] {
    at::_fused_adam_({tensor(values)}, {tensor(gradients)}, {tensor(m)}, {tensor(v)}, {}, {tensor(step)}, lr, beta1,
                     beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

}  // extern "C"
