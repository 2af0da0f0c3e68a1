// Launches of kernels that were compiled at run time, on the current stream of a tensor's GPU.

#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>

// Functions of CUDA's driver, as `Launcher` of kernels/driver.rs has them.
struct Launcher {
  int (*launch_kernel)(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                       unsigned block_y, unsigned block_z, unsigned shared_bytes, void* stream, void** arguments,
                       void** extra);
  int (*push_context)(void* context);
  int (*pop_context)(void** context);
  int (*get_error_string)(int status, const char** text);
};

// A compiled kernel, as `Kernel` of kernels/driver.rs has it.
struct Kernel {
  const Launcher* launcher;
  void* context;
  void* function;
};

struct Grid {
  int64_t x;
  int64_t y = 1;
};

// The number of pieces of `size` that `count` things make.
inline int64_t pieces(int64_t count, int64_t size) { return (count + size - 1) / size; }

inline void succeed(const Launcher& launcher, const char* call, int status) {
  if (status == 0) return;
  const char* text = nullptr;
  launcher.get_error_string(status, &text);
  TORCH_CHECK(false, "CUDA error: ", call, ": ", text ? text : "unknown error");
}

// Makes a context the current one of this thread. The context of CUDA's runtime need not be: a thread of the
// backward pass may have made no call of CUDA yet.
class CurrentContext {
 public:
  explicit CurrentContext(const Kernel& kernel) : launcher_(*kernel.launcher) {
    succeed(launcher_, "cuCtxPushCurrent", launcher_.push_context(kernel.context));
  }
  ~CurrentContext() {
    void* context;
    launcher_.pop_context(&context);
  }
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;

 private:
  const Launcher& launcher_;
};

// Queues the kernel on the current stream of `device`. The types of the arguments are those of its parameters.
template <typename... Arguments>
void launch(const Kernel& kernel, c10::Device device, Grid grid, unsigned threads, Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0) return;
  const c10::impl::VirtualGuardImpl devices(device.type());
  void* stream = devices.getStreamNativeHandle(devices.getStream(device));
  void* pointers[] = {&arguments...};
  const Launcher& launcher = *kernel.launcher;
  const CurrentContext current(kernel);
  succeed(launcher, "cuLaunchKernel",
          launcher.launch_kernel(kernel.function, static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), 1,
                                 threads, 1, 1, 0, stream, pointers, nullptr));
}
