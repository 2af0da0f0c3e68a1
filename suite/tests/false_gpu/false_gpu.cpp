// A false GPU, for tests alone: a libtorch_cuda.so that claims the CUDA slot which the CPU libtorch leaves
// empty. Every operation runs by the CPU's kernel, on memory that only these kernels may touch.
//
// What it catches: operations on tensors of different devices; reads of device memory by the host (the memory
// is inaccessible between operations, so they crash); allocations over a limit; calls that stop the host
// until the device has answered, which it counts. What it cannot catch: the numerics of CUDA's kernels, races
// between streams (there is one, and it has always finished), and speed.
//
// EQR_FALSE_GPUS            number of devices (1)
// EQR_FALSE_GPU_BYTES       memory of each (4 GiB)
// EQR_FALSE_GPU_OPEN        1: the host may touch the memory, which makes operations faster
// EQR_FALSE_GPU_COUNTS      file that gets the counts as JSON when the process ends

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/DispatchStub.h>
#include <ATen/native/Resize.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>

namespace {

using c10::Device;
using c10::DeviceIndex;
using c10::DeviceType;
using c10::Stream;

int64_t number(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoll(text) : otherwise;
}

const int64_t kDevices = number("EQR_FALSE_GPUS", 1);
const int64_t kBytes = number("EQR_FALSE_GPU_BYTES", int64_t{4} << 30);
const bool kOpen = number("EQR_FALSE_GPU_OPEN", 0) != 0;

thread_local DeviceIndex current_device = 0;

// ---- counts ----

struct Counts {
  std::atomic<int64_t> operations{0};      // kernels
  std::atomic<int64_t> scalar_reads{0};    // the host waits for a number
  std::atomic<int64_t> copies_to_host{0};  // the host waits for a tensor
  std::atomic<int64_t> blocking_copies_to_device{0};
  std::atomic<int64_t> other_copies_to_device{0};
  std::atomic<int64_t> synchronisations{0};

  ~Counts() {
    const char* path = std::getenv("EQR_FALSE_GPU_COUNTS");
    std::FILE* file = path ? std::fopen(path, "w") : nullptr;
    if (!file) return;
    std::fprintf(file,
                 "{\"operations\": %ld, \"scalar_reads\": %ld, \"copies_to_host\": %ld, "
                 "\"blocking_copies_to_device\": %ld, \"other_copies_to_device\": %ld, \"synchronisations\": %ld}\n",
                 operations.load(), scalar_reads.load(), copies_to_host.load(), blocking_copies_to_device.load(),
                 other_copies_to_device.load(), synchronisations.load());
    std::fclose(file);
  }
};
Counts counts;

// Whether this thread is inside an operation, whose own copies do not count.
thread_local int inside = 0;

void count(std::atomic<int64_t>& what) {
  if (inside == 0) ++what;
}

// ---- memory ----

// One range of addresses for all devices, inaccessible but during operations.
struct Memory {
  static constexpr size_t kAlignment = 4096;
  std::mutex mutex;
  char* start = nullptr;
  size_t size = 0;
  std::map<size_t, size_t> holes;  // offset -> length
  struct Piece {
    size_t length;
    DeviceIndex device;
  };
  std::map<size_t, Piece> pieces;  // offset -> piece
  std::map<DeviceIndex, int64_t> used;
  int open = 0;

  Memory() {
    size = static_cast<size_t>(kBytes) * static_cast<size_t>(std::max<int64_t>(kDevices, 1)) * 2;
    const int protection = kOpen ? PROT_READ | PROT_WRITE : PROT_NONE;
    void* found = mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED) std::abort();
    start = static_cast<char*>(found);
    holes[0] = size;
  }

  void* allocate(size_t bytes, DeviceIndex device) {
    std::lock_guard<std::mutex> lock(mutex);
    const size_t length = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    // the words of CUDA's allocator
    TORCH_CHECK_WITH(OutOfMemoryError, used[device] + static_cast<int64_t>(length) <= kBytes,
                     "CUDA out of memory. Tried to allocate ", bytes, " bytes. GPU ", static_cast<int>(device),
                     " has a total capacity of ", kBytes, " bytes of which ", kBytes - used[device], " are free.");
    for (auto hole = holes.begin(); hole != holes.end(); ++hole) {
      if (hole->second < length) continue;
      const auto [offset, room] = *hole;
      holes.erase(hole);
      if (room > length) holes[offset + length] = room - length;
      pieces[offset] = {length, device};
      used[device] += static_cast<int64_t>(length);
      return start + offset;
    }
    TORCH_CHECK(false, "the false GPU's addresses are used up");
  }

