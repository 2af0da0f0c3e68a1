// CUDA C++ on the CPU: what a kernel's source needs to be compiled by g++, and how its blocks are run. The false
// NVRTC puts it before the source.
//
// The blocks of a launch run one after the other. The threads of a block are fibres, which change places where
// they wait for each other: at __syncthreads and in shuffles. Waits that would hang a GPU end the program.

#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
// the blocks run one after the other, and one launch at a time
#define __shared__ static

struct FalseIndex {
  unsigned x, y, z;
};
static FalseIndex threadIdx, blockIdx, blockDim, gridDim;

namespace false_device {

constexpr unsigned kWarpSize = 32;
constexpr size_t kStack = 64 << 10;

constexpr unsigned kMostThreads = 1024;

enum class State { kReady, kInShuffle, kAtBarrier, kDone };

// A thread of the block. It is used again in the next block.
struct Fibre {
  std::unique_ptr<char[]> stack;
  ucontext_t start;
  jmp_buf place;
  bool started = false;
  State state;
  unsigned value;  // what it gives away in a shuffle
  unsigned from;   // the lane whose value it wants
};

struct Block {
  std::vector<Fibre> fibres = std::vector<Fibre>(kMostThreads);
  unsigned running = 0;
  jmp_buf scheduler;
  void (*kernel)(void*) = nullptr;
  void* arguments = nullptr;
};
static Block block;

[[noreturn]] inline void misuse(const char* text) {
  std::fprintf(stderr, "a kernel on the false GPU: %s\n", text);
  std::abort();
}

// Gives the turn back to the scheduler until this fibre is ready again.
inline void wait_as(State state) {
  Fibre& own = block.fibres[block.running];
  own.state = state;
  if (_setjmp(own.place) == 0) _longjmp(block.scheduler, 1);
}

inline void begin_fibre() {
  for (;;) {
    block.kernel(block.arguments);
    wait_as(State::kDone);
  }
}

inline void resume(unsigned thread) {
  block.running = thread;
  threadIdx = {thread, 0, 0};
  if (_setjmp(block.scheduler) != 0) return;
  Fibre& fibre = block.fibres[thread];
  if (fibre.started) _longjmp(fibre.place, 1);
  fibre.started = true;
  fibre.stack.reset(new char[kStack]);
  getcontext(&fibre.start);
  fibre.start.uc_stack.ss_sp = fibre.stack.get();
  fibre.start.uc_stack.ss_size = kStack;
  fibre.start.uc_link = nullptr;
  makecontext(&fibre.start, &begin_fibre, 0);
  setcontext(&fibre.start);
}

// How many threads from `begin` to `end` are in a state.
inline unsigned count(unsigned begin, unsigned end, State state) {
  unsigned found = 0;
  for (unsigned thread = begin; thread < end; ++thread) found += block.fibres[thread].state == state;
  return found;
}

inline void make_ready(unsigned begin, unsigned end, State from) {
  for (unsigned thread = begin; thread < end; ++thread) {
    if (block.fibres[thread].state == from) block.fibres[thread].state = State::kReady;
  }
}

// Runs the threads of a warp as far as they come without the other warps.
inline void run_warp(unsigned begin, unsigned end) {
  for (;;) {
    for (unsigned thread = begin; thread < end; ++thread) {
      if (block.fibres[thread].state == State::kReady) resume(thread);
    }
    const unsigned shuffling = count(begin, end, State::kInShuffle);
    if (shuffling == 0) return;
    if (shuffling < kWarpSize) misuse("a shuffle that not all threads of a warp take part in");
    unsigned given[kWarpSize];
    for (unsigned lane = 0; lane < kWarpSize; ++lane) given[lane] = block.fibres[begin + lane].value;
    for (unsigned lane = 0; lane < kWarpSize; ++lane) {
      Fibre& fibre = block.fibres[begin + lane];
      fibre.value = given[fibre.from];
    }
    make_ready(begin, end, State::kInShuffle);
  }
}

inline void run_block(unsigned threads) {
  for (unsigned thread = 0; thread < threads; ++thread) block.fibres[thread].state = State::kReady;
  while (count(0, threads, State::kDone) < threads) {
    for (unsigned begin = 0; begin < threads; begin += kWarpSize) run_warp(begin, std::min(begin + kWarpSize, threads));
    const unsigned done = count(0, threads, State::kDone);
    const unsigned waiting = count(0, threads, State::kAtBarrier);
    if (done + waiting < threads) misuse("threads that wait for nothing");
    // those that have returned are not waited for
    make_ready(0, threads, State::kAtBarrier);
  }
}

// What is launched: a kernel and copies of its arguments.
template <typename... A>
struct Launch {
  void (*kernel)(A...);
  void** arguments;

