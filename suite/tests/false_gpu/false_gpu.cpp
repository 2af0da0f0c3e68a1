// A false GPU, for tests alone: a libtorch_cuda.so that claims the CUDA slot which the CPU libtorch leaves
// empty. Every operation runs by the CPU's kernel, on memory that only these kernels may touch.
//
// What it catches: operations on tensors of different devices; reads of device memory by the host (the memory
// is inaccessible between operations, so they crash); allocations over a limit; calls that stop the host
// until the device has answered, which it counts; kernels that do not wait for what another library queued
// (they read too early), and work of another library that does not wait for kernels (it is refused); kernels
// of two streams that use the same memory and do not wait for each other, and memory that is freed while
// another stream uses it (both end the program); work that a CUDA graph cannot hold. What it cannot catch: the numerics of CUDA's kernels, and speed.
//
// EQR_FALSE_GPUS            number of devices (1)
// EQR_FALSE_GPU_BYTES       memory of each (4 GiB)
// EQR_FALSE_GPU_OPEN        1: the host may touch the memory, which makes operations faster
// EQR_FALSE_GPU_NO_WAITS    default: the default stream does not wait for events; others: the other streams do
//                           not. Mistakes that tests plant
// EQR_FALSE_NODE            number of the node that this process pretends to be on (0), for its devices' names
// EQR_FALSE_GPU_COUNTS      file that gets the counts as JSON when the process ends
// EQR_FALSE_GPU_OPERATIONS  file that gets the names of the operations when the process ends

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/DispatchStub.h>
#include <ATen/native/Resize.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/native/transformers/sdp_utils_cpp.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

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

// Whether streams wait for events.
bool waits(const Stream& stream) {
  static const char* without = std::getenv("EQR_FALSE_GPU_NO_WAITS");
  return !without || std::strcmp(without, stream.id() == 0 ? "default" : "others") != 0;
}

thread_local DeviceIndex current_device = 0;

// ---- counts ----

struct Counts {
  std::atomic<int64_t> operations{0};      // kernels
  std::atomic<int64_t> scalar_reads{0};    // the host waits for a number
  std::atomic<int64_t> copies_to_host{0};  // the host waits for a tensor
  std::atomic<int64_t> blocking_copies_to_device{0};
  std::atomic<int64_t> queued_copies_to_device{0};
  std::atomic<int64_t> copies_from_pageable_memory{0};  // the driver copies them first, and the host waits for it
  std::atomic<int64_t> synchronisations{0};
  std::atomic<int64_t> emptied_caches{0};
  std::atomic<int64_t> recorded_operations{0};  // of graphs
  std::atomic<int64_t> operations_with_tf32{0};
  std::atomic<int64_t> deterministic_operations{0};
  std::atomic<int64_t> most_used_bytes{0};  // of any device, at any time

  ~Counts() {
    const char* path = std::getenv("EQR_FALSE_GPU_COUNTS");
    std::FILE* file = path ? std::fopen(path, "w") : nullptr;
    if (!file) return;
    std::fprintf(file,
                 "{\"operations\": %ld, \"scalar_reads\": %ld, \"copies_to_host\": %ld, "
                 "\"blocking_copies_to_device\": %ld, \"queued_copies_to_device\": %ld, "
                 "\"copies_from_pageable_memory\": %ld, \"synchronisations\": %ld, "
                 "\"emptied_caches\": %ld, \"recorded_operations\": %ld, \"operations_with_tf32\": %ld, \"deterministic_operations\": %ld, "
                 "\"most_used_bytes\": %ld}\n",
                 operations.load(), scalar_reads.load(), copies_to_host.load(), blocking_copies_to_device.load(),
                 queued_copies_to_device.load(), copies_from_pageable_memory.load(), synchronisations.load(),
                 emptied_caches.load(), recorded_operations.load(), operations_with_tf32.load(), deterministic_operations.load(),
                 most_used_bytes.load());
    std::fclose(file);
  }
};
Counts counts;

