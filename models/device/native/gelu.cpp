// GELU of a linear layer's output, with the kernel of kernels/gelu.cu in the backward pass: it adds up the
// gradient of the layer's bias while it computes that of the output.

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <torch/csrc/autograd/custom_function.h>

#include "column_sums.h"
#include "launch.h"
#include "message.h"
#include "tensors.h"

// As `BiasGelu` of kernels/gelu.rs has it. It lives as long as the process.
struct GeluKernels {
  Kernel backward, column_sums;
};

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kThreads = 256;

// Rows that a block of the backward pass has at least, and most rows of blocks. They do not depend on the GPU, so
// neither do the sums over rows.
constexpr int64_t kRows = 32;
constexpr int64_t kParts = 256;

struct BiasGelu : torch::autograd::Function<BiasGelu> {
  // `hidden` (..., columns) contains the bias (columns) already.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& bias,
                            const GeluKernels* kernels) {
    context->save_for_backward({hidden});
    context->saved_data["kernels"] = reinterpret_cast<int64_t>(kernels);
    return at::gelu(hidden);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "the kernel has no second derivatives");
    const at::Tensor of_gelu = gradients[0].contiguous();
    const at::Tensor hidden = context->get_saved_variables()[0].contiguous();
    const auto* kernels = reinterpret_cast<const GeluKernels*>(context->saved_data["kernels"].toInt());
    const int64_t columns = hidden.size(-1);
    const int64_t rows = hidden.numel() / columns;
    const int64_t rows_of_blocks = std::min(pieces(rows, kRows), kParts);
    const at::Tensor of_hidden = at::empty_like(hidden);
    const at::Tensor parts = at::empty({rows_of_blocks, columns}, hidden.options().dtype(at::kFloat));
    launch(kernels->backward, hidden.device(), {pieces(columns, kThreads), rows_of_blocks}, kThreads,
           hidden.const_data_ptr(), of_gelu.const_data_ptr(), of_hidden.mutable_data_ptr(),
           parts.mutable_data_ptr<float>(), static_cast<int>(rows), static_cast<int>(columns));
    return {of_hidden, column_sums(kernels->column_sums, parts, hidden.scalar_type()), {}};
  }
};

}  // namespace

extern "C" {

// Writes a new tensor. `hidden` and `bias` have the type of the kernels.
char* eqr_bias_gelu(const GeluKernels* kernels, const void* hidden, const void* bias, void** result) {
  return message_of([&] { *result = new at::Tensor(BiasGelu::apply(tensor(hidden), tensor(bias), kernels)); });
}

}  // extern "C"
