
// The sums of the columns of parts (count, columns), in the same order every time. 8 warps a block, each block for
// 32 columns.
extern "C" __global__ void column_sums(In<float> parts, Out<Element> sums, int count, int columns) {
  __shared__ float of_warps[8][kWarp];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int column = blockIdx.x * kWarp + lane;
  float sum = 0.0f;
  if (column < columns) {
    for (int part = warp; part < count; part += 8) sum += parts[(long long)part * columns + column];
  }
  of_warps[warp][lane] = sum;
  __syncthreads();
  if (warp == 0 && column < columns) {
    float all = 0.0f;
    for (int other = 0; other < 8; ++other) all += of_warps[other][lane];
    sums[column] = element(all);
  }
}
