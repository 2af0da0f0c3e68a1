// Streams and events of a GPU, which tch lacks. Only libc10's registry of devices is asked, so this links
// against a libtorch without its CUDA half.

#include <ATen/core/TensorBase.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstdint>
#include <cstdlib>

#include "message.h"

namespace {

using c10::Device;
using c10::DeviceType;
using c10::Stream;

// Throws if no CUDA half is loaded.
c10::impl::VirtualGuardImpl devices() { return c10::impl::VirtualGuardImpl(DeviceType::CUDA); }

Device device(int gpu) { return Device(DeviceType::CUDA, static_cast<c10::DeviceIndex>(gpu)); }

Stream stream(int gpu, int64_t id) { return Stream(Stream::UNSAFE, device(gpu), id); }

}  // namespace

extern "C" {

void eqr_free_message(char* message) { std::free(message); }

// Makes the GPU the current one of this thread.
char* eqr_use_gpu(int gpu) {
  return message_of([&] { devices().setDevice(device(gpu)); });
}

char* eqr_stream_new(int gpu, int64_t* id) {
  return message_of([&] { *id = devices().getNewStream(device(gpu)).id(); });
}

// The stream that operations of this thread are queued on.
char* eqr_stream_current(int gpu, int64_t* id) {
  return message_of([&] { *id = devices().getStream(device(gpu)).id(); });
}

// Operations of this thread are queued on the stream from now on.
char* eqr_stream_make_current(int gpu, int64_t id) {
  return message_of([&] { devices().exchangeStream(stream(gpu, id)); });
}

// The CUDA stream, which is null for the default one.
char* eqr_stream_handle(int gpu, int64_t id, void** handle) {
  return message_of([&] { *handle = devices().getStreamNativeHandle(stream(gpu, id)); });
}

// The memory of the tensor is not given to another one before the work that is queued on the stream is done.
char* eqr_stream_keep(int gpu, int64_t id, const void* tensor) {
  return message_of([&] {
    const auto& kept = *static_cast<const at::TensorBase*>(tensor);
    devices().recordDataPtrOnStream(kept.storage().data_ptr(), stream(gpu, id));
  });
}

char* eqr_stream_wait(int gpu, int64_t id, void* event) {
  return message_of([&] { devices().block(event, stream(gpu, id)); });
}

// Makes the event if it is null.
char* eqr_event_record(int gpu, int64_t id, void** event) {
  return message_of([&] {
    const auto device_index = static_cast<c10::DeviceIndex>(gpu);
    devices().record(event, stream(gpu, id), device_index, c10::EventFlag::PYTORCH_DEFAULT);
  });
}

char* eqr_event_passed(void* event, bool* passed) {
  return message_of([&] { *passed = devices().queryEvent(event); });
}

char* eqr_event_destroy(int gpu, void* event) {
  return message_of([&] { devices().destroyEvent(event, static_cast<c10::DeviceIndex>(gpu)); });
}

}  // extern "C"