// The operations that ran by the CPU's kernels, by name and overload.
struct Names {
  std::mutex mutex;
  std::set<std::string> all;
  const char* path = std::getenv("EQR_FALSE_GPU_OPERATIONS");

  void add(const c10::OperatorName& name) {
    if (!path) return;
    std::lock_guard<std::mutex> lock(mutex);
    all.insert(c10::toString(name));
  }
  ~Names() {
    std::FILE* file = path ? std::fopen(path, "w") : nullptr;
    if (!file) return;
    for (const std::string& name : all) std::fprintf(file, "%s\n", name.c_str());
    std::fclose(file);
  }
};
Names names;

// Whether this thread is inside an operation, whose own copies do not count.
thread_local int inside = 0;

void count(std::atomic<int64_t>& what) {
  if (inside == 0) ++what;
}

// ---- streams ----

// The work of a stream that runs late, in order, on a thread of its own. Kernels are not among it: they run
// at once, when what is queued before them is done. Never destroyed.
class Queue {
 public:
  // Returns the work's number.
  int64_t push(std::function<void()> task) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (pushed_ == 0) std::thread([this] { run(); }).detach();
    tasks_.push_back(std::move(task));
    changed_.notify_all();
    return ++pushed_;
  }
  int64_t pushed() {
    std::lock_guard<std::mutex> lock(mutex_);
    return pushed_;
  }
  bool has_done(int64_t number) {
    std::lock_guard<std::mutex> lock(mutex_);
    return done_ >= number;
  }
  void wait_for(int64_t number) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return done_ >= number; });
  }

 private:
  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return !tasks_.empty(); });
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
      ++done_;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  int64_t pushed_ = 0;
  int64_t done_ = 0;
};

// All streams by their ids: the devices' default ones, whose ids are 0 in libtorch, then the others.
struct Streams {
  std::mutex mutex;
  std::vector<Queue*> all;

  Streams() {
    for (int64_t device = 0; device < std::max<int64_t>(kDevices, 1); ++device) all.push_back(new Queue);
  }
  Queue& of(const Stream& stream) {
    std::lock_guard<std::mutex> lock(mutex);
    return *all.at(stream.id() == 0 ? std::max<DeviceIndex>(stream.device_index(), 0) : stream.id());
  }
  Stream add(Device device) {
    std::lock_guard<std::mutex> lock(mutex);
    all.push_back(new Queue);
    return Stream(Stream::UNSAFE, device, static_cast<c10::StreamId>(all.size() - 1));
  }
};

// Never destroyed: threads may still use it.
Streams& streams() {
  static Streams* all = new Streams;
  return *all;
}

// How many kernels of each stream are over before something happens.
using Kernels = std::map<const Queue*, int64_t>;

// Kernels run at once, so nothing goes wrong where other work does not wait for them. Therefore it is noted
// which kernels each stream waits for.
class Order {
 public:
  // Counts a kernel of the stream.
  int64_t add_kernel(const Queue& queue) {
    std::lock_guard<std::mutex> lock(mutex_);
    return ++before_[&queue][&queue];
  }
  Kernels before(const Queue& queue) {
    std::lock_guard<std::mutex> lock(mutex_);
    return before_[&queue];
  }
  void wait(const Queue& queue, const Kernels& kernels) {
    std::lock_guard<std::mutex> lock(mutex_);
    merge(before_[&queue], kernels);
  }
  // The host waits for the stream before it queues anything else.
  void host_waits(const Queue& queue) {
    std::lock_guard<std::mutex> lock(mutex_);
    merge(before_host_, before_[&queue]);
  }
  // Whether what is queued now runs after the kernel.
  bool is_after(const Queue& queue, const Queue* of, int64_t kernel) {
    std::lock_guard<std::mutex> lock(mutex_);
    return before_[&queue][of] >= kernel || before_host_[of] >= kernel;
  }

 private:
  static void merge(Kernels& into, const Kernels& kernels) {
    for (const auto& [queue, count] : kernels) into[queue] = std::max(into[queue], count);
  }

  std::mutex mutex_;
  std::map<const Queue*, Kernels> before_;
  Kernels before_host_;
};

