#include "kernels/cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "codec/ecf8.h"
#include "kernels/backends.h"
#include "kernels/cpu/conv_weight.h"
#include "kernels/cpu/layout.h"
#include "kernels/host_memory.h"

bool ecd_cpu_reserve(ecd_backend *be, size_t size_bytes)
{
    ecd_cpu_backend *cpu = ecd_cpu_of(be);
    size_t rounded = (size_bytes + 4095) / 4096 * 4096 + 64; // off the page: the threads' pieces share no cache set
    if (!ecd_backend_ok(be) || rounded <= cpu->scratch_bytes)
        return ecd_backend_ok(be);
    free(cpu->scratch);
    cpu->scratch_bytes = 0;
    cpu->scratch = aligned_alloc(64, rounded * (size_t)be->threads);
    if (!cpu->scratch) {
        ecd_backend_fail(be, ECD_RESOURCE, "out of memory: %zu bytes of scratch for each of %d threads", rounded,
                         be->threads);
        return false;
    }
    cpu->scratch_bytes = rounded;
    return true;
}

ecd_conv_weight *ecd_cpu_conv_new(ecd_backend *be, const ecd_conv_shape *shape, size_t size_bytes)
{
    size_t rounded = (size_bytes + 63) / 64 * 64;
    ecd_conv_weight *w = malloc(sizeof *w);
    float *values = aligned_alloc(64, rounded);
    if (!w || !values) {
        free(w);
        free(values);
        return NULL;
    }
    *w = (ecd_conv_weight){.shape = *shape, .size_bytes = rounded, .values = values};
    ecd_cpu_of(be)->held_bytes += rounded;
    return w;
}

void *ecd_cpu_conv_keep(ecd_backend *be, ecd_conv_weight *w, size_t size_bytes)
{
    size_t rounded = (size_bytes + 63) / 64 * 64;
    w->rows = aligned_alloc(64, rounded);
    if (!w->rows)
        return NULL;
    w->size_bytes += rounded;
    ecd_cpu_of(be)->held_bytes += rounded;
    return w->rows;
}

void ecd_cpu_conv_free(ecd_backend *be, ecd_conv_weight *w)
{
    if (!w)
        return;
    ecd_cpu_of(be)->held_bytes -= w->size_bytes;
    free(w->values);
    free(w->rows);
    free(w);
}

void ecd_cpu_parts_done(ecd_backend *be, const char *failure)
{
    if (atomic_exchange(&ecd_cpu_of(be)->part_failed, false))
        ecd_backend_fail(be, ECD_RESOURCE, "%s", failure);
}

static uint64_t memory_bytes(const ecd_backend *be)
{
    const ecd_cpu_backend *cpu = (const ecd_cpu_backend *)be;
    return cpu->held_bytes + cpu->scratch_bytes * (uint64_t)be->threads + ecd_onednn_memory_bytes(cpu->onednn);
}

static void close_cpu(ecd_backend *be)
{
    ecd_cpu_backend *cpu = ecd_cpu_of(be);
    ecd_pool_close(cpu->pool);
    ecd_onednn_close(cpu->onednn);
    free(cpu->scratch);
    free(cpu->tables);
    free(cpu);
}

static ecd_backend_ops level_ops(ecd_cpu_level level)
{
    ecd_backend_ops ops = {
        .alloc = ecd_host_alloc,
        .free = ecd_host_free,
        .upload = ecd_host_copy,
        .download = ecd_host_copy,
        .copy = ecd_host_copy,
        .expand = ecd_host_expand,
        .patchify = ecd_cpu_patchify,
        .unpatchify = ecd_cpu_unpatchify,
        .conv_free = ecd_cpu_conv_free,
        .to_channels_last = ecd_cpu_to_channels_last,
        .to_channels_first = ecd_cpu_to_channels_first,
        .memory_bytes = memory_bytes,
        .close = close_cpu,
    };
    ecd_cpu_fill_scalar(&ops);
#if defined(__x86_64__)
    if (ecd_cpu_has_fma())
        ecd_cpu_fill_fused(&ops);
    if (level >= ECD_CPU_AVX2)
        ecd_cpu_fill_avx2(&ops);
    if (level >= ECD_CPU_AVX512)
        ecd_cpu_fill_avx512(&ops);
#endif
    return ops;
}

ecd_status ecd_cpu_open(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag)
{
    if (options->compute == ECD_COMPUTE_FP8)
        return ecd_fail(diag, ECD_USAGE,
                        "backend cpu does not compute in fp8, which takes backend cuda and a GPU of compute capability 8.9");
    ecd_cpu_backend *cpu = calloc(1, sizeof *cpu);
    void *tables = malloc(ECF8_DECODER_MAX_BYTES);
    if (!cpu || !tables) {
        free(cpu);
        free(tables);
        return ecd_fail_memory(diag, sizeof *cpu + ECF8_DECODER_MAX_BYTES, "the cpu backend");
    }
    cpu->tables = tables;
    ecd_cpu_level level = ecd_cpu();
    cpu->onednn = ecd_onednn_open(level, options->threads);
    // BF16 products pay where the CPU has them and oneDNN uses them; own kernels widen BF16 to f32 and gain nothing.
    bool native = ecd_cpu_has_bf16() && ecd_onednn_has_bf16(cpu->onednn);
    bool bf16 = options->compute == ECD_COMPUTE_BF16 || (options->compute == ECD_COMPUTE_AUTO && native);
    cpu->prefer_onednn = bf16 && native;
    snprintf(cpu->text, sizeof cpu->text, "%s, %s, %s", cpu->prefer_onednn ? "oneDNN and own kernels" : "own kernels",
             ecd_cpu_level_name(level), bf16 ? "bf16" : "f32");
    cpu->ops = level_ops(level);
    cpu->base = (ecd_backend){
        .ops = &cpu->ops,
        .name = "cpu",
        .detail = cpu->text,
        .compute = bf16 ? ECD_COMPUTE_BF16 : ECD_COMPUTE_F32,
        .act_bytes = bf16 ? 2 : 4,
        .threads = options->threads,
        .host_memory = true,
    };
    ecd_status status = ecd_pool_open(options->threads, &cpu->pool, diag);
    if (status != ECD_OK) {
        ecd_onednn_close(cpu->onednn);
        free(cpu->tables);
        free(cpu);
        return status;
    }
    *out = &cpu->base;
    return ECD_OK;
}
