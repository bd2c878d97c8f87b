#include "kernels/cpu/ops.h"

void ECD_NAME(fill)(ecd_backend_ops *ops)
{
    ops->linear = ECD_NAME(linear);
    ops->norm = ECD_NAME(norm);
    ops->attention = ECD_NAME(attention);
    ops->rope = ECD_NAME(rope);
    ops->to_act = ECD_NAME(to_act);
    ops->to_f32 = ECD_NAME(to_f32);
    ops->combine = ECD_NAME(combine);
    ops->to_bytes = ECD_NAME(to_bytes);
    ops->add_rows = ECD_NAME(add_rows);
    ops->conv_prepare = ECD_NAME(conv_prepare);
    ops->conv = ECD_NAME(conv);
    ops->group_norm = ECD_NAME(group_norm);
    ops->group_measure = ECD_NAME(group_measure);
}
