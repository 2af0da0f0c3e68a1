// The gradient through GELU, x Phi(x) with the normal distribution function Phi, of x (rows, columns), and the sums
// of its columns for each row of blocks: parts (gridDim.y, columns). A thread computes a column. Grid
// (columns / 256, any).
extern "C" __global__ void gelu_backward(In<Element> x, In<Element> of_gelu, Out<Element> of_x,
                                         Out<float> parts, int rows, int columns) {
  const int column = blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  float sum = 0.0f;
#pragma unroll 4
  for (int row = blockIdx.y; row < rows; row += gridDim.y) {
    const long long at = (long long)row * columns + column;
    const float value = number(x[at]);
    const float distribution = 0.5f * (1.0f + erff(value * 0.70710678f));
    const float density = 0.39894228f * expf(-0.5f * value * value);
    const Element gradient = element(number(of_gelu[at]) * (distribution + value * density));
    of_x[at] = gradient;
    // what the memory holds is what the bias adds to
    sum += number(gradient);
  }
  parts[(long long)blockIdx.y * columns + column] = sum;
}
