// How errors of libtorch reach Rust: a function returns null, or a message to be freed by `eqr_free_message`.

#pragma once

#include <c10/util/Exception.h>

#include <cstring>
#include <exception>

// No exception crosses into Rust.
template <typename Call>
char* message_of(Call call) {
  try {
    call();
    return nullptr;
  } catch (const c10::Error& error) {
    return strdup(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("unknown exception");
  }
}