// Never destroyed: threads may still use it.
Order& order() {
  static Order* all = new Order;
  return *all;
}

thread_local std::map<DeviceIndex, Stream> current_streams;

Stream current_stream(Device device) {
  const auto found = current_streams.find(device.index());
  return found == current_streams.end() ? Stream(Stream::DEFAULT, device) : found->second;
}

// The end of the work that a stream had at a time.
struct Place {
  Queue* queue = nullptr;
  int64_t number = 0;
  Kernels kernels;
};

// A place, which `record` moves.
struct Event {
  std::mutex mutex;
  Place place;

  Place get() {
    std::lock_guard<std::mutex> lock(mutex);
    return place;
  }
};

// ---- memory ----

// One range of addresses for all devices, inaccessible but during operations.
struct Memory {
  static constexpr size_t kAlignment = 4096;
  std::mutex mutex;
  char* start = nullptr;
  size_t size = 0;
  std::map<size_t, size_t> holes;  // offset -> length
  // A kernel's use of the bytes from `begin` to `end`.
  struct Use {
    const char* begin;
    const char* end;
    const Queue* queue;
    int64_t kernel;
    bool writes;

    bool overlaps(const Use& other) const { return begin < other.end && other.begin < end; }
    bool lies_in(const Use& other) const { return other.begin <= begin && end <= other.end; }
  };
  struct Piece {
    size_t length;
    DeviceIndex device;
    Queue* home;             // the stream that it was made for
    std::set<Queue*> users;  // other streams that it is kept for
    std::vector<Use> uses;   // the last ones of every part of it
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

  void* allocate(size_t bytes, DeviceIndex device, Queue& home) {
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
      pieces[offset] = {length, device, &home, {}, {}};
      used[device] += static_cast<int64_t>(length);
      counts.most_used_bytes = std::max(counts.most_used_bytes.load(), used[device]);
      return start + offset;
    }
    TORCH_CHECK(false, "the false GPU's addresses are used up");
  }

  size_t offset_of(const void* data) const {
    return static_cast<size_t>(static_cast<const char*>(data) - start);
  }

  // The piece that the address lies in, or null. `mutex` is held.
  Piece* piece_of(const void* data) {
    if (data < start || data >= start + size) return nullptr;
    const auto after = pieces.upper_bound(offset_of(data));
    return after == pieces.begin() ? nullptr : &std::prev(after)->second;
  }

  // The device whose memory this is, or -1.
  DeviceIndex device_of(const void* data) {
    std::lock_guard<std::mutex> lock(mutex);
    const Piece* piece = piece_of(data);
    return piece ? piece->device : DeviceIndex{-1};
  }

  // The piece that the address lies in: its start and its length.
  std::pair<const char*, size_t> allocation_of(const void* data) {
    std::lock_guard<std::mutex> lock(mutex);
    const auto piece = std::prev(pieces.upper_bound(offset_of(data)));
    return {start + piece->first, piece->second.length};
  }

  void add_user(const void* data, Queue& queue) {
    std::lock_guard<std::mutex> lock(mutex);
    if (Piece* piece = piece_of(data)) piece->users.insert(&queue);
  }

  // Notes a use. False if it does not follow those that it must.
  bool add(const Use& use) {
    std::lock_guard<std::mutex> lock(mutex);
    Piece* piece = piece_of(use.begin);
    if (!piece) return true;
    for (const Use& before : piece->uses) {
      const bool matters = before.overlaps(use) && (before.writes || use.writes);
      if (matters && !order().is_after(*use.queue, before.queue, before.kernel)) return false;
    }
    // whoever follows this use follows those
    const auto covered = [&](const Use& before) {
      return before.lies_in(use) && (use.writes || (before.queue == use.queue && !before.writes));
    };
    piece->uses.erase(std::remove_if(piece->uses.begin(), piece->uses.end(), covered), piece->uses.end());
    piece->uses.push_back(use);
    return true;
  }

