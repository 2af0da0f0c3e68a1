// A false NVRTC, for tests alone: a libnvrtc.so.13 that compiles kernels for the CPU, by g++ and the prelude
// false_device.h. The machine code that it returns is the path of a library, which the false driver loads.
// What was compiled is kept.
//
// FALSE_DEVICE             the path of false_device.h (a macro)
// FALSE_KERNELS            the folder of what was compiled (a macro)
// EQR_FALSE_NVRTC_FAULT    lines "this=>that": replaces texts of the sources. Mistakes that tests plant

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr int kSuccess = 0, kInvalidInput = 3, kInvalidOption = 5, kCompilationFailed = 6;

struct Program {
  std::string source, log, code;
};

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string with_planted_fault(std::string source) {
  const char* fault = std::getenv("EQR_FALSE_NVRTC_FAULT");
  if (!fault) return source;
  std::istringstream lines(fault);
  for (std::string line; std::getline(lines, line);) {
    const size_t arrow = line.find("=>");
    const std::string from = line.substr(0, arrow), to = line.substr(arrow + 2);
    for (size_t at = source.find(from); at != std::string::npos; at = source.find(from, at + to.size())) {
      source.replace(at, from.size(), to);
    }
  }
  return source;
}

// The source with the prelude, and with the functions that the driver calls.
std::string for_the_cpu(const std::string& source) {
  std::ostringstream whole;
  whole << "#include \"" << FALSE_DEVICE << "\"\n#line 1 \"kernels.cu\"\n" << source << "\n";
  const std::regex kernel("__global__ void (\\w+)\\(");
  for (auto found = std::sregex_iterator(source.begin(), source.end(), kernel); found != std::sregex_iterator();
       ++found) {
    whole << "FALSE_KERNEL(" << (*found)[1] << ")\n";
  }
  return whole.str();
}

int compile(Program& program, const std::vector<std::string>& options) {
  std::string definitions;
  for (const std::string& option : options) {
    if (option.rfind("-D", 0) == 0) definitions += " " + option;
  }
  const std::string source = for_the_cpu(with_planted_fault(program.source));
  const auto key = std::hash<std::string>()(source + definitions + read(FALSE_DEVICE));
  const fs::path folder = FALSE_KERNELS;
  fs::create_directories(folder);
  const std::string library = (folder / (std::to_string(key) + ".so")).string();
  if (!fs::exists(library)) {
    // several processes may compile at once
    const std::string own = library + "." + std::to_string(getpid());
    std::ofstream(own + ".cpp") << source;
    const std::string compiler = "g++ -w -U_FORTIFY_SOURCE -std=c++17 -O1 -fPIC -shared" + definitions;
    const std::string command = compiler + " '" + own + ".cpp' -o '" + own + "' >'" + own + ".log' 2>&1";
    const int status = std::system(command.c_str());
    program.log = read(own + ".log");
    fs::remove(own + ".log");
    if (status != 0) return kCompilationFailed;
    fs::remove(own + ".cpp");
    fs::rename(own, library);
  }
  program.code = library;
  return kSuccess;
}

int size_of(const std::string& text, size_t* size) {
  *size = text.size() + 1;
  return kSuccess;
}

int copy_of(const std::string& text, char* to) {
  text.copy(to, text.size());
  to[text.size()] = '\0';
  return kSuccess;
}

}  // namespace

extern "C" {

int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return kSuccess;
}

int nvrtcCreateProgram(Program** program, const char* source, const char*, int headers, const char* const*,
                       const char* const*) {
  if (headers != 0) return kInvalidInput;
  *program = new Program{source, {}, {}};
  return kSuccess;
}

int nvrtcCompileProgram(Program* program, int count, const char* const* options) {
  const std::vector<std::string> all(options, options + count);
  // the false GPUs' architecture
  bool fits = false;
  for (const std::string& option : all) fits = fits || option == "--gpu-architecture=sm_90";
  return fits ? compile(*program, all) : kInvalidOption;
}

int nvrtcGetCUBINSize(const Program* program, size_t* size) { return size_of(program->code, size); }
int nvrtcGetCUBIN(const Program* program, char* code) { return copy_of(program->code, code); }
int nvrtcGetProgramLogSize(const Program* program, size_t* size) { return size_of(program->log, size); }
int nvrtcGetProgramLog(const Program* program, char* log) { return copy_of(program->log, log); }

int nvrtcDestroyProgram(Program** program) {
  delete *program;
  *program = nullptr;
  return kSuccess;
}

}  // extern "C"
