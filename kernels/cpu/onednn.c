#include "kernels/cpu/onednn.h"

#if defined(ECD_WITH_ONEDNN)
#include <dnnl.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { SOURCE, WEIGHTS, SUMS, SCRATCH, OPERANDS };

typedef struct operands {
    dnnl_memory_t memory[OPERANDS]; // of one thread
    dnnl_stream_t stream;
} operands;

struct ecd_onednn_product {
    ecd_onednn_shape shape;
    dnnl_primitive_t primitive; // NULL: oneDNN has no such product, and is not asked again
    void *scratch;              // threads pieces of scratch_bytes
    size_t scratch_bytes;
    operands *threads;
    int thread_count;
    ecd_onednn_product *next;
};

struct ecd_onednn {
    dnnl_engine_t engine;
    int threads;
    ecd_onednn_product *products;
    uint64_t held_bytes;
};

// oneDNN's OpenMP must not start threads of its own under ours. The number is a setting of the calling thread alone.
static int alone(void)
{
    int before = omp_get_max_threads();
    omp_set_num_threads(1);
    return before;
}

static void empty_product(ecd_onednn_product *p)
{
    for (int t = 0; p->threads && t < p->thread_count; t++) {
        for (int i = 0; i < OPERANDS; i++)
            if (p->threads[t].memory[i])
                dnnl_memory_destroy(p->threads[t].memory[i]);
        if (p->threads[t].stream)
            dnnl_stream_destroy(p->threads[t].stream);
    }
    if (p->primitive)
        dnnl_primitive_destroy(p->primitive);
    free(p->threads);
    free(p->scratch);
    *p = (ecd_onednn_product){.shape = p->shape, .next = p->next};
}

ecd_onednn *ecd_onednn_open(ecd_cpu_level level, int threads)
{
    if (level == ECD_CPU_SCALAR)
        return NULL;
    if (level == ECD_CPU_AVX2) // refused after the first use in a process: the header says so
        dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
    ecd_onednn *library = calloc(1, sizeof *library);
    if (!library)
        return NULL;
    library->threads = threads;
    if (dnnl_engine_create(&library->engine, dnnl_cpu, 0) != dnnl_success) {
        free(library);
        return NULL;
    }
    return library;
}

void ecd_onednn_close(ecd_onednn *library)
{
    if (!library)
        return;
    while (library->products) {
        ecd_onednn_product *product = library->products;
        library->products = product->next;
        empty_product(product);
        free(product);
    }
    dnnl_engine_destroy(library->engine);
    free(library);
}

uint64_t ecd_onednn_memory_bytes(const ecd_onednn *library)
{
    return library ? library->held_bytes : 0;
}

static dnnl_status_t describe(ecd_onednn *library, const ecd_onednn_shape *s, dnnl_primitive_desc_t *out)
{
    dnnl_data_type_t type = s->dtype == ECD_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_memory_desc_t x = NULL, w = NULL, sums = NULL;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_status_t status = dnnl_memory_desc_create_with_strides(&x, 2, (dnnl_dims_t){s->rows, s->depth}, type,
                                                                (dnnl_dims_t){s->x_stride, 1});
    if (status == dnnl_success) // the product's right side is w transposed
        status = dnnl_memory_desc_create_with_strides(&w, 2, (dnnl_dims_t){s->depth, s->channels}, type,
                                                      (dnnl_dims_t){1, s->depth});
    if (status == dnnl_success)
        status = dnnl_memory_desc_create_with_strides(&sums, 2, (dnnl_dims_t){s->rows, s->channels}, dnnl_f32,
                                                      (dnnl_dims_t){s->sums_stride, 1});
    if (status == dnnl_success)
        status = dnnl_primitive_attr_create(&attributes);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = dnnl_matmul_primitive_desc_create(out, library->engine, x, w, NULL, sums, attributes);
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    if (sums)
        dnnl_memory_desc_destroy(sums);
    if (w)
        dnnl_memory_desc_destroy(w);
    if (x)
        dnnl_memory_desc_destroy(x);
    return status;
}

