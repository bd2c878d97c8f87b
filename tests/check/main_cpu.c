// Checks, or times, the cpu backend's levels.
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "kernels/cpu/cpu.h"
#include "tests/check/check.h"

enum { SKIPPED = 77 };

// Products by oneDNN where it has them, whatever pays on this machine; false where it is not built in.
static bool prefer_onednn(ecd_check *check)
{
    ecd_backend *both[] = {check->one, check->two};
    for (int i = 0; i < 2; i++)
        ecd_cpu_of(both[i])->prefer_onednn = ecd_cpu_of(both[i])->onednn;
    return ecd_cpu_wants_onednn(check->one);
}

typedef struct level {
    const char *name;
    void (*fill)(ecd_backend_ops *ops);
    ecd_cpu_level needs;
} level;

// What fills a level's table; "plain" is the scalar level of CPUs without fused multiply-adds, the one that rounds twice.
static const level levels[] = {
    {"plain", ecd_cpu_fill_scalar, ECD_CPU_SCALAR},
#if defined(__x86_64__)
    {"fused", ecd_cpu_fill_fused, ECD_CPU_SCALAR},
    {"avx2", ecd_cpu_fill_avx2, ECD_CPU_AVX2},
    {"avx512", ecd_cpu_fill_avx512, ECD_CPU_AVX512},
#if defined(ECD_CHECK_WIDE)
    {"wide", ecd_cpu_fill_wide, ECD_CPU_AVX2},
#endif
#endif
};
enum { LEVELS = sizeof levels / sizeof *levels };

static bool runs_here(const level *l)
{
    return l->needs <= ecd_cpu_detect() && (l->fill == ecd_cpu_fill_scalar || ecd_cpu_has_fma());
}

static const level *level_named(const char *name)
{
    for (int i = 0; name && i < LEVELS; i++)
        if (!strcmp(levels[i].name, name))
            return &levels[i];
    return NULL;
}

// All but the plain one.
static int open_levels(ecd_check *check, ecd_compute compute)
{
    ecd_diag diag = {0};
    const ecd_backend_options options = {.name = "cpu", .compute = compute, .threads = 1};
    check->level_count = 0;
    for (int i = 1; i < LEVELS; i++) {
        ecd_backend **out = &check->levels[check->level_count];
        if (!runs_here(&levels[i]))
            continue;
        if (ecd_backend_open(&options, out, &diag)) {
            printf("FAILED to open: %s\n", diag.what);
            return 1;
        }
        levels[i].fill(&ecd_cpu_of(*out)->ops);
        check->level_names[check->level_count++] = levels[i].name;
    }
    return 0;
}

static void close_all(ecd_check *check)
{
    for (int i = 0; i < check->level_count; i++) {
        ecd_check_true(check, "no failure is kept at any level", !ecd_backend_check(check->levels[i], NULL));
        ecd_backend_close(check->levels[i]);
    }
    ecd_check_true(check, "no failure is kept",
                   !ecd_backend_check(check->one, NULL) && !ecd_backend_check(check->two, NULL));
    ecd_backend_close(check->ref);
    ecd_backend_close(check->one);
    ecd_backend_close(check->two);
}

static int open_all(ecd_check *check, ecd_compute compute, const level *forced)
{
    ecd_diag diag = {0};
    const ecd_backend_options ref = {.name = "ref", .compute = ECD_COMPUTE_F32, .threads = 1};
    ecd_backend_options one = {.name = "cpu", .compute = compute, .threads = 1}, two = one;
    two.threads = 2;
    if (ecd_backend_open(&ref, &check->ref, &diag) || ecd_backend_open(&one, &check->one, &diag) ||
        ecd_backend_open(&two, &check->two, &diag)) {
        printf("FAILED to open: %s\n", diag.what);
        return 1;
    }
    if (forced) {
        forced->fill(&ecd_cpu_of(check->one)->ops);
        forced->fill(&ecd_cpu_of(check->two)->ops);
    }
    check->tolerance = compute == ECD_COMPUTE_BF16 ? 1.2e-2 : 4e-6;
    return 0;
}

// check [bench | onednn | LEVEL]: LEVEL is laid over the one that ECD_CPU chooses.
int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const level *forced = level_named(what);
    bool bench = !strcmp(what, "bench"), onednn = !strcmp(what, "onednn");
    ecd_diag diag = {0};
    if (ecd_cpu_init(&diag) != ECD_OK || (forced && !runs_here(forced))) {
        printf("skipped: %s\n", diag.status ? diag.what : "this CPU cannot run that level");
        return SKIPPED;
    }
    ecd_check check = {.random = 1};
    for (ecd_compute compute = ECD_COMPUTE_F32; compute <= ECD_COMPUTE_BF16; compute++) {
        if (open_all(&check, compute, forced))
            return 1;
        if (onednn && !prefer_onednn(&check)) {
            printf("skipped: no oneDNN at this level\n");
            return SKIPPED;
        }
        printf("%s%s%s%s\n", check.one->detail, forced ? ", " : "", forced ? what : "",
               onednn ? ", products by oneDNN" : "");
        if (bench) {
            ecd_check_bench(&check);
        } else {
            // Libraries choose their own order of additions, and the plain level rounds twice.
            bool plain = forced == levels || !ecd_cpu_has_fma();
            if (!plain && !onednn && open_levels(&check, compute))
                return 1;
            ecd_check_all(&check);
            ecd_check_coded(&check);
        }
        close_all(&check);
        check.level_count = 0;
    }
    printf("%d checks, %d failures\n", check.checks, check.failures);
    return check.failures ? 1 : 0;
}