  template <size_t... I>
  void call(std::index_sequence<I...>) const {
    kernel(*static_cast<std::remove_reference_t<A>*>(arguments[I])...);
  }
  static void run(void* launch) { static_cast<const Launch*>(launch)->call(std::index_sequence_for<A...>()); }
};

template <typename... A>
void launch(void (*kernel)(A...), const unsigned* grid, unsigned threads, void** arguments) {
  Launch<A...> what{kernel, arguments};
  block.kernel = &Launch<A...>::run;
  block.arguments = &what;
  gridDim = {grid[0], grid[1], 1};
  blockDim = {threads, 1, 1};
  for (unsigned y = 0; y < grid[1]; ++y) {
    for (unsigned x = 0; x < grid[0]; ++x) {
      blockIdx = {x, y, 0};
      run_block(threads);
    }
  }
}

// Tells which arguments point to memory, and whether the kernel may write it.
template <typename... A>
void see_pointers(void (*)(A...), void** arguments, void (*see)(const void* data, bool writes, void* state),
                  void* state) {
  size_t index = 0;
  const auto look = [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    if constexpr (std::is_pointer_v<T>) {
      const T pointer = *static_cast<T*>(arguments[index]);
      if (pointer) see(pointer, !std::is_const_v<std::remove_pointer_t<T>>, state);
    }
    ++index;
  };
  (look(static_cast<A*>(nullptr)), ...);
}

// Tells the sizes of the arguments, for those who keep copies.
template <typename... A>
void see_sizes(void (*)(A...), void (*see)(size_t bytes, void* state), void* state) {
  (see(sizeof(std::remove_reference_t<A>), state), ...);
}

}  // namespace false_device

inline void __syncthreads() { false_device::wait_as(false_device::State::kAtBarrier); }

inline float __shfl_xor_sync(unsigned mask, float value, int distance) {
  using namespace false_device;
  if (mask != 0xffffffffu) misuse("a shuffle of a part of a warp");
  Fibre& own = block.fibres[block.running];
  std::memcpy(&own.value, &value, sizeof value);
  own.from = (threadIdx.x % kWarpSize) ^ static_cast<unsigned>(distance);
  wait_as(State::kInShuffle);
  std::memcpy(&value, &own.value, sizeof value);
  return value;
}

inline float __uint_as_float(unsigned bits) {
  float number;
  std::memcpy(&number, &bits, sizeof bits);
  return number;
}

inline unsigned __float_as_uint(float number) {
  unsigned bits;
  std::memcpy(&bits, &number, sizeof bits);
  return bits;
}

// For each kernel the false NVRTC adds the functions that the false driver calls.
#define FALSE_KERNEL(name)                                                                              \
  extern "C" void false_launch_##name(const unsigned* grid, unsigned threads, void** arguments) {       \
    false_device::launch(&name, grid, threads, arguments);                                              \
  }                                                                                                     \
  extern "C" void false_pointers_##name(void** arguments, void (*see)(const void*, bool, void*),        \
                                        void* state) {                                                  \
    false_device::see_pointers(&name, arguments, see, state);                                           \
  }                                                                                                     \
  extern "C" void false_sizes_##name(void (*see)(size_t, void*), void* state) {                         \
    false_device::see_sizes(&name, see, state);                                                         \
  }
