// Gradients of tensors with given weights, which tch lacks: it differentiates numbers only.

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdint>
#include <vector>

#include "message.h"
#include "tensors.h"

extern "C" {

// Writes a new tensor for each input, which is undefined if no output depends on it.
char* eqr_vector_jacobian(const void* const* outputs, const void* const* weights, int64_t output_count,
                          const void* const* inputs, int64_t input_count, bool keep_graph, void** gradients) {
  return message_of([&] {
    const std::vector<at::Tensor> found = torch::autograd::grad(
        tensors(outputs, output_count), tensors(inputs, input_count), tensors(weights, output_count), keep_graph,
        /*create_graph=*/false, /*allow_unused=*/true);
    for (int64_t i = 0; i < input_count; ++i) gradients[i] = new at::Tensor(found[i]);
  });
}

}  // extern "C"