  // Frees the memory when the streams that use it have done what is queued now.
  void release(void* data) {
    std::set<Queue*> users;
    {
      std::lock_guard<std::mutex> lock(mutex);
      Piece& piece = pieces.at(offset_of(data));
      users.swap(piece.users);
      for (const Use& use : piece.uses) {
        // the next piece of this stream may get the memory at once
        if (users.count(const_cast<Queue*>(use.queue)) > 0) continue;
        if (order().is_after(*piece.home, use.queue, use.kernel)) continue;
        std::fputs("race on the false GPU: memory is freed while another stream uses it\n", stderr);
        std::abort();
      }
    }
    if (users.empty()) return release_now(data);
    Queue* last = *users.begin();
    for (Queue* user : users) {
      const int64_t number = user->pushed();
      if (user != last) last->push([user, number] { user->wait_for(number); });
    }
    last->push([this, data] { release_now(data); });
  }

  void release_now(void* data) {
    std::lock_guard<std::mutex> lock(mutex);
    size_t offset = offset_of(data);
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

// An operation: the device's memory can be read and written, and what its stream had queued before is done.
struct Operation {
  Queue& queue;
  const int64_t kernel;

  explicit Operation(Device device)
      : queue(streams().of(current_stream(device))), kernel(order().add_kernel(queue)) {
    if (inside++ == 0) queue.wait_for(queue.pushed());
    memory().enter();
  }
  void reads(const at::Tensor& tensor) const { uses(tensor, false); }
  void writes(const at::Tensor& tensor) const { uses(tensor, true); }
  // The host waits for the operation before it queues anything else.
  void host_waits() const { order().host_waits(queue); }
  ~Operation() {
    memory().leave();
    --inside;
  }

 private:
  void uses(const at::Tensor& tensor, bool writes) const {
    if (!tensor.defined() || !tensor.is_cuda() || tensor.numel() == 0) return;
    int64_t last = 0;
    for (int64_t i = 0; i < tensor.dim(); ++i) last += (tensor.size(i) - 1) * tensor.stride(i);
    const char* begin = static_cast<const char*>(tensor.const_data_ptr());
    const Memory::Use use{begin, begin + (last + 1) * tensor.itemsize(), &queue, kernel, writes};
    TORCH_CHECK(memory().add(use), "race on the false GPU: a kernel ",
                writes ? "writes" : "reads", " memory that another stream uses, without waiting for it");
  }
};

// ---- graphs ----

// The operations of a CUDA graph, in order. What is queued on its stream while it is recorded does not run, and
// what is allocated there stays the graph's: nothing else gets the memory.
struct Recording {
  const Queue& queue;
  std::vector<std::function<void()>> operations;
};

std::atomic<Recording*> recording{nullptr};

struct FalseAllocator final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t bytes) override {
    const Device device(DeviceType::CUDA, current_device);
    Queue& home = streams().of(current_stream(device));
    void* data = bytes ? memory().allocate(bytes, current_device, home) : nullptr;
    const Recording* graph = recording.load();
    const bool is_of_graph = graph && &graph->queue == &home;
    if (is_of_graph && data) {
      // the CPU's kernels check classes and indices when they are recorded
      memory().enter();
      std::memset(data, 0, bytes);
      memory().leave();
    }
    return {data, data, is_of_graph ? &keep : &release, Device(DeviceType::CUDA, current_device)};
  }
  static void release(void* data) {
    if (data) memory().release(data);
  }
  static void keep(void*) {}
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override { ++counts.emptied_caches; }
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(DeviceIndex) override { return {}; }
  void resetAccumulatedStats(DeviceIndex) override {}
  void resetPeakStats(DeviceIndex) override {}
  void copy_data(void* to, const void* from, size_t bytes) const override {
    const Operation operation(Device(DeviceType::CUDA, current_device));
    std::memcpy(to, from, bytes);
  }
};
FalseAllocator allocator;

// Memory of the host that a device reads by itself.
struct PinnedMemory {
  std::mutex mutex;
  std::map<const char*, size_t> pieces;  // start -> length

