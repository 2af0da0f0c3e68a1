// A false NCCL, for tests alone: a libnccl.so.2 for the ranks of one machine, on the memory of the false GPU.
//
// Calls are queued on the streams of the false GPU and run late, so that whoever does not wait for them reads
// something else. The ranks meet in shared memory named by the unique id. Sums are made in the order of the
// ranks, so every rank has the same. Like NCCL, it refuses memory that is not on the communicator's device,
// and two ranks on one GPU; unlike NCCL, also memory that a kernel uses for which the stream does not wait.
//
// EQR_FALSE_NCCL_DELAY      milliseconds between the start of a call and its work (5)
// EQR_FALSE_NCCL_HANG       "rank:call": this rank does not come to its call of this number; 0: to join
// EQR_FALSE_NCCL_ERROR      "rank:call": this rank fails in it, and says so when it is asked
// EQR_FALSE_NCCL_APART      error, or hang: what ranks of different nodes (EQR_FALSE_NODE) do when they join
// EQR_FALSE_NODE            number of the node that this process pretends to be on (0)

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

extern "C" {
// of the false GPU
int false_gpu_current_device();
int false_gpu_device_of(const void* data);
bool false_gpu_use(void* stream, int device, const void* data, size_t bytes, bool writes);
void false_gpu_open_memory();
void false_gpu_close_memory();
void false_gpu_enqueue(void* stream, int device, void (*task)(void*), void* argument);
}

namespace {

using Status = int;
constexpr Status kSuccess = 0, kSystemError = 2, kInvalidArgument = 4, kInvalidUsage = 5;

constexpr int kRanks = 8;
constexpr size_t kSlot = 1 << 20;  // bytes of a rank that are in the shared memory at a time
constexpr auto kPause = std::chrono::microseconds(50);

struct UniqueId {
  char internal[128];
};

// Starts as zeros.
struct Shared {
  std::atomic<int64_t> arrived[kRanks];  // meetings that each rank came to
  std::atomic<int> joining;              // ranks that have found this memory
  std::atomic<int> node[kRanks];
  std::atomic<int> device[kRanks];
  alignas(64) char slots[kRanks][kSlot];
};

struct Fault {
  int rank = -1;
  int64_t call = 0;
  explicit Fault(const char* name) {
    const char* text = std::getenv(name);
    if (text && std::sscanf(text, "%d:%ld", &rank, &call) != 2) std::abort();
  }
};

const Fault kHang("EQR_FALSE_NCCL_HANG");
const Fault kError("EQR_FALSE_NCCL_ERROR");

int own_node() {
  const char* text = std::getenv("EQR_FALSE_NODE");
  return text ? std::atoi(text) : 0;
}

std::chrono::milliseconds delay() {
  const char* text = std::getenv("EQR_FALSE_NCCL_DELAY");
  return std::chrono::milliseconds(text ? std::atoll(text) : 5);
}
const auto kDelay = delay();

struct Comm {
  Shared* shared;
  int rank, ranks, device;
  int64_t calls = 0;     // queued
  int64_t meetings = 0;  // of this rank; only the call whose turn it is uses it
  std::atomic<int64_t> finished{0};
  std::atomic<bool> aborted{false};
  std::atomic<Status> failure{kSuccess};

  bool fails(const Fault& fault, int64_t call) const { return rank == fault.rank && call >= fault.call; }

  // Waits until `is_so`, or returns false if the communicator was aborted.
  template <typename Condition>
  bool wait(Condition is_so) const {
    while (!is_so()) {
      if (aborted) return false;
      std::this_thread::sleep_for(kPause);
    }
    return true;
  }

  // Waits until all ranks have come here.
  bool meet() {
    const int64_t meeting = ++meetings;
    shared->arrived[rank] = meeting;
    return wait([&] {
      for (int other = 0; other < ranks; ++other) {
        if (shared->arrived[other] < meeting) return false;
      }
      return true;
    });
  }
};

enum class Operation { kSum, kBroadcast, kGather };

// A queued call.
struct Call {
  Comm* comm;
  Operation operation;
  const char* from;
  char* to;
  size_t bytes;  // of a rank
  bool is_double;
  int64_t number;

  template <typename T>
  void sum(char* to_here, size_t part) const {
    auto* sums = reinterpret_cast<T*>(to_here);
    std::memcpy(sums, comm->shared->slots[0], part);
    for (int rank = 1; rank < comm->ranks; ++rank) {
      const auto* summands = reinterpret_cast<const T*>(comm->shared->slots[rank]);
      for (size_t i = 0; i < part / sizeof(T); ++i) sums[i] += summands[i];
    }
  }

  // From the slots of all ranks to the result.
  void combine(size_t offset, size_t part) const {
    switch (operation) {
      case Operation::kSum:
        return is_double ? sum<double>(to + offset, part) : sum<float>(to + offset, part);
      case Operation::kBroadcast:
        std::memcpy(to + offset, comm->shared->slots[0], part);
        return;
      case Operation::kGather:
        for (int rank = 0; rank < comm->ranks; ++rank) {
          std::memcpy(to + rank * bytes + offset, comm->shared->slots[rank], part);
        }
    }
  }

  // False if the communicator was aborted.
  bool exchange() const {
    for (size_t offset = 0; offset < bytes; offset += kSlot) {
      const size_t part = std::min(kSlot, bytes - offset);
      false_gpu_open_memory();
      std::memcpy(comm->shared->slots[comm->rank], from + offset, part);
      false_gpu_close_memory();
      if (!comm->meet()) return false;
      false_gpu_open_memory();
      combine(offset, part);
      false_gpu_close_memory();
      // the slots are free
      if (!comm->meet()) return false;
    }
    return true;
  }

