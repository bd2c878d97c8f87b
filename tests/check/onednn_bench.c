// Times the backend's products and convolutions against oneDNN's, interleaved, one thread each. oneDNN gets weights
// already widened to f32 (products) or in the layout of its choice (convolutions); ours widens FP8 at each product.
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/process.h"
#include "kernels/backend.h"

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void must(dnnl_status_t status)
{
    if (status == dnnl_success)
        return;
    fprintf(stderr, "oneDNN status %d\n", (int)status);
    exit(1);
}

static dnnl_memory_t memory_of(const_dnnl_memory_desc_t desc)
{
    dnnl_memory_t memory;
    must(dnnl_memory_create(&memory, desc, engine, DNNL_MEMORY_ALLOCATE));
    void *data;
    must(dnnl_memory_get_data_handle(memory, &data));
    float *values = data;
    for (size_t i = 0; i < dnnl_memory_desc_get_size(desc) / sizeof(float); i++)
        values[i] = (float)(i % 13) * 0.1f;
    return memory;
}

static dnnl_primitive_t primitive_of(dnnl_primitive_desc_t desc, dnnl_exec_arg_t args[3])
{
    static const dnnl_query_t queries[] = {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md};
    static const int names[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    dnnl_primitive_t primitive;
    for (int i = 0; i < 3; i++)
        args[i] = (dnnl_exec_arg_t){names[i], memory_of(dnnl_primitive_desc_query_md(desc, queries[i], 0))};
    must(dnnl_primitive_create(&primitive, desc));
    return primitive;
}

typedef struct race {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[3];
    double theirs, ours;
} race;

static double seconds_since(uint64_t start)
{
    return (double)(ecd_now_ns() - start) * 1e-9;
}

static void run_theirs(race *r)
{
    uint64_t start = ecd_now_ns();
    must(dnnl_primitive_execute(r->primitive, stream, 3, r->args));
    must(dnnl_stream_wait(stream));
    double seconds = seconds_since(start);
    r->theirs = seconds < r->theirs ? seconds : r->theirs;
}

static void report(const char *what, const race *r, double flop)
{
    printf("%-36s own %6.1f  oneDNN %6.1f GFLOP/s  own/oneDNN time %.2f\n", what, flop / r->ours * 1e-9,
           flop / r->theirs * 1e-9, r->ours / r->theirs);
}

static void race_linear(ecd_backend *be, int64_t m, int64_t k, int64_t n)
{
    dnnl_memory_desc_t x, w, y;
    must(dnnl_memory_desc_create_with_tag(&x, 2, (dnnl_dims_t){m, k}, dnnl_f32, dnnl_ab));
    must(dnnl_memory_desc_create_with_tag(&w, 2, (dnnl_dims_t){k, n}, dnnl_f32, dnnl_ba));
    must(dnnl_memory_desc_create_with_tag(&y, 2, (dnnl_dims_t){m, n}, dnnl_f32, dnnl_ab));
    dnnl_primitive_desc_t desc;
    must(dnnl_matmul_primitive_desc_create(&desc, engine, x, w, NULL, y, NULL));
    race r = {.theirs = 1e9, .ours = 1e9};
    r.primitive = primitive_of(desc, r.args);
    float *in = calloc((size_t)(m * k), 4), *out = calloc((size_t)(m * n), 4);
    uint8_t *data = malloc((size_t)(k * n));
    for (int64_t i = 0; i < k * n; i++)
        data[i] = (uint8_t)(0x20 + i % 23);
    ecd_weight weight = {ECD_E4M3, data, n, k, ECD_SCALE_NONE, NULL, NULL};
    ecd_linear op = {.w = &weight, .pictures = 1, .rows = m, .x = in, .out = out};
    for (int i = 0; i < 60; i++) {
        run_theirs(&r);
        uint64_t start = ecd_now_ns();
        be->ops->linear(be, &op);
        double seconds = seconds_since(start);
        r.ours = seconds < r.ours ? seconds : r.ours;
    }
    char what[80];
    snprintf(what, sizeof what, "linear M %lld K %lld N %lld", (long long)m, (long long)k, (long long)n);
    report(what, &r, 2.0 * (double)(m * k * n));
    free(in);
    free(out);
    free(data);
}

static void race_conv(ecd_backend *be, int64_t side, int64_t in, int64_t channels)
{
    dnnl_memory_desc_t x, w, y;
    must(dnnl_memory_desc_create_with_tag(&x, 4, (dnnl_dims_t){1, in, side, side}, dnnl_f32, dnnl_nhwc));
    must(dnnl_memory_desc_create_with_tag(&w, 4, (dnnl_dims_t){channels, in, 3, 3}, dnnl_f32, dnnl_format_tag_any));
    must(dnnl_memory_desc_create_with_tag(&y, 4, (dnnl_dims_t){1, channels, side, side}, dnnl_f32, dnnl_nhwc));
    dnnl_primitive_desc_t desc;
    dnnl_dims_t ones = {1, 1}, zeros = {0, 0};
    must(dnnl_convolution_forward_primitive_desc_create(&desc, engine, dnnl_forward_inference, dnnl_convolution_direct,
                                                        x, w, NULL, y, ones, zeros, ones, ones, NULL));
    race r = {.theirs = 1e9, .ours = 1e9};
    r.primitive = primitive_of(desc, r.args);
    ecd_conv_shape shape = {in, channels, 3, 1, 1, 1};
    float *weights = calloc((size_t)(9 * in * channels), 4);
    float *from = calloc((size_t)(side * side * in), 4), *to = calloc((size_t)(side * side * channels), 4);
    ecd_weight weight = {ECD_F32, weights, channels, 9 * in, ECD_SCALE_NONE, NULL, NULL};
    ecd_conv_weight *packed = be->ops->conv_prepare(be, &shape, &weight, NULL);
    ecd_conv op = {.w = packed, .height = side, .width = side, .x = from, .out = to};
    for (int i = 0; i < 25; i++) {
        run_theirs(&r);
        uint64_t start = ecd_now_ns();
        be->ops->conv(be, &op);
        double seconds = seconds_since(start);
        r.ours = seconds < r.ours ? seconds : r.ours;
    }
    char what[80];
    snprintf(what, sizeof what, "conv3x3 %lldx%lld %lld -> %lld", (long long)side, (long long)side, (long long)in,
             (long long)channels);
    report(what, &r, 18.0 * (double)(side * side * in * channels));
    be->ops->conv_free(be, packed);
    free(weights);
    free(from);
    free(to);
}

int main(void)
{
    ecd_backend *be = NULL;
    ecd_diag diag = {0};
    ecd_backend_options options = {.name = "cpu", .compute = ECD_COMPUTE_F32, .threads = 1};
    if (ecd_backend_open(&options, &be, &diag)) {
        fprintf(stderr, "%s\n", diag.what);
        return 1;
    }
    must(dnnl_engine_create(&engine, dnnl_cpu, 0));
    must(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    printf("%s against oneDNN %d.%d\n", be->detail, dnnl_version()->major, dnnl_version()->minor);
    static const int64_t linears[][3] = {{64, 384, 1152},   {128, 384, 1152},   {128, 384, 1536},  {128, 1536, 384},
                                         {256, 1152, 4608}, {256, 4608, 1152}, {1024, 1152, 1152}};
    static const int64_t convs[][3] = {{16, 128, 128}, {64, 64, 64}, {128, 32, 32}, {64, 512, 512}, {256, 128, 128}};
    for (int i = 0; i < 7; i++)
        race_linear(be, linears[i][0], linears[i][1], linears[i][2]);
    for (int i = 0; i < 5; i++)
        race_conv(be, convs[i][0], convs[i][1], convs[i][2]);
    ecd_backend_close(be);
    return 0;
}
