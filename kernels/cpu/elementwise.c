#include "kernels/cpu/ops.h"
#include "kernels/shape.h"

void ECD_NAME(to_act)(ecd_backend *be, const float *x, int64_t count, bool silu, void *out)
{
    ecd_dtype act = ecd_cpu_act(be);
    for (int64_t i = 0; ecd_backend_ok(be) && i < count; i += LANES) {
        vf v = vload_some(ECD_F32, x + i, count - i);
        vstore_some(act, (char *)out + (size_t)i * be->act_bytes, silu ? vsilu(v) : v, count - i);
    }
}

void ECD_NAME(to_f32)(ecd_backend *be, const void *x, int64_t count, float *out)
{
    ecd_dtype act = ecd_cpu_act(be);
    for (int64_t i = 0; ecd_backend_ok(be) && i < count; i += LANES)
        vstore_some(ECD_F32, out + i, vload_some(act, (const char *)x + (size_t)i * be->act_bytes, count - i),
                    count - i);
}
