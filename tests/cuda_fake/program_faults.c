// For ecdit on the emulated device: its faults, from the environment. ECD_EMU_DEVICES: how many devices there are;
// ECD_EMU_FAIL_ALLOCATION, ECD_EMU_FAIL_LAUNCH: the Nth fails.
#include <stdlib.h>

#include "tests/cuda_emu/emu.h"

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

__attribute__((constructor)) static void take_faults(void)
{
    emu_set_device_count((int)number("ECD_EMU_DEVICES", 1));
    emu_fail_allocation(number("ECD_EMU_FAIL_ALLOCATION", 0));
    emu_fail_launch(number("ECD_EMU_FAIL_LAUNCH", 0));
}
