// Brightness, contrast, saturation and hue of images (N, 3, H, W), as transforms/color.rs of the data sets
// computes them. A null factor changes no image.

struct Color {
  float red, green, blue;
};

__device__ inline float clamped(float value) { return fminf(fmaxf(value, 0.0f), 1.0f); }

__device__ inline float grey(Color color) { return 0.2989f * color.red + 0.587f * color.green + 0.114f * color.blue; }

// factor * value + (1 - factor) * other, clamped.
__device__ inline float blend(float value, float other, float factor) {
  return clamped(value * factor + other * (1.0f - factor));
}

__device__ inline Color blend(Color color, float other, float factor) {
  return {blend(color.red, other, factor), blend(color.green, other, factor), blend(color.blue, other, factor)};
}

// A pixel of an image (3, pixels) after the change of brightness.
__device__ inline Color bright_pixel(const float* image, int pixel, int pixels, const float* brightness, int number) {
  const Color color = {image[pixel], image[pixel + pixels], image[pixel + 2 * pixels]};
  if (!brightness) return color;
  const float factor = brightness[number];
  return {clamped(color.red * factor), clamped(color.green * factor), clamped(color.blue * factor)};
}

// Rotates the hue by `turns`.
__device__ inline Color with_hue(Color color, float turns) {
  const float value = fmaxf(fmaxf(color.red, color.green), color.blue);
  const float chroma = value - fminf(fminf(color.red, color.green), color.blue);
  // grey pixels have no hue
  const float divisor = fmaxf(chroma, 1e-6f);
  float hue;
  if (value == color.red) {
    hue = (color.green - color.blue) / divisor;
  } else if (value == color.green) {
    hue = (color.blue - color.red) / divisor + 2.0f;
  } else {
    hue = (color.red - color.green) / divisor + 4.0f;
  }
  hue += turns * 6.0f;
  hue -= floorf(hue / 6.0f) * 6.0f;
  const float red = clamped(fabsf(hue - 3.0f) - 1.0f);
  const float green = clamped(2.0f - fabsf(hue - 2.0f));
  const float blue = clamped(2.0f - fabsf(hue - 4.0f));
  return {value + (red - 1.0f) * chroma, value + (green - 1.0f) * chroma, value + (blue - 1.0f) * chroma};
}

// Sums of the grey values after the change of brightness: sums (N, parts). Grid (N, parts), 256 threads.
extern "C" __global__ void grey_sums(In<float> images, In<float> brightness, Out<float> sums, int pixels) {
  __shared__ float of_warps[256 / kWarp];
  const int number = blockIdx.x;
  const float* image = images + 3ll * pixels * number;
  float sum = 0.0f;
  for (int pixel = blockIdx.y * blockDim.x + threadIdx.x; pixel < pixels; pixel += gridDim.y * blockDim.x) {
    sum += grey(bright_pixel(image, pixel, pixels, brightness, number));
  }
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    float all = 0.0f;
    for (int warp = 0; warp < 256 / kWarp; ++warp) all += of_warps[warp];
    sums[number * gridDim.y + blockIdx.y] = all;
  }
}

// All four changes. `sums` (N, parts) are read for the contrast. Grid (N, any), 256 threads.
extern "C" __global__ void jitter(In<float> images, In<float> brightness, In<float> contrast,
                                  In<float> saturation, In<float> hue, In<float> sums, int parts,
                                  Out<float> changed, int pixels) {
  const int number = blockIdx.x;
  const float* image = images + 3ll * pixels * number;
  float* to = changed + 3ll * pixels * number;
  float mean = 0.0f;
  if (contrast) {
    for (int part = 0; part < parts; ++part) mean += sums[number * parts + part];
    mean /= (float)pixels;
  }
  for (int pixel = blockIdx.y * blockDim.x + threadIdx.x; pixel < pixels; pixel += gridDim.y * blockDim.x) {
    Color color = bright_pixel(image, pixel, pixels, brightness, number);
    if (contrast) color = blend(color, mean, contrast[number]);
    if (saturation) color = blend(color, grey(color), saturation[number]);
    if (hue) color = with_hue(color, hue[number]);
    to[pixel] = color.red;
    to[pixel + pixels] = color.green;
    to[pixel + 2 * pixels] = color.blue;
  }
}