  void add(const void* data, size_t length) {
    std::lock_guard<std::mutex> lock(mutex);
    pieces[static_cast<const char*>(data)] = length;
  }
  void remove(const void* data) {
    std::lock_guard<std::mutex> lock(mutex);
    pieces.erase(static_cast<const char*>(data));
  }
  bool has(const void* data) {
    std::lock_guard<std::mutex> lock(mutex);
    const char* address = static_cast<const char*>(data);
    const auto after = pieces.upper_bound(address);
    return after != pieces.begin() && address < std::prev(after)->first + std::prev(after)->second;
  }
};

// Never destroyed: tensors may outlive the static objects of this library.
PinnedMemory& pinned_memory() {
  static PinnedMemory* all = new PinnedMemory;
  return *all;
}

struct FalsePinnedAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes ? std::malloc(bytes) : nullptr;
    if (data) pinned_memory().add(data, bytes);
    return {data, data, &release, Device(DeviceType::CPU)};
  }
  static void release(void* data) {
    if (data) pinned_memory().remove(data);
    std::free(data);
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};
FalsePinnedAllocator pinned_allocator;

// ---- devices, streams, hooks ----

struct FalseGuard final : c10::impl::DeviceGuardImplInterface {
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

  Stream getStream(Device device) const override { return current_stream(device); }
  Stream getDefaultStream(Device device) const override { return Stream(Stream::DEFAULT, device); }
  Stream getStreamFromGlobalPool(Device device, bool) const override { return streams().add(device); }
  Stream getNewStream(Device device, int) const override { return streams().add(device); }
  Stream exchangeStream(Stream stream) const override {
    const Stream before = current_stream(stream.device());
    current_streams.insert_or_assign(stream.device_index(), stream);
    return before;
  }
  void* getStreamNativeHandle(const Stream stream) const override {
    return stream.id() == 0 ? nullptr : &streams().of(stream);
  }
  bool queryStream(const Stream& stream) const override {
    Queue& queue = streams().of(stream);
    return queue.has_done(queue.pushed());
  }
  void synchronizeStream(const Stream& stream) const override {
    count(counts.synchronisations);
    wait_on_host(streams().of(stream));
  }
  void synchronizeDevice(const DeviceIndex) const override { synchronise_all(); }
  void recordDataPtrOnStream(const c10::DataPtr& data, const Stream& stream) const override {
    memory().add_user(data.get(), streams().of(stream));
  }
  static void wait_on_host(Queue& queue) {
    queue.wait_for(queue.pushed());
    order().host_waits(queue);
  }
  static void synchronise_all() {
    count(counts.synchronisations);
    std::vector<Queue*> all;
    {
      std::lock_guard<std::mutex> lock(streams().mutex);
      all = streams().all;
    }
    for (Queue* queue : all) wait_on_host(*queue);
  }

  void record(void** event, const Stream& stream, const DeviceIndex, const c10::EventFlag) const override {
    if (!*event) *event = new Event;
    Queue& queue = streams().of(stream);
    auto& recorded = *static_cast<Event*>(*event);
    std::lock_guard<std::mutex> lock(recorded.mutex);
    recorded.place = {&queue, queue.pushed(), order().before(queue)};
  }
  void block(void* event, const Stream& stream) const override {
    const Place place = static_cast<Event*>(event)->get();
    Queue& waiting = streams().of(stream);
    if (!waits(stream) || place.queue == &waiting) return;
    order().wait(waiting, place.kernels);
    if (place.queue->has_done(place.number)) return;
    waiting.push([place] { place.queue->wait_for(place.number); });
  }
  bool queryEvent(void* event) const override {
    const Place place = static_cast<Event*>(event)->get();
    return place.queue->has_done(place.number);
  }
  void synchronizeEvent(void* event) const override {
    count(counts.synchronisations);
    const Place place = static_cast<Event*>(event)->get();
    place.queue->wait_for(place.number);
    order().host_waits(*place.queue);
  }
  void destroyEvent(void* event, const DeviceIndex) const noexcept override {
    delete static_cast<Event*>(event);
  }
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
  void deviceSynchronize(DeviceIndex) const override { FalseGuard::synchronise_all(); }
  long versionCUDART() const override { return 13000; }
  long versionCuDNN() const override { return 0; }
  long versionRuntimeCuDNN() const override { return 0; }
  std::string showConfig() const override { return "a false GPU"; }
  c10::Allocator* getCUDADeviceAllocator() const override { return &allocator; }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned_allocator; }
  bool isPinnedPtr(const void* data) const override { return pinned_memory().has(data); }
  const at::Generator& getDefaultGenerator(DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
};

