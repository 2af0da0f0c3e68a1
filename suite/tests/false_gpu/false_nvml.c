/* A libnvidia-ml.so.1 for the false GPUs: each reading of GPU n's counter adds 2 (n + 1) watt-hours. The
   identity of the false GPU n ends with the byte n + 1. EQR_FALSE_NVML_UNSUPPORTED=1: GPUs without a counter. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

static int initialised = 0;
static unsigned long long readings[256];

int nvmlInit_v2(void) {
  initialised = 1;
  return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  unsigned byte = 0;
  if (!initialised) return UNINITIALIZED;
  if (strncmp(uuid, "GPU-", 4) != 0 || strlen(uuid) != 40) return INVALID_ARGUMENT;
  if (sscanf(uuid + 38, "%2x", &byte) != 1 || byte == 0) return NOT_FOUND;
  *device = &readings[byte];
  return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* millijoules) {
  unsigned long long* own = device;
  const char* unsupported = getenv("EQR_FALSE_NVML_UNSUPPORTED");
  if (!initialised) return UNINITIALIZED;
  if (unsupported != NULL && strcmp(unsupported, "1") == 0) return NOT_SUPPORTED;
  *own += 1;
  *millijoules = *own * 7200000ull * (unsigned long long)(own - readings);
  return SUCCESS;
}

const char* nvmlErrorString(int status) {
  switch (status) {
    case SUCCESS: return "Success";
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_FOUND: return "Not Found";
    default: return "Invalid Argument";
  }
}
