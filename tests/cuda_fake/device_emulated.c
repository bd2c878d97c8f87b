// Device memory, time and captures are the emulator's.
#include "tests/cuda_emu/emu_internal.h"
#include "tests/cuda_fake/fake.h"

bool ecd_fake_device_holds(const void *at, size_t bytes)
{
    for (const emu_region *r = emu_regions; r; r = r->next)
        if ((uintptr_t)at - (uintptr_t)r->base < r->bytes)
            return bytes <= r->bytes - ((uintptr_t)at - (uintptr_t)r->base);
    return false;
}

bool ecd_fake_defers(void *stream, void (*run)(void *arguments), const void *arguments, size_t bytes)
{
    return emu_captures(stream) && !emu_capture(run, arguments, bytes);
}

void ecd_fake_take(double ms)
{
    emu_pass_time(ms);
}
