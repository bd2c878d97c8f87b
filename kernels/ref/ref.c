#include "kernels/ref/ref.h"

#include <stdlib.h>

#include "kernels/backends.h"
#include "kernels/host_memory.h"

static uint64_t memory_bytes(const ecd_backend *be)
{
    return ((const ecd_ref *)be)->held_bytes;
}

static void close_ref(ecd_backend *be)
{
    free(be);
}

static const ecd_backend_ops ref_ops = {
    .alloc = ecd_host_alloc,
    .free = ecd_host_free,
    .upload = ecd_host_copy,
    .download = ecd_host_copy,
    .copy = ecd_host_copy,
    .expand = ecd_host_expand,
    .linear = ecd_ref_linear,
    .norm = ecd_ref_norm,
    .attention = ecd_ref_attention,
    .rope = ecd_ref_rope,
    .to_act = ecd_ref_to_act,
    .to_f32 = ecd_ref_to_f32,
    .add_rows = ecd_ref_add_rows,
    .patchify = ecd_ref_patchify,
    .unpatchify = ecd_ref_unpatchify,
    .combine = ecd_ref_combine,
    .to_bytes = ecd_ref_to_bytes,
    .conv_prepare = ecd_ref_conv_prepare,
    .conv_free = ecd_ref_conv_free,
    .conv = ecd_ref_conv,
    .group_norm = ecd_ref_group_norm,
    .group_measure = ecd_ref_group_measure,
    .to_channels_last = ecd_ref_to_channels_last,
    .to_channels_first = ecd_ref_to_channels_first,
    .memory_bytes = memory_bytes,
    .close = close_ref,
};

ecd_status ecd_ref_open(const ecd_backend_options *options, ecd_backend **out, ecd_diag *diag)
{
    if (options->compute == ECD_COMPUTE_BF16 || options->compute == ECD_COMPUTE_FP8)
        return ecd_fail(diag, ECD_USAGE, "backend ref computes in f32 only, not in %s",
                        options->compute == ECD_COMPUTE_BF16 ? "bf16" : "fp8");
    ecd_ref *ref = calloc(1, sizeof *ref);
    if (!ref)
        return ecd_fail_memory(diag, sizeof *ref, "the ref backend");
    ref->base = (ecd_backend){
        .ops = &ref_ops,
        .name = "ref",
        .detail = "plain C, f32",
        .compute = ECD_COMPUTE_F32,
        .act_bytes = sizeof(float),
        .threads = 1,
        .host_memory = true,
    };
    *out = &ref->base;
    return ECD_OK;
}
