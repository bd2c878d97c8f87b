// For tests of the cuda backend that run on the emulated device with the libraries' fakes, and as well on the machine's own
// (ECD_CUDA_EMULATED not defined): there nothing is counted, and what asks `emulated` first is not looked at.
#ifndef ECD_TESTS_CUDA_FAKE_DEVICE_H
#define ECD_TESTS_CUDA_FAKE_DEVICE_H

#include "tests/cuda_emu/emu.h"
#include "tests/cuda_fake/fake.h"
#include "kernels/cuda/cuda.h"
#include "tests/unit/reference.h"

#if defined(ECD_CUDA_EMULATED)
static const bool emulated = true;
static const ecd_cuda_libraries device_libraries = {"", ""};
#else
static const bool emulated = false;
static const ecd_cuda_libraries device_libraries = {0};
#define ecd_fake_clear() ((void)0)
#define ecd_fake_fail_call(nth) ((void)(nth))
#define ecd_fake_error() ((const char *)NULL)
#define ecd_fake_counted() ((ecd_fake_counts){0})
#define emu_clear() ((void)0)
#define emu_counted() ((emu_counts){0})
#endif

// Closes a backend that has had no failure, and expects that nothing is left of it.
static inline void close_cuda(ecd_backend *be)
{
    ecd_diag diag = {0};
    expect_ok(ecd_backend_check(be, &diag), &diag);
    if (ecd_fake_error())
        fail_msg("%s", ecd_fake_error());
    ecd_backend_close(be);
    assert_int_equal(emu_counted().allocations, 0);
    assert_int_equal(emu_counted().objects, 0);
    assert_int_equal(ecd_fake_counted().objects, 0);
}

#endif