  void release(void* data) {
    std::lock_guard<std::mutex> lock(mutex);
    size_t offset = static_cast<size_t>(static_cast<char*>(data) - start);
    const auto piece = pieces.find(offset);
    size_t length = piece->second.length;
    used[piece->second.device] -= static_cast<int64_t>(length);
    pieces.erase(piece);
    auto next = holes.lower_bound(offset);
    if (next != holes.end() && next->first == offset + length) {
      length += next->second;
      next = holes.erase(next);
    }
    if (next != holes.begin()) {
      auto before = std::prev(next);
      if (before->first + before->second == offset) {
        before->second += length;
        return;
      }
    }
    holes[offset] = length;
  }

  void protect(int protection) {
    if (mprotect(start, size, protection) != 0) std::abort();
  }
  void enter() {
    if (kOpen) return;
    std::lock_guard<std::mutex> lock(mutex);
    if (open++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  void leave() {
    if (kOpen) return;
    std::lock_guard<std::mutex> lock(mutex);
    if (--open == 0) protect(PROT_NONE);
  }
};

// Never destroyed: tensors may outlive the static objects of this library.
Memory& memory() {
  static Memory* all = new Memory;
  return *all;
}

// An operation: the device's memory can be read and written.
struct Operation {
  Operation() {
    ++inside;
    memory().enter();
  }
  ~Operation() {
    memory().leave();
    --inside;
  }
};

struct FalseAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes ? memory().allocate(bytes, current_device) : nullptr;
    return {data, data, &release, Device(DeviceType::CUDA, current_device)};
  }
  static void release(void* data) {
    if (data) memory().release(data);
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    Operation operation;
    std::memcpy(to, from, bytes);
  }
};
FalseAllocator allocator;

// ---- devices, streams, hooks ----

struct FalseGuard final : c10::impl::DeviceGuardImplInterface {
  static Stream only(Device device) { return Stream(Stream::DEFAULT, device); }

  DeviceType type() const override { return DeviceType::CUDA; }
  Device getDevice() const override { return {DeviceType::CUDA, current_device}; }
  Device exchangeDevice(Device device) const override {
    const Device before = getDevice();
    uncheckedSetDevice(device);
    return before;
  }
  void setDevice(Device device) const override {
    TORCH_CHECK(device.index() < kDevices, "CUDA error: invalid device ordinal");
    uncheckedSetDevice(device);
  }
  void uncheckedSetDevice(Device device) const noexcept override {
    if (device.index() >= 0) current_device = device.index();
  }
  DeviceIndex deviceCount() const noexcept override { return static_cast<DeviceIndex>(kDevices); }

  Stream getStream(Device device) const override { return only(device); }
  Stream getDefaultStream(Device device) const override { return only(device); }
  Stream getStreamFromGlobalPool(Device device, bool) const override { return only(device); }
  Stream getNewStream(Device device, int) const override { return only(device); }
  Stream exchangeStream(Stream stream) const override { return stream; }
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream&) const override { count(counts.synchronisations); }
  void synchronizeDevice(const DeviceIndex) const override { count(counts.synchronisations); }
  void recordDataPtrOnStream(const c10::DataPtr&, const Stream&) const override {}

  void record(void** event, const Stream&, const DeviceIndex, const c10::EventFlag) const override {
    *event = &allocator;
  }
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override { count(counts.synchronisations); }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
};
C10_REGISTER_GUARD_IMPL(CUDA, FalseGuard);

// libtorch asks its registry for a class of this name.
struct CUDAHooks final : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return kDevices > 0; }
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex current_device() const override { return ::current_device; }
  DeviceIndex deviceCount() const override { return static_cast<DeviceIndex>(kDevices); }
  int getNumGPUs() const override { return static_cast<int>(kDevices); }
  void deviceSynchronize(DeviceIndex) const override { count(counts.synchronisations); }
  long versionCUDART() const override { return 13000; }
  long versionCuDNN() const override { return 0; }
  long versionRuntimeCuDNN() const override { return 0; }
  std::string showConfig() const override { return "a false GPU"; }
  c10::Allocator* getCUDADeviceAllocator() const override { return &allocator; }
  c10::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(DeviceType::CPU); }
  bool isPinnedPtr(const void*) const override { return false; }
  const at::Generator& getDefaultGenerator(DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
};

struct AllocatorRegistered {
  // 255: before any other
  AllocatorRegistered() { c10::SetAllocator(DeviceType::CUDA, &allocator, 255); }
} allocator_registered;

// ---- operations ----

