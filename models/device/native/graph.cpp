// Work of a GPU that is recorded once and launched whole: libtorch's class of a CUDA graph. It is in the CUDA
// half, against which nothing is linked here, so its functions are looked up by their names.

#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <cstdint>
#include <new>
#include <utility>

#include "message.h"

namespace {

// The object is some 300 bytes.
constexpr size_t kBytes = 4096;
constexpr std::align_val_t kAlignment{64};

// Other threads may allocate memory while this one records.
constexpr int kThreadLocal = 1;

template <typename Function>
Function* member(const char* name) {
  void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  TORCH_CHECK(library, "libtorch's CUDA half is not loaded");
  void* found = dlsym(library, name);
  TORCH_CHECK(found, "this libtorch has no function ", name);
  return reinterpret_cast<Function*>(found);
}

// Without a memory pool that is named, a graph has its own.
using Pool = std::pair<unsigned long long, unsigned long long>;

}  // namespace

extern "C" {

// Begins to record what is queued on this thread's stream, which is not the default one, instead of running it.
char* eqr_graph_begin(void** graph) {
  return message_of([&] {
    static const auto construct = member<void(void*, bool)>("_ZN2at4cuda9CUDAGraphC1Eb");
    static const auto begin =
        member<void(void*, Pool, int)>("_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
    void* made = ::operator new(kBytes, kAlignment);
    construct(made, /*keep_graph=*/false);
    *graph = made;
    begin(made, Pool{0, 0}, kThreadLocal);
  });
}

char* eqr_graph_end(void* graph) {
  return message_of([&] {
    static const auto end = member<void(void*)>("_ZN2at4cuda9CUDAGraph11capture_endEv");
    end(graph);
  });
}

// Queues the work on this thread's stream. Every step calls it, so the function is looked up once.
char* eqr_graph_launch(void* graph) {
  return message_of([&] {
    static const auto replay = member<void(void*)>("_ZN2at4cuda9CUDAGraph6replayEv");
    replay(graph);
  });
}

char* eqr_graph_destroy(void* graph) {
  return message_of([&] {
    if (!graph) return;
    static const auto destroy = member<void(void*)>("_ZN2at4cuda9CUDAGraphD1Ev");
    destroy(graph);
    ::operator delete(graph, kAlignment);
  });
}

}  // extern "C"
