// A false driver, for tests alone: a libcuda.so.1 that runs kernels, which the false NVRTC compiled, on the memory
// of the false GPU. A launch runs at once, when what its stream had queued before is done; it is refused where
// the stream does not wait for kernels of others that use the same memory. A launch that a graph records runs
// with copies of its arguments when the graph does. The functions on devices are those of
// false_gpu.cpp, which this library is linked to.

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

extern "C" {
// of the false GPU
int false_gpu_device_of(const void* data);
void false_gpu_begin_kernel(void* stream, int device);
void false_gpu_end_kernel();
bool false_gpu_use_allocation(void* stream, int device, const void* data, bool writes);
bool false_gpu_record(void* stream, int device, void (*task)(void* argument, void* stream), void* argument);
}

namespace {

using Status = int;
constexpr Status kSuccess = 0, kInvalidValue = 1, kInvalidImage = 200, kInvalidContext = 201,
                 kNotFound = 500, kIllegalAddress = 700, kLaunchFailed = 719;

using See = void (*)(const void* data, bool writes, void* state);

struct Function {
  void (*launch)(const unsigned* grid, unsigned threads, void** arguments);
  void (*pointers)(void** arguments, See see, void* state);
  void (*sizes)(void (*see)(size_t bytes, void* state), void* state);
};

// The contexts of this thread, by the devices' numbers + 1.
thread_local std::vector<intptr_t> contexts;

// What a launch uses.
struct Uses {
  void* stream;
  int device;
  Status status = kSuccess;

  static void see(const void* data, bool writes, void* state) {
    auto& uses = *static_cast<Uses*>(state);
    if (false_gpu_device_of(data) != uses.device) {
      uses.status = kIllegalAddress;
    } else if (!false_gpu_use_allocation(uses.stream, uses.device, data, writes)) {
      uses.status = kLaunchFailed;
    }
  }
};

// The kernels keep the state of a block in one place.
std::mutex one_launch;

// A kernel on a device, with its grid and arguments.
struct Launch {
  const Function* function;
  int device;
  unsigned grid[2];
  unsigned threads;
  void** arguments;

  Status run(void* stream) const {
    Uses uses{stream, device};
    function->pointers(arguments, &Uses::see, &uses);
    if (uses.status != kSuccess) return uses.status;
    false_gpu_begin_kernel(stream, device);
    {
      const std::lock_guard<std::mutex> lock(one_launch);
      function->launch(grid, threads, arguments);
    }
    false_gpu_end_kernel();
    return kSuccess;
  }
};

// A launch of a graph.
struct RecordedLaunch {
  Launch launch;
  std::vector<std::vector<char>> values;
  std::vector<void*> arguments;

  explicit RecordedLaunch(const Launch& given) : launch(given) {
    launch.function->sizes(&RecordedLaunch::copy, this);
    for (std::vector<char>& value : values) arguments.push_back(value.data());
    launch.arguments = arguments.data();
  }
  static void copy(size_t bytes, void* state) {
    auto& self = *static_cast<RecordedLaunch*>(state);
    const char* value = static_cast<const char*>(self.launch.arguments[self.values.size()]);
    self.values.emplace_back(value, value + bytes);
  }
  static void run(void* launch, void* stream) {
    if (static_cast<RecordedLaunch*>(launch)->launch.run(stream) == kSuccess) return;
    std::fputs("a kernel of a graph failed on the false GPU\n", stderr);
    std::abort();
  }
};

}  // namespace

extern "C" {

// The compute capability 9.0.
Status cuDeviceGetAttribute(int* value, int attribute, int) {
  if (attribute != 75 && attribute != 76) return kInvalidValue;
  *value = attribute == 75 ? 9 : 0;
  return kSuccess;
}

Status cuDevicePrimaryCtxRetain(void** context, int device) {
  *context = reinterpret_cast<void*>(static_cast<intptr_t>(device) + 1);
  return kSuccess;
}

Status cuCtxPushCurrent_v2(void* context) {
  contexts.push_back(reinterpret_cast<intptr_t>(context));
  return kSuccess;
}

Status cuCtxPopCurrent_v2(void** context) {
  if (contexts.empty()) return kInvalidContext;
  *context = reinterpret_cast<void*>(contexts.back());
  contexts.pop_back();
  return kSuccess;
}

Status cuModuleLoadData(void** module, const void* code) {
  if (contexts.empty()) return kInvalidContext;
  *module = dlopen(static_cast<const char*>(code), RTLD_NOW | RTLD_LOCAL);
  return *module ? kSuccess : kInvalidImage;
}

Status cuModuleGetFunction(Function** function, void* module, const char* name) {
  if (contexts.empty()) return kInvalidContext;
  const std::string kernel = name;
  void* launch = dlsym(module, ("false_launch_" + kernel).c_str());
  void* pointers = dlsym(module, ("false_pointers_" + kernel).c_str());
  void* sizes = dlsym(module, ("false_sizes_" + kernel).c_str());
  if (!launch || !pointers || !sizes) return kNotFound;
  *function = new Function{reinterpret_cast<decltype(Function::launch)>(launch),
                           reinterpret_cast<decltype(Function::pointers)>(pointers),
                           reinterpret_cast<decltype(Function::sizes)>(sizes)};
  return kSuccess;
}

Status cuLaunchKernel(const Function* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                      unsigned block_y, unsigned block_z, unsigned shared_bytes, void* stream, void** arguments,
                      void** extra) {
  if (contexts.empty()) return kInvalidContext;
  const bool fits = grid_x > 0 && grid_y > 0 && grid_y < 65536 && block_x > 0 && block_x <= 1024;
  const bool is_used = grid_z == 1 && block_y == 1 && block_z == 1 && shared_bytes == 0 && !extra;
  if (!fits || !is_used) return kInvalidValue;
  const int device = static_cast<int>(contexts.back()) - 1;
  const Launch launch{function, device, {grid_x, grid_y}, block_x, arguments};
  auto recorded = std::make_unique<RecordedLaunch>(launch);
  if (!false_gpu_record(stream, device, &RecordedLaunch::run, recorded.get())) return launch.run(stream);
  recorded.release();  // as long as the graph, which tests keep to the end
  return kSuccess;
}

Status cuGetErrorString(Status status, const char** text) {
  switch (status) {
    case kIllegalAddress:
      *text = "an illegal memory access was encountered";
      break;
    case kLaunchFailed:
      *text = "race on the false GPU: a kernel uses memory that another stream uses, without waiting for it";
      break;
    default:
      *text = "an error of the false driver";
  }
  return kSuccess;
}

}  // extern "C"
