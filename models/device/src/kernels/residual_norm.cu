// The sum of two tensors (rows, WIDTH), and the layer normalisation of the sum. A warp computes a row, which it
// keeps in registers.

constexpr int kPerLane = (WIDTH + kWarp - 1) / kWarp;
constexpr int kWarps = 8;

// The column of a thread's value number `k`; the last ones may lie beyond the row.
__device__ inline int column_of(int k) { return threadIdx.x % kWarp + kWarp * k; }

// Sum, normalised sum, and mean and 1/standard deviation of each row. 8 warps a block.
extern "C" __global__ void sum_and_norm(In<Element> x, In<Element> y, In<Element> weight, In<Element> bias,
                                        float eps, Out<Element> sum, Out<Element> normed, Out<float> means,
                                        Out<float> scales, int rows) {
  const int row = blockIdx.x * kWarps + threadIdx.x / kWarp;
  if (row >= rows) return;
  const long long start = (long long)row * WIDTH;
  float values[kPerLane];
  float total = 0.0f;
#pragma unroll
  for (int k = 0; k < kPerLane; ++k) {
    const int column = column_of(k);
    values[k] = 0.0f;
    if (column < WIDTH) {
      // what is normalised is what the memory holds
      const Element added = element(number(x[start + column]) + number(y[start + column]));
      sum[start + column] = added;
      values[k] = number(added);
    }
    total += values[k];
  }
  const float mean = warp_sum(total) / WIDTH;
  float squares = 0.0f;
#pragma unroll
  for (int k = 0; k < kPerLane; ++k) {
    const float difference = column_of(k) < WIDTH ? values[k] - mean : 0.0f;
    squares += difference * difference;
  }
  const float scale = 1.0f / sqrtf(warp_sum(squares) / WIDTH + eps);
#pragma unroll
  for (int k = 0; k < kPerLane; ++k) {
    const int column = column_of(k);
    if (column < WIDTH) {
      normed[start + column] = element((values[k] - mean) * scale * number(weight[column]) + number(bias[column]));
    }
  }
  if (threadIdx.x % kWarp == 0) {
    means[row] = mean;
    scales[row] = scale;
  }
}

// The gradient of both summands, and of weight and bias as a sum for each block: parts (blocks, 2, WIDTH). The
// gradient of the sum is null if only the normalised sum is used. 8 warps a block, any number of blocks.
extern "C" __global__ void sum_and_norm_backward(In<Element> sum, In<float> means, In<float> scales,
                                                 In<Element> weight, In<Element> of_sum,
                                                 In<Element> of_normed, Out<Element> of_summands,
                                                 Out<float> parts, int rows) {
  __shared__ float of_block[2 * WIDTH];
  float of_weight[kPerLane] = {};
  float of_bias[kPerLane] = {};
  const int warp = threadIdx.x / kWarp;
  for (int row = blockIdx.x * kWarps + warp; row < rows; row += gridDim.x * kWarps) {
    const long long start = (long long)row * WIDTH;
    const float mean = means[row], scale = scales[row];
    float standard[kPerLane];  // the normalised sum before weight and bias
    float gradient[kPerLane];  // of it
    float gradients = 0.0f, products = 0.0f;
#pragma unroll
    for (int k = 0; k < kPerLane; ++k) {
      const int column = column_of(k);
      standard[k] = gradient[k] = 0.0f;
      if (column < WIDTH) {
        const float given = number(of_normed[start + column]);
        standard[k] = (number(sum[start + column]) - mean) * scale;
        gradient[k] = given * number(weight[column]);
        of_weight[k] += given * standard[k];
        of_bias[k] += given;
      }
      gradients += gradient[k];
      products += gradient[k] * standard[k];
    }
    gradients = warp_sum(gradients) / WIDTH;
    products = warp_sum(products) / WIDTH;
#pragma unroll
    for (int k = 0; k < kPerLane; ++k) {
      const int column = column_of(k);
      if (column < WIDTH) {
        float result = (gradient[k] - gradients - standard[k] * products) * scale;
        if (of_sum) result += number(of_sum[start + column]);
        of_summands[start + column] = element(result);
      }
    }
  }
  // the warps add one after the other, so the order is the same every time
  for (int turn = 0; turn < kWarps; ++turn) {
    if (warp == turn) {
      for (int k = 0; k < kPerLane; ++k) {
        const int column = column_of(k);
        if (column < WIDTH) {
          of_block[column] = of_weight[k] + (turn > 0 ? of_block[column] : 0.0f);
          of_block[WIDTH + column] = of_bias[k] + (turn > 0 ? of_block[WIDTH + column] : 0.0f);
        }
      }
    }
    __syncthreads();
  }
  for (int i = threadIdx.x; i < 2 * WIDTH; i += kWarps * kWarp) parts[2ll * WIDTH * blockIdx.x + i] = of_block[i];
}
