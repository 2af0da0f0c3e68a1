// Settings of libtorch for a GPU, and the memory that it keeps, which tch lacks.

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>

#include "message.h"

extern "C" {

// Products and convolutions of float32 are computed in float32: libtorch lets cuDNN round to TF32.
char* eqr_compute_in_float32() {
  return message_of([] {
    at::globalContext().setAllowTF32CuBLAS(false);
    at::globalContext().setAllowTF32CuDNN(false);
  });
}

// Operations without a deterministic algorithm are errors from now on.
char* eqr_be_deterministic() {
  return message_of([] {
    at::globalContext().setDeterministicAlgorithms(true, false);
    at::globalContext().setDeterministicCuDNN(true);
    at::globalContext().setBenchmarkCuDNN(false);
  });
}

// Gives the memory of freed tensors back to the device.
char* eqr_release_cached_memory() {
  return message_of([] { c10::getDeviceAllocator(c10::DeviceType::CUDA)->emptyCache(); });
}

}  // extern "C"
