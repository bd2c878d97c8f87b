// Threads: any number decode from one decoder, and encode from one plan, at the same time. Each result equals that of
// one thread. Under ThreadSanitizer this shows that nothing is shared that ought not to be.
#include <pthread.h>

#include <cmocka.h>

#include "tests/unit/ecf8_make.h"

enum { THREADS = 4, TILE = 1024, COUNT = 150 * TILE + 77, ROUNDS = 3 };

typedef struct worker {
    pthread_t id;
    unsigned number;
    const ecf8_decoder *decoder;
    const uint8_t *weights;
    ecf8_plan *plan;
    pthread_barrier_t *barrier;
    uint8_t **blob;
    uint64_t *bytes;
    void *out;
    ecf8_status status;
    bool same;
} worker;

static void share(uint64_t units, const worker *w, uint64_t *first, uint64_t *count)
{
    *first = units * w->number / THREADS;
    *count = units * (w->number + 1) / THREADS - *first;
}

// A share of the tensor into memory of all threads, then everything by each, which meets every tile at the same time.
static void *decode_all(void *argument)
{
    worker *w = argument;
    const ecf8_view *v = &w->decoder->view;
    const size_t size = ecf8_dtype_bytes(v->dtype);
    uint8_t *own = malloc(COUNT * size);
    uint64_t first, count;
    share(COUNT, w, &first, &count);
    w->status = own ? ECF8_OK : ECF8_ERR_SPACE;
    for (unsigned round = 0; round < ROUNDS && !w->status; round++) {
        w->status = ecf8_decode_weights(w->decoder, first, count, NULL, (uint8_t *)w->out + first * size, count * size,
                                        ECF8_VERIFY, NULL);
        if (!w->status)
            w->status = ecf8_decode(w->decoder, own, COUNT * size, ECF8_VERIFY, NULL);
        if (!w->status)
            w->status = ecf8_verify(w->decoder, NULL);
        w->same = !w->status && !memcmp(own, w->weights, COUNT * size);
    }
    free(own);
    return NULL;
}

static void run(worker workers[THREADS], worker model, void *(*body)(void *))
{
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = model;
        workers[i].number = i;
        assert_int_equal(pthread_create(&workers[i].id, NULL, body, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(workers[i].id, NULL);
}

static void test_decoding(void **state)
{
    (void)state;
    static uint8_t tables[ECF8_DECODER_MAX_BYTES];
    for (ecf8_dtype dtype = ECF8_E4M3; dtype <= ECF8_F16; dtype++)
        for (unsigned density = 0; density <= (dtype == ECF8_E4M3); density++) {
            const ecf8_params params = {dtype, 0, 0, (ecf8_density)density, TILE};
            uint64_t bytes;
            uint8_t *weights = ecf8_made_weights(COUNT, dtype, ECF8_MADE_RARE, density);
            uint8_t *blob = ecf8_made_blob(weights, COUNT, &params, &bytes), *all = malloc(COUNT * 2);
            ecf8_view view;
            ecf8_decoder decoder;
            worker workers[THREADS];
            assert_non_null(blob);
            assert_int_equal(ecf8_open(blob, bytes, &view, NULL), ECF8_OK);
            assert_int_equal(ecf8_decoder_init(&decoder, &view, tables, sizeof tables, ECF8_CPU_AUTO, NULL), ECF8_OK);
            run(workers, (worker){.decoder = &decoder, .weights = weights, .out = all}, decode_all);
            for (unsigned i = 0; i < THREADS; i++)
                assert_true(!workers[i].status && workers[i].same);
            assert_memory_equal(all, weights, COUNT * ecf8_dtype_bytes(dtype));
            free(weights);
            free(blob);
            free(all);
        }
}

// The steps of a plan, each done by all threads; what one thread does between them is done by the first.
static void *encode_share(void *argument)
{
    worker *w = argument;
    uint64_t first, count;
    share(ecf8_plan_tiles(w->plan), w, &first, &count);
    ecf8_plan_scan(w->plan, first, count);
    pthread_barrier_wait(w->barrier);
    if (w->number == 0)
        ecf8_plan_decide(w->plan);
    pthread_barrier_wait(w->barrier);
    ecf8_plan_measure(w->plan, first, count);
    pthread_barrier_wait(w->barrier);
    if (w->number == 0) {
        *w->bytes = ecf8_plan_size(w->plan);
        *w->blob = malloc(*w->bytes);
    }
    pthread_barrier_wait(w->barrier);
    if (*w->blob)
        ecf8_plan_pack(w->plan, first, count, *w->blob);
    pthread_barrier_wait(w->barrier);
    if (w->number == 0 && *w->blob)
        ecf8_plan_seal(w->plan, *w->blob);
    return NULL;
}

static void test_encoding(void **state)
{
    (void)state;
    pthread_barrier_t barrier;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (ecf8_dtype dtype = ECF8_E4M3; dtype <= ECF8_F16; dtype++)
        for (unsigned density = 0; density <= 2; density++) {
            const ecf8_params params = {dtype, 0, 0, (ecf8_density)density, TILE};
            const uint64_t work_bytes = ecf8_plan_bytes(COUNT, &params);
            uint64_t bytes, expected_bytes;
            uint8_t *weights = ecf8_made_weights(COUNT, dtype, ECF8_MADE_RARE, density), *work = malloc(work_bytes);
            uint8_t *expected = ecf8_made_blob(weights, COUNT, &params, &expected_bytes), *blob = NULL;
            ecf8_plan *plan = ecf8_plan_begin(weights, COUNT, &params, work, work_bytes);
            worker workers[THREADS];
            assert_true(expected && plan);
            run(workers, (worker){.plan = plan, .barrier = &barrier, .blob = &blob, .bytes = &bytes}, encode_share);
            assert_non_null(blob);
            assert_int_equal(bytes, expected_bytes);
            assert_memory_equal(blob, expected, bytes);
            free(weights);
            free(work);
            free(expected);
            free(blob);
        }
    pthread_barrier_destroy(&barrier);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_decoding), cmocka_unit_test(test_encoding)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