// A tensor of the CPU on the same memory, to be used inside an `Operation`.
at::Tensor on_cpu(const at::Tensor& tensor) {
  if (!tensor.is_cuda()) return tensor;
  const auto& storage = tensor.storage();
  const auto items = static_cast<int64_t>(storage.nbytes() / tensor.itemsize());
  return at::from_blob(storage.mutable_data(), {items}, at::TensorOptions().dtype(tensor.dtype()).device(at::kCPU))
      .as_strided(tensor.sizes(), tensor.strides(), tensor.storage_offset());
}

Device chosen(std::optional<Device> device) {
  return device && device->has_index() ? *device : Device(DeviceType::CUDA, current_device);
}

at::Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  const c10::DeviceGuard guard(chosen(device));
  return at::detail::empty_generic(size, &allocator, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                   dtype.value_or(at::kFloat), format);
}

at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<Device> device, std::optional<bool>) {
  const c10::DeviceGuard guard(chosen(device));
  return at::detail::empty_strided_generic(size, stride, &allocator, c10::DispatchKeySet(c10::DispatchKey::CUDA),
                                           dtype.value_or(at::kFloat));
}

at::Tensor& copy(at::Tensor& to, const at::Tensor& from, bool non_blocking) {
  if (!to.is_cuda()) {
    count(counts.copies_to_host);
  } else if (!from.is_cuda()) {
    count(non_blocking ? counts.other_copies_to_device : counts.blocking_copies_to_device);
  } else {
    count(counts.operations);
  }
  Operation operation;
  on_cpu(to).copy_(on_cpu(from));
  return to;
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  at::Tensor target = to;
  return copy(target, from, non_blocking);
}

const at::Tensor& resize_in_place(const at::Tensor& self, c10::IntArrayRef size, std::optional<at::MemoryFormat>) {
  const auto bytes = static_cast<size_t>(c10::multiply_integers(size)) * self.itemsize();
  auto storage = self.storage();
  if (storage.nbytes() < bytes) {
    const c10::DeviceGuard guard(self.device());
    auto data = allocator.allocate(bytes);
    if (storage.nbytes() > 0) allocator.copy_data(data.get(), storage.data(), storage.nbytes());
    storage.set_data_ptr_noswap(std::move(data));
    storage.set_nbytes(bytes);
  }
  self.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return self;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  if (from.sizes() != to.sizes()) resize_in_place(to, from.sizes(), std::nullopt);
  return copy_from(from, to, false);
}

at::Scalar local_scalar_dense(const at::Tensor& tensor) {
  count(counts.scalar_reads);
  Operation operation;
  return on_cpu(tensor).item();
}

// CUDA's kernels take indices from the host.
bool takes_host_tensors(const std::string& name) {
  static const std::set<std::string> names = {"aten::index", "aten::index_put_", "aten::_index_put_impl_"};
  return names.count(name) > 0;
}

// Numbers without dimensions may lie on the host.
void check_devices(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  std::optional<Device> device;
  const auto see = [&](const at::Tensor& tensor) {
    if (!tensor.defined() || tensor.dim() == 0) return;
    if (!device) device = tensor.device();
    TORCH_CHECK(*device == tensor.device(), op.schema().name(),
                ": Expected all tensors to be on the same device, but found at least two devices, ", *device, " and ",
                tensor.device(), "!");
  };
  const size_t arguments = op.schema().arguments().size();
  for (size_t i = stack.size() - arguments; i < stack.size(); ++i) {
    const c10::IValue& value = stack[i];
    if (value.isTensor()) {
      see(value.toTensor());
    } else if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) see(tensor);
    }
  }
}

void by_the_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  count(counts.operations);
  if (!takes_host_tensors(op.schema().name())) check_devices(op, *stack);
  Operation operation;
  at::native::cpu_fallback(op, stack);
}

int64_t plain_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                        double, bool, std::optional<double>, bool) {
  return static_cast<int64_t>(sdp::SDPBackend::math);
}

TORCH_LIBRARY_IMPL(_, CUDA, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&by_the_cpu>()); }

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("unfold", TORCH_FN(at::native::unfold));
  m.impl("copy_", TORCH_FN(copy));
  m.impl("_copy_from", TORCH_FN(copy_from));
  m.impl("_copy_from_and_resize", TORCH_FN(copy_from_and_resize));
  m.impl("resize_", TORCH_FN(resize_in_place));
  m.impl("_local_scalar_dense", TORCH_FN(local_scalar_dense));
}

}  // namespace

namespace at {
REGISTER_CUDA_HOOKS(CUDAHooks);
}

namespace at::native {
REGISTER_CUDA_DISPATCH(_fused_sdp_choice_stub, &plain_attention)
}
