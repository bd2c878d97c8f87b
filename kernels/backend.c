#include "kernels/backend.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "kernels/backends.h"

static ecd_status check_options(const ecd_backend_options *options, ecd_diag *diag)
{
    if (options->threads < 0 || options->threads > ECD_THREADS_MAX)
        return ecd_fail(diag, ECD_USAGE, "threads is %d, expected 1 to %d, or 0 for all", options->threads,
                        ECD_THREADS_MAX);
    if ((unsigned)options->compute > ECD_COMPUTE_FP8)
        return ecd_fail(diag, ECD_USAGE, "compute type %d, expected auto, f32, bf16 or fp8", (int)options->compute);
    return ECD_OK;
}

static ecd_status open_cuda(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag)
{
#if defined(ECD_WITH_CUDA)
    return ecd_cuda_open(options, out, diag);
#else
    (void)options, (void)out;
    return ecd_fail(diag, ECD_RESOURCE, "backend cuda: this program was built without CUDA");
#endif
}

// The GPU where there is one that can be used, else the CPU. What is wrong with the GPU is not said: `cuda` says it.
static ecd_status open_best(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag)
{
    if (open_cuda(options, out, NULL) == ECD_OK)
        return ECD_OK;
    return ecd_cpu_open(options, out, diag);
}

ecd_status ecd_backend_open(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag)
{
    *out = NULL;
    ecd_status status = check_options(options, diag);
    if (status != ECD_OK)
        return status;
    ecd_backend_options chosen = *options;
    if (chosen.threads == 0)
        chosen.threads = ecd_cpu_count();
    if (chosen.threads > ECD_THREADS_MAX)
        chosen.threads = ECD_THREADS_MAX;
    const char *name = chosen.name ? chosen.name : "auto";
    if (!strcmp(name, "ref"))
        return ecd_ref_open(&chosen, out, diag);
    if (!strcmp(name, "cpu"))
        return ecd_cpu_open(&chosen, out, diag);
    if (!strcmp(name, "auto"))
        return open_best(&chosen, out, diag);
    if (!strcmp(name, "cuda"))
        return open_cuda(&chosen, out, diag);
    return ecd_fail(diag, ECD_USAGE, "backend %s: expected auto, ref, cpu or cuda", name);
}

void ecd_backend_close(ecd_backend *be)
{
    if (be)
        be->ops->close(be);
}

ecd_status ecd_backend_alloc(ecd_backend *be, size_t size_bytes, const char *what, void **out, ecd_diag *diag)
{
    *out = NULL;
    ecd_status status = ecd_backend_check(be, diag);
    if (status != ECD_OK)
        return status;
    *out = be->ops->alloc(be, size_bytes);
    if (*out)
        return ECD_OK;
    be->failure = (ecd_diag){0};
    return ecd_fail_memory(diag, size_bytes, what);
}

ecd_status ecd_backend_check(ecd_backend *be, ecd_diag *diag)
{
    if (be->ops->wait)
        be->ops->wait(be);
    if (!ecd_backend_ok(be) && diag)
        *diag = be->failure;
    return be->failure.status;
}

void ecd_backend_fail(ecd_backend *be, ecd_status status, const char *format, ...)
{
    if (!ecd_backend_ok(be))
        return;
    char text[ECD_DIAG_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ecd_fail(&be->failure, status, "%s", text);
}

void ecd_backend_keep(ecd_backend *be, const ecd_diag *diag)
{
    if (ecd_backend_ok(be))
        be->failure = *diag;
}