struct AllocatorRegistered {
  // 255: before any other
  AllocatorRegistered() { c10::SetAllocator(DeviceType::CUDA, &allocator, 255); }
} allocator_registered;

// ---- recording ----

// The graph that records what this thread queues, or null. What an operation does inside is not recorded.
Recording* recording_on(Device device) {
  Recording* found = recording.load();
  return found && inside == 0 && &found->queue == &streams().of(current_stream(device)) ? found : nullptr;
}

// CUDA's words for what would make the host wait, or read memory of the host that is gone at a later launch.
void check_not_recording(Device device) {
  TORCH_CHECK(!recording_on(device), "CUDA error: operation not permitted when stream is capturing");
}

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

void copy_now(const at::Tensor& to, const at::Tensor& from) {
  const Operation operation(to.is_cuda() ? to.device() : from.device());
  operation.writes(to);
  operation.reads(from);
  if (!to.is_cuda()) operation.host_waits();
  on_cpu(to).copy_(on_cpu(from));
}

at::Tensor& copy(at::Tensor& to, const at::Tensor& from, bool non_blocking) {
  if (!to.is_cuda() || !from.is_cuda()) {
    check_not_recording(to.is_cuda() ? to.device() : from.device());
  } else if (Recording* graph = recording_on(to.device())) {
    graph->operations.push_back([to, from] { copy_now(to, from); });
    return to;
  }
  if (!to.is_cuda()) {
    count(counts.copies_to_host);
  } else if (!from.is_cuda()) {
    count(non_blocking ? counts.queued_copies_to_device : counts.blocking_copies_to_device);
    if (non_blocking && !pinned_memory().has(from.storage().data())) count(counts.copies_from_pageable_memory);
  } else {
    count(counts.operations);
  }
  copy_now(to, from);
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
  check_not_recording(tensor.device());
  count(counts.scalar_reads);
  const Operation operation(tensor.device());
  operation.reads(tensor);
  operation.host_waits();
  return on_cpu(tensor).item();
}

// CUDA's kernels take indices from the host.
bool takes_host_tensors(const std::string& name) {
  static const std::set<std::string> names = {"aten::index", "aten::index_put_", "aten::_index_put_impl_"};
  return names.count(name) > 0;
}

// Calls `see` with every tensor of an operation, and with whether the operation writes it.
template <typename See>
void for_each_tensor(const std::vector<c10::Argument>& arguments, const torch::jit::Stack& stack, See see) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const c10::IValue& value = stack[stack.size() - arguments.size() + i];
    const bool written = arguments[i].alias_info() && arguments[i].alias_info()->isWrite();
    if (value.isTensor()) {
      see(value.toTensor(), written);
    } else if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) see(tensor, written);
    } else if (value.isOptionalTensorList()) {
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
        if (tensor) see(*tensor, written);
      }
    }
  }
}

// The device that an operation runs on: that of its tensors.
Device device_of(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  std::optional<Device> device;
  for_each_tensor(op.schema().arguments(), stack, [&](const at::Tensor& tensor, bool) {
    if (!device && tensor.defined() && tensor.is_cuda()) device = tensor.device();
  });
  return chosen(device);
}

// Numbers without dimensions may lie on the host.
void check_devices(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  std::optional<Device> device;
  const auto see = [&](const at::Tensor& tensor, bool) {
    if (!tensor.defined() || tensor.dim() == 0) return;
    if (!device) device = tensor.device();
    TORCH_CHECK(*device == tensor.device(), op.schema().name(),
                ": Expected all tensors to be on the same device, but found at least two devices, ", *device, " and ",
                tensor.device(), "!");
  };
  for_each_tensor(op.schema().arguments(), stack, see);
}

