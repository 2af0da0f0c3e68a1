// The kernels of kernels/residual_norm.cu as a differentiable function.

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "column_sums.h"
#include "launch.h"
#include "message.h"
#include "tensors.h"

// As `ResidualNorm` of kernels/residual_norm.rs has it. It lives as long as the process.
struct ResidualNormKernels {
  Kernel forward, backward, column_sums;
};

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kWarps = 8;
constexpr int64_t kThreads = 32 * kWarps;

// Most blocks of the backward pass. It does not depend on the GPU, so neither do the sums over rows.
constexpr int64_t kBlocks = 512;

struct ResidualNorm : torch::autograd::Function<ResidualNorm> {
  // x + y and its normalisation.
  static variable_list forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& y,
                               const at::Tensor& weight, const at::Tensor& bias, double eps,
                               const ResidualNormKernels* kernels) {
    const at::Tensor one = x.contiguous(), other = y.contiguous();
    const int64_t width = weight.numel();
    const int64_t rows = one.numel() / width;
    const at::Tensor sum = at::empty_like(one), normed = at::empty_like(one);
    const at::Tensor means = at::empty({rows}, one.options().dtype(at::kFloat)), scales = at::empty_like(means);
    launch(kernels->forward, one.device(), {pieces(rows, kWarps)}, kThreads, one.const_data_ptr(),
           other.const_data_ptr(), weight.const_data_ptr(), bias.const_data_ptr(), static_cast<float>(eps),
           sum.mutable_data_ptr(), normed.mutable_data_ptr(), means.mutable_data_ptr<float>(),
           scales.mutable_data_ptr<float>(), static_cast<int>(rows));
    context->save_for_backward({sum, means, scales, weight});
    context->saved_data["kernels"] = reinterpret_cast<int64_t>(kernels);
    context->set_materialize_grads(false);
    return {sum, normed};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "the kernel has no second derivatives");
    const at::Tensor of_sum = gradients[0].defined() ? gradients[0].contiguous() : at::Tensor();
    if (!gradients[1].defined()) return {of_sum, of_sum, {}, {}, {}, {}};
    const at::Tensor of_normed = gradients[1].contiguous();
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &sum = saved[0], &means = saved[1], &scales = saved[2], &weight = saved[3];
    const auto* kernels = reinterpret_cast<const ResidualNormKernels*>(context->saved_data["kernels"].toInt());
    const int64_t width = weight.numel();
    const int64_t rows = means.numel();
    const int64_t blocks = std::min(pieces(rows, kWarps), kBlocks);
    const at::Tensor of_summands = at::empty_like(sum);
    const at::Tensor parts = at::empty({blocks, 2 * width}, means.options());
    launch(kernels->backward, sum.device(), {blocks}, kThreads, sum.const_data_ptr(), means.const_data_ptr<float>(),
           scales.const_data_ptr<float>(), weight.const_data_ptr(),
           of_sum.defined() ? of_sum.const_data_ptr() : nullptr, of_normed.const_data_ptr(),
           of_summands.mutable_data_ptr(), parts.mutable_data_ptr<float>(), static_cast<int>(rows));
    const at::Tensor sums = column_sums(kernels->column_sums, parts, weight.scalar_type());
    return {of_summands, of_summands, sums.narrow(0, 0, width), sums.narrow(0, width, width), {}, {}};
  }
};

}  // namespace

extern "C" {

// Writes two new tensors. All tensors have the type of the kernels.
char* eqr_residual_norm(const ResidualNormKernels* kernels, const void* x, const void* y, const void* weight,
                        const void* bias, double eps, void** sum, void** normed) {
  return message_of([&] {
    const variable_list found =
        ResidualNorm::apply(tensor(x), tensor(y), tensor(weight), tensor(bias), eps, kernels);
    *sum = new at::Tensor(found[0]);
    *normed = new at::Tensor(found[1]);
  });
}

}  // extern "C"