// What each thread needs of a product: its stream, and memory objects whose data is set at each call.
static bool make_operands(ecd_onednn *library, ecd_onednn_product *p, const_dnnl_primitive_desc_t desc)
{
    static const dnnl_query_t queries[] = {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md,
                                           dnnl_query_scratchpad_md};
    p->thread_count = library->threads;
    p->scratch_bytes =
        (dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(desc, queries[SCRATCH], 0)) + 64) / 64 * 64;
    p->threads = calloc((size_t)library->threads, sizeof *p->threads);
    p->scratch = aligned_alloc(64, p->scratch_bytes * (size_t)library->threads);
    if (!p->threads || !p->scratch)
        return false;
    for (int t = 0; t < library->threads; t++) {
        operands *own = &p->threads[t];
        if (dnnl_stream_create(&own->stream, library->engine, dnnl_stream_default_flags) != dnnl_success)
            return false;
        for (int i = 0; i < OPERANDS; i++) {
            void *data = i == SCRATCH ? (char *)p->scratch + p->scratch_bytes * (size_t)t : DNNL_MEMORY_NONE;
            const_dnnl_memory_desc_t md = dnnl_primitive_desc_query_md(desc, queries[i], 0);
            if (dnnl_memory_create(&own->memory[i], md, library->engine, data) != dnnl_success)
                return false;
        }
    }
    return true;
}

static void make_product(ecd_onednn *library, ecd_onednn_product *p)
{
    dnnl_primitive_desc_t desc = NULL;
    int before = alone();
    bool made = describe(library, &p->shape, &desc) == dnnl_success &&
                dnnl_primitive_create(&p->primitive, desc) == dnnl_success && make_operands(library, p, desc);
    omp_set_num_threads(before);
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    if (!made)
        empty_product(p);
}

ecd_onednn_product *ecd_onednn_product_of(ecd_onednn *library, const ecd_onednn_shape *shape)
{
    for (ecd_onednn_product *p = library->products; p; p = p->next) {
        const ecd_onednn_shape *s = &p->shape;
        if (s->dtype == shape->dtype && s->rows == shape->rows && s->channels == shape->channels &&
            s->depth == shape->depth && s->x_stride == shape->x_stride && s->sums_stride == shape->sums_stride)
            return p->primitive ? p : NULL;
    }
    ecd_onednn_product *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    made->shape = *shape;
    make_product(library, made);
    library->held_bytes += made->scratch_bytes * (uint64_t)library->threads;
    made->next = library->products;
    library->products = made;
    return made->primitive ? made : NULL;
}

bool ecd_onednn_has_bf16(ecd_onednn *library)
{
    ecd_onednn_shape shape = {ECD_BF16, 64, 64, 64, 64, 64};
    return library && ecd_onednn_product_of(library, &shape);
}

bool ecd_onednn_multiply(ecd_onednn_product *p, int thread, const void *x, const void *w, float *sums)
{
    static const int names[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};
    operands *own = &p->threads[thread];
    dnnl_exec_arg_t arguments[OPERANDS];
    for (int i = 0; i < OPERANDS; i++)
        arguments[i] = (dnnl_exec_arg_t){names[i], own->memory[i]};
    // oneDNN's interface knows no const; it only writes the sums.
    bool done = dnnl_memory_set_data_handle(own->memory[SOURCE], (void *)(uintptr_t)x) == dnnl_success &&
                dnnl_memory_set_data_handle(own->memory[WEIGHTS], (void *)(uintptr_t)w) == dnnl_success &&
                dnnl_memory_set_data_handle(own->memory[SUMS], sums) == dnnl_success;
    int before = alone();
    done = done && dnnl_primitive_execute(p->primitive, own->stream, OPERANDS, arguments) == dnnl_success &&
           dnnl_stream_wait(own->stream) == dnnl_success;
    omp_set_num_threads(before);
    return done;
}

#else

ecd_onednn *ecd_onednn_open(ecd_cpu_level level, int threads)
{
    (void)level;
    (void)threads;
    return NULL;
}

void ecd_onednn_close(ecd_onednn *library)
{
    (void)library;
}

uint64_t ecd_onednn_memory_bytes(const ecd_onednn *library)
{
    (void)library;
    return 0;
}

bool ecd_onednn_has_bf16(ecd_onednn *library)
{
    (void)library;
    return false;
}

ecd_onednn_product *ecd_onednn_product_of(ecd_onednn *library, const ecd_onednn_shape *shape)
{
    (void)library;
    (void)shape;
    return NULL;
}

bool ecd_onednn_multiply(ecd_onednn_product *product, int thread, const void *x, const void *w, float *sums)
{
    (void)product;
    (void)thread;
    (void)x;
    (void)w;
    (void)sums;
    return false;
}
#endif