// Calls the kernel, as an operation on the device.
void run(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const Operation operation(device_of(op, *stack));
  for_each_tensor(op.schema().arguments(), *stack, [&](const at::Tensor& tensor, bool written) {
    written ? operation.writes(tensor) : operation.reads(tensor);
  });
  at::native::cpu_fallback(op, stack);
  for_each_tensor(op.schema().returns(), *stack, [&](const at::Tensor& tensor, bool) { operation.writes(tensor); });
}

std::vector<at::Tensor> tensors_of(const std::vector<c10::Argument>& arguments, const torch::jit::Stack& stack) {
  std::vector<at::Tensor> found;
  for_each_tensor(arguments, stack, [&](const at::Tensor& tensor, bool) { found.push_back(tensor); });
  return found;
}

// Adds the operation to the graph. It runs here only to make its results, of which nothing is left but the
// memory: what it writes gets its old values back, and new results hold nothing that a step may use.
void record(Recording& graph, const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const torch::jit::Stack arguments(stack->end() - static_cast<int64_t>(op.schema().arguments().size()), stack->end());
  std::vector<std::pair<at::Tensor, at::Tensor>> written;
  {
    const Operation operation(device_of(op, arguments));
    for_each_tensor(op.schema().arguments(), arguments, [&](const at::Tensor& tensor, bool writes) {
      if (writes && tensor.defined()) written.emplace_back(tensor, on_cpu(tensor).clone());
    });
  }
  ++inside;
  run(op, stack);
  --inside;
  const std::vector<at::Tensor> given = tensors_of(op.schema().arguments(), arguments);
  // undefined in the place of results that are arguments
  std::vector<at::Tensor> made = tensors_of(op.schema().returns(), *stack);
  for (at::Tensor& result : made) {
    for (const at::Tensor& tensor : given) {
      if (tensor.is_same(result)) result = at::Tensor();
    }
  }
  const Operation operation(device_of(op, arguments));
  for (const auto& [tensor, before] : written) on_cpu(tensor).copy_(before);
  for (const at::Tensor& result : made) {
    if (result.defined()) on_cpu(result).fill_(at::isFloatingType(result.scalar_type()) ? NAN : 0.0);
  }
  ++counts.recorded_operations;
  graph.operations.push_back([op, arguments, made] {
    torch::jit::Stack again = arguments;
    run(op, &again);
    const std::vector<at::Tensor> found = tensors_of(op.schema().returns(), again);
    for (size_t i = 0; i < made.size(); ++i) {
      if (made[i].defined()) copy_now(made[i], found[i]);
    }
  });
}

void by_the_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  Recording* graph = recording_on(device_of(op, *stack));
  if (!graph) count(counts.operations);
  names.add(op.operator_name());
  const at::Context& context = at::globalContext();
  if (context.allowTF32CuDNN() || context.allowTF32CuBLAS()) ++counts.operations_with_tf32;
  if (context.deterministicAlgorithms()) ++counts.deterministic_operations;
  if (!takes_host_tensors(op.schema().name())) check_devices(op, *stack);
  graph ? record(*graph, op, stack) : run(op, stack);
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
  // one operation each, as CUDA has it; otherwise they would be taken apart
  m.impl("_foreach_copy_", torch::CppFunction::makeFromBoxedFunction<&by_the_cpu>());
  m.impl("_foreach_add_.List", torch::CppFunction::makeFromBoxedFunction<&by_the_cpu>());
}

}  // namespace

namespace at {
REGISTER_CUDA_HOOKS(CUDAHooks);
}

namespace at::native {
REGISTER_CUDA_DISPATCH(_fused_sdp_choice_stub, &plain_attention)
}

namespace {
Queue& queue_of(void* stream, int device) {
  const Device on(DeviceType::CUDA, static_cast<DeviceIndex>(device));
  return stream ? *static_cast<Queue*>(stream) : streams().of(Stream(Stream::DEFAULT, on));
}
}  // namespace

