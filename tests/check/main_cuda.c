// ecd_check_cuda: every operation of the cuda backend against ref. Built twice: with the emulator and the libraries' fakes
// (any machine), and with the real ones (a machine with a GPU, tests/gpu.sh).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backends.h"
#include "kernels/cuda/cuda.h"
#include "tests/check/check.h"
#include "tests/check/mirror.h"
#if defined(ECD_CUDA_EMULATED)
#include "tests/cuda_emu/emu.h"
#include "tests/cuda_fake/fake.h"
#endif

enum { SKIPPED = 77 };

// On the emulator the threads of the two backends take turns in different orders: what depends on one is not equal.
static void forward(void)
{
#if defined(ECD_CUDA_EMULATED)
    emu_set_order(EMU_FORWARD, 0);
#endif
}

static void shuffled(void)
{
#if defined(ECD_CUDA_EMULATED)
    static uint32_t seed;
    seed++;
    emu_set_order(seed % 2 ? EMU_SHUFFLED : EMU_BACKWARD, seed);
#endif
}

static ecd_backend *open_one(ecd_compute compute, void (*before)(void))
{
    ecd_diag diag = {0};
    ecd_backend *be;
    ecd_cuda_libraries libraries = {0};
#if defined(ECD_CUDA_EMULATED)
    libraries = (ecd_cuda_libraries){"", ""};
#endif
    const ecd_backend_options options = {.name = "cuda", .compute = compute, .threads = 1};
    if (ecd_cuda_open_with(&options, &libraries, &be, &diag)) {
        printf("%s: %s\n", diag.status == ECD_RESOURCE ? "skipped" : "FAILED", diag.what);
        exit(diag.status == ECD_RESOURCE ? SKIPPED : 1);
    }
    return ecd_mirror_open(be, before);
}

static bool all_well(ecd_check *check)
{
    ecd_diag diag = {0};
    bool well = !ecd_backend_check(check->one, &diag) && !ecd_backend_check(check->two, &diag);
    if (!well)
        printf("FAILED %s\n", diag.what);
    return well;
}

int main(int argc, char **argv)
{
    ecd_check check = {.random = 1};
    ecd_diag diag = {0};
    for (ecd_compute compute = ECD_COMPUTE_F32; compute <= ECD_COMPUTE_BF16; compute++) {
        if (argc > 1 && strcmp(argv[1], compute == ECD_COMPUTE_F32 ? "f32" : "bf16"))
            continue;
        check.one = open_one(compute, forward);
        check.two = open_one(compute, shuffled);
        if (ecd_backend_open(&(ecd_backend_options){.name = "ref", .compute = ECD_COMPUTE_F32, .threads = 1}, &check.ref,
                             &diag))
            return 1;
        check.tolerance = compute == ECD_COMPUTE_BF16 ? 1.2e-2 : 4e-6;
        printf("%s\n", check.one->detail);
        ecd_check_all(&check);
        ecd_check_true(&check, "no failure is kept", all_well(&check));
        ecd_backend_close(check.ref);
        ecd_backend_close(check.one);
        ecd_backend_close(check.two);
    }
#if defined(ECD_CUDA_EMULATED)
    emu_counts counts = emu_counted();
    ecd_fake_counts fakes = ecd_fake_counted();
    ecd_check_true(&check, "the emulator found no fault", !emu_error());
    ecd_check_true(&check, "the fakes found no wrong argument", !ecd_fake_error());
    ecd_check_true(&check, "all device memory and library objects are given back", !counts.allocations && !fakes.objects);
    printf("%llu launches, %llu products, %llu convolutions\n", (unsigned long long)counts.launches,
           (unsigned long long)fakes.products, (unsigned long long)fakes.convolutions);
#endif
    printf("%d checks, %d failures\n", check.checks, check.failures);
    return check.failures ? 1 : 0;
}
