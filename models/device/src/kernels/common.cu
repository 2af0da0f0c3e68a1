// What the kernels share. Memory holds elements; kernels compute in float. No header of CUDA is needed.

// Arrays that are read or written, and that overlap with no other that is written.
template <typename T>
using In = const T* __restrict__;
template <typename T>
using Out = T* __restrict__;

#if BF16
// bfloat16, the upper half of a float.
struct Element {
  unsigned short bits;
};
__device__ inline float number(Element element) { return __uint_as_float((unsigned)element.bits << 16); }
// Rounds to the nearest, and to the even one of two.
__device__ inline Element element(float number) {
  const unsigned bits = __float_as_uint(number);
  const unsigned rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return {(unsigned short)(number == number ? rounded : 0x7fc0u)};
}
#else
typedef float Element;
__device__ inline float number(Element element) { return element; }
__device__ inline Element element(float number) { return number; }
#endif

constexpr int kWarp = 32;

// The sum over a warp, to the same bits in each of its threads.
__device__ inline float warp_sum(float value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}