  void run() const {
    // the calls of a communicator run one after the other, on whatever stream
    if (!comm->wait([&] { return comm->finished == number - 1; })) return;
    std::this_thread::sleep_for(kDelay);
    if (comm->fails(kError, number)) comm->failure = kSystemError;
    if (comm->fails(kHang, number) || comm->failure != kSuccess) {
      comm->wait([] { return false; });
    } else if (exchange()) {
      ++comm->finished;
    }
  }
};

void run_call(void* argument) {
  const std::unique_ptr<Call> call(static_cast<Call*>(argument));
  call->run();
}

Status enqueue(Comm* comm, void* stream, Operation operation, const void* from, void* to, size_t count,
               int type) {
  const bool is_double = type == 8;
  if (!is_double && type != 7) return kInvalidArgument;
  const size_t bytes = count * (is_double ? sizeof(double) : sizeof(float));
  const size_t made = operation == Operation::kGather ? bytes * comm->ranks : bytes;
  for (const void* data : {from, static_cast<const void*>(to)}) {
    if (false_gpu_device_of(data) != comm->device) return kInvalidArgument;
    if (!false_gpu_use(stream, comm->device, data, data == to ? made : bytes, data == to)) return kInvalidUsage;
  }
  auto* call = new Call{comm,  operation, static_cast<const char*>(from), static_cast<char*>(to),
                        bytes, is_double, ++comm->calls};
  false_gpu_enqueue(stream, comm->device, &run_call, call);
  return kSuccess;
}

Shared* open_shared(const char* name, int flags) {
  const int file = shm_open(name, O_RDWR | flags, 0600);
  if (file < 0 || ftruncate(file, sizeof(Shared)) != 0) return nullptr;
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return memory == MAP_FAILED ? nullptr : static_cast<Shared*>(memory);
}

}  // namespace

extern "C" {

Status ncclGetVersion(int* version) {
  *version = 22703;
  return kSuccess;
}

const char* ncclGetErrorString(Status status) {
  switch (status) {
    case kSuccess:
      return "no error";
    case kSystemError:
      return "unhandled system error";
    case kInvalidArgument:
      return "invalid argument";
    case kInvalidUsage:
      return "invalid usage";
    default:
      return "unknown result code";
  }
}

Status ncclGetUniqueId(UniqueId* id) {
  static std::atomic<int> made{0};
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  std::memset(id, 0, sizeof *id);
  std::snprintf(id->internal, sizeof id->internal, "/false-nccl-%d-%d-%lld", getpid(), made++,
                static_cast<long long>(now));
  Shared* shared = open_shared(id->internal, O_CREAT | O_EXCL);
  if (!shared) return kSystemError;
  munmap(shared, sizeof *shared);
  return kSuccess;
}

Status ncclCommInitRank(Comm** made, int ranks, UniqueId id, int rank) {
  if (ranks > kRanks) return kInvalidArgument;
  Shared* shared = open_shared(id.internal, 0);
  if (!shared) return kSystemError;
  auto* comm = new Comm{shared, rank, ranks, false_gpu_current_device()};
  shared->node[rank] = own_node();
  shared->device[rank] = comm->device;
  ++shared->joining;
  if (rank == 0) {
    comm->wait([&] { return shared->joining == ranks; });
    shm_unlink(id.internal);
  }
  if (comm->fails(kHang, 0)) comm->wait([] { return false; });
  if (comm->fails(kError, 0)) return kSystemError;
  comm->meet();
  const char* apart = std::getenv("EQR_FALSE_NCCL_APART");
  for (int other = 0; other < ranks; ++other) {
    const bool same_node = shared->node[other] == shared->node[rank];
    if (!same_node && apart) {
      if (std::strcmp(apart, "hang") == 0) comm->wait([] { return false; });
      return kSystemError;
    }
    if (other != rank && same_node && shared->device[other] == comm->device) return kInvalidUsage;
  }
  *made = comm;
  return kSuccess;
}

Status ncclAllReduce(const void* from, void* to, size_t count, int type, int operation, Comm* comm,
                     void* stream) {
  if (operation != 0) return kInvalidArgument;
  return enqueue(comm, stream, Operation::kSum, from, to, count, type);
}

Status ncclBroadcast(const void* from, void* to, size_t count, int type, int root, Comm* comm, void* stream) {
  if (root != 0) return kInvalidArgument;
  return enqueue(comm, stream, Operation::kBroadcast, from, to, count, type);
}

Status ncclAllGather(const void* from, void* to, size_t count, int type, Comm* comm, void* stream) {
  return enqueue(comm, stream, Operation::kGather, from, to, count, type);
}

Status ncclCommGetAsyncError(Comm* comm, Status* failure) {
  *failure = comm->failure;
  return kSuccess;
}

// The communicator is not freed: queued calls may still look at it.
Status ncclCommAbort(Comm* comm) {
  comm->aborted = true;
  std::fprintf(stderr, "false NCCL: rank %d aborted\n", comm->rank);
  return kSuccess;
}

Status ncclCommDestroy(Comm* comm) {
  comm->wait([&] { return comm->finished == comm->calls; });
  munmap(comm->shared, sizeof *comm->shared);
  delete comm;
  return kSuccess;
}
}