// What the false NCCL and the false driver call. A stream is the handle of one, or null for the device's default stream.
extern "C" {
int false_gpu_current_device() { return current_device; }
int false_gpu_device_of(const void* data) { return memory().device_of(data); }
void false_gpu_open_memory() { memory().enter(); }
void false_gpu_close_memory() { memory().leave(); }
// Work of the stream will read or write the memory. False if it does not wait for the kernels that use it.
bool false_gpu_use(void* stream, int device, const void* data, size_t bytes, bool writes) {
  const Queue& queue = queue_of(stream, device);
  const char* begin = static_cast<const char*>(data);
  return memory().add({begin, begin + bytes, &queue, order().add_kernel(queue), writes});
}
// Adds work to the graph that records the stream. False if none does.
bool false_gpu_record(void* stream, int device, void (*task)(void*, void*), void* argument) {
  Recording* graph = recording.load();
  if (!graph || &graph->queue != &queue_of(stream, device)) return false;
  ++counts.recorded_operations;
  graph->operations.push_back([device, task, argument] {
    const Stream now = current_stream(Device(DeviceType::CUDA, static_cast<DeviceIndex>(device)));
    task(argument, now.id() == 0 ? nullptr : &streams().of(now));
  });
  return true;
}
// As false_gpu_use, of the whole allocation that the address lies in.
bool false_gpu_use_allocation(void* stream, int device, const void* data, bool writes) {
  const auto [begin, bytes] = memory().allocation_of(data);
  return false_gpu_use(stream, device, begin, bytes, writes);
}
// A kernel that is not libtorch's. What its stream had queued before is done.
void false_gpu_begin_kernel(void* stream, int device) {
  count(counts.operations);
  Queue& queue = queue_of(stream, device);
  queue.wait_for(queue.pushed());
  memory().enter();
}
void false_gpu_end_kernel() { memory().leave(); }
void false_gpu_enqueue(void* stream, int device, void (*task)(void*), void* argument) {
  queue_of(stream, device).push([task, argument] { task(argument); });
}
}

// Graphs, by the names that libtorch gives them.
enum cudaStreamCaptureMode { kGlobal, kThreadLocal, kRelaxed };

namespace at::cuda {
struct __attribute__((visibility("default"))) CUDAGraph {
  explicit CUDAGraph(bool keep_graph);
  ~CUDAGraph();
  void capture_begin(std::pair<unsigned long long, unsigned long long> pool, cudaStreamCaptureMode mode);
  void capture_end();
  void replay();

 private:
  std::unique_ptr<Recording> graph_;
};

CUDAGraph::CUDAGraph(bool) {}
CUDAGraph::~CUDAGraph() {
  if (graph_ && recording.load() == graph_.get()) recording = nullptr;
}

void CUDAGraph::capture_begin(std::pair<unsigned long long, unsigned long long>, cudaStreamCaptureMode) {
  const Stream stream = current_stream(Device(DeviceType::CUDA, ::current_device));
  TORCH_CHECK(stream.id() != 0, "CUDA graphs must be captured on a non-default stream.");
  TORCH_CHECK(!recording.load(), "another graph is being captured");
  graph_ = std::make_unique<Recording>(Recording{streams().of(stream), {}});
  recording = graph_.get();
}

void CUDAGraph::capture_end() { recording = nullptr; }

void CUDAGraph::replay() {
  count(counts.operations);
  const Operation whole(Device(DeviceType::CUDA, ::current_device));
  for (const auto& operation : graph_->operations) operation();
}
}  // namespace at::cuda

// Of CUDA's driver.
extern "C" {
int cuInit(unsigned) { return 0; }
int cuDeviceGet(int* device, int number) {
  *device = number;
  return number < kDevices ? 0 : 101;
}
int cuDeviceGetUuid_v2(char* uuid, int device) {
  std::memset(uuid, device + 1, 16);
  uuid[0] = static_cast<char>(number("EQR_FALSE_NODE", 0));
  return 0;
}
}
