// libecdit on small models: the program's pictures by their hashes, jobs that share and that change a pipeline, what
// cannot be, cancelling from inside and from another thread, two models at once.
#include "tests/unit/reference.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "lib/ecdit.h"
#include "lib/sha256.h"
#include "weights/compress.h"
#include "weights/tree.h"

static const char *const classes = ECD_TEST_DATA "/models/dit_a", *const texts = ECD_TEST_DATA "/models/flux_c";

// Those of test_golden.c and test_texts.c.
static const char *const classes_hash = "a39ec209f02b11ec8d9d8bc24ad78e44f3146bf69def2e60aeabd67dc12a2b7f";
static const char *const text_hash = "2c5d1415b1103fd633e7b9865bdabec07f34212a557d12552480c6bc229f800d";
static const char *const prompt = "a photo of a cat holding a sign that says hello world";

enum { SIDE = 16, PICTURE = SIDE * SIDE * 3, MOST = 20 };

static const ecdit_picture golden[] = {{"goldfish", 0, 7}, {NULL, 3, UINT64_MAX}};

static ecdit_model *open_model(const char *path, ecdit_backend backend, int threads)
{
    ecdit_options options = ECDIT_OPTIONS_INIT;
    ecdit_error error;
    ecdit_model *model = NULL;
    options.backend = backend;
    options.compute = ECDIT_COMPUTE_F32;
    options.threads = threads;
    options.max_text_tokens = 48;
    if (ecdit_open(path, &options, &model, &error))
        fail_msg("%s", error.message);
    return model;
}

static ecdit_job job_of(const ecdit_picture *pictures, size_t count)
{
    ecdit_job job = ECDIT_JOB_INIT;
    job.pictures = pictures;
    job.count = count;
    job.steps = 4;
    job.guidance = 3.5;
    return job;
}

static void draws(ecdit_model *model, const ecdit_job *job, uint8_t *pixels, size_t bytes)
{
    ecdit_error error;
    assert_int_equal(ecdit_job_bytes(model, job), bytes);
    if (ecdit_draw(model, job, pixels, bytes, &error))
        fail_msg("%s", error.message);
    assert_true(error.status == ECDIT_OK && !error.message[0]);
}

static void fails(ecdit_status got, const ecdit_error *error, ecdit_status wanted, const char *part)
{
    if (got != wanted || error->status != wanted || !strstr(error->message, part))
        fail_msg("%s, \"%s\": expected %s and \"%s\"", ecdit_status_name(got), error->message,
                 ecdit_status_name(wanted), part);
}

static ecdit_info info_of(const ecdit_model *model)
{
    ecdit_info info = ECDIT_INFO_INIT;
    ecdit_error error;
    assert_int_equal(ecdit_get_info(model, &info, &error), ECDIT_OK);
    return info;
}

static void test_classes(void **state)
{
    (void)state;
    static uint8_t pixels[MOST * PICTURE];
    char hash[ECD_SHA256_TEXT];
    ecdit_model *model = open_model(classes, ECDIT_BACKEND_REF, 2);
    ecdit_job job = job_of(golden, 2);
    draws(model, &job, pixels, 2 * PICTURE);
    ecd_sha256(pixels, 2 * PICTURE, hash);
    assert_string_equal(hash, classes_hash);

    ecdit_picture many[MOST]; // more than are drawn at once; one more of the last kind
    for (size_t i = 0; i < MOST; i++)
        many[i] = i % 2 ? golden[1] : golden[0];
    job = job_of(many, MOST);
    memset(pixels + 2 * PICTURE, 0, (MOST - 2) * PICTURE);
    draws(model, &job, pixels, MOST * PICTURE);
    for (size_t i = 2; i < MOST; i++)
        assert_memory_equal(pixels + i * PICTURE, pixels + i % 2 * PICTURE, PICTURE);
    ecd_sha256(pixels, 2 * PICTURE, hash);
    assert_string_equal(hash, classes_hash);

    ecdit_info info = info_of(model);
    assert_int_equal(info.kind, ECDIT_KIND_CLASSES);
    assert_string_equal(info.architecture, "DiTTransformer2DModel");
    assert_string_equal(info.backend, "ref");
    assert_true(info.class_count == 1000 && info.width == SIDE && info.height == SIDE && !info.size_step);
    assert_true(info.steps == 50 && info.guidance == 4 && info.threads > 0 && info.compute == ECDIT_COMPUTE_F32);
    assert_true(info.held_bytes && info.held_bytes < info.raw_bytes && info.raw_bytes == info.file_bytes && info.plan[0]);
    int64_t id = -1;
    ecdit_error error;
    assert_int_equal(ecdit_class_find(model, "great gray owl", &id, &error), ECDIT_OK);
    assert_int_equal(id, 3);
    assert_string_equal(ecdit_class_name(model, 3), "great grey owl");
    assert_null(ecdit_class_name(model, 6));
    assert_null(ecdit_class_name(model, -1));
    ecdit_close(model);
}

typedef struct told {
    ecdit_model *model;
    int calls, text, notices;
    int stop_after; // steps; 0: never
    bool by_call;   // with ecdit_cancel
    size_t done;
    char last[256];
} told;

static int on_progress(void *user, const ecdit_progress *p)
{
    told *t = user;
    t->calls++;
    t->text += p->phase == ECDIT_PHASE_TEXT;
    t->done = p->pictures_done;
    assert_true(p->done >= 0 && p->done <= p->total && p->pictures_done <= p->pictures);
    if (!t->stop_after || p->phase != ECDIT_PHASE_STEPS || p->done < t->stop_after)
        return 0;
    if (t->by_call)
        ecdit_cancel(t->model);
    return !t->by_call;
}

static void on_notice(void *user, const char *text)
{
    told *t = user;
    t->notices++;
    snprintf(t->last, sizeof t->last, "%s", text);
}

static void test_texts(void **state)
{
    (void)state;
    enum { BYTES = 32 * 32 * 3 };
    static uint8_t pixels[2 * BYTES], again[BYTES];
    char hash[ECD_SHA256_TEXT];
    told t = {0};
    const ecdit_picture pictures[] = {{prompt, 0, 0}, {"it's", 0, 3}};
    ecdit_model *model = open_model(texts, ECDIT_BACKEND_REF, 2);
    ecdit_job job = job_of(pictures, 2);
    job.width = job.height = 32;
    job.progress = on_progress;
    job.notice = on_notice;
    job.user = &t;
    assert_int_equal(info_of(model).held_bytes, 0);
    draws(model, &job, pixels, 2 * BYTES);
    ecd_sha256(pixels, BYTES, hash);
    assert_string_equal(hash, text_hash);
    assert_true(t.text > 4 && !t.notices && t.done == 2);
    assert_true(info_of(model).held_bytes > 0 && info_of(model).kind == ECDIT_KIND_TEXTS);
    assert_int_equal(info_of(model).size_step, 4);

    t = (told){0}; // its text is known: no encoder is run
    job.pictures = pictures + 1;
    job.count = 1;
    draws(model, &job, again, BYTES);
    assert_memory_equal(again, pixels + BYTES, BYTES);
    assert_true(!t.text && t.done == 1);

    char longer[1024]; // than 48 tokens
    snprintf(longer, sizeof longer, "%s %s %s %s %s %s", prompt, prompt, prompt, prompt, prompt, prompt);
    const ecdit_picture cut = {longer, 0, 0}, none = {NULL, 0, 0}, bad = {"\xff", 0, 0};
    ecdit_error error;
    job.pictures = &cut;
    draws(model, &job, again, BYTES);
    assert_true(t.text && t.notices && strstr(t.last, "the prompt is cut at byte"));
    job.pictures = &none;
    fails(ecdit_draw(model, &job, again, BYTES, &error), &error, ECDIT_ERR_USAGE, "has none");
    job.pictures = &bad;
    fails(ecdit_draw(model, &job, again, BYTES, &error), &error, ECDIT_ERR_USAGE, "UTF-8");
    job.pictures = pictures;
    draws(model, &job, again, BYTES);
    assert_memory_equal(again, pixels, BYTES);
    ecdit_close(model);
}

// Weights of another program, the rest of a folder.
static void test_single_file(void **state)
{
    (void)state;
    enum { BYTES = 24 * 32 * 3 };
    static const char *const file = ECD_TEST_DATA "/models/flux_single/transformer_only_fp8.safetensors";
    uint8_t pixels[BYTES], folders[BYTES];
    const ecdit_picture picture = {"a cat", 0, 1};
    ecdit_options options = ECDIT_OPTIONS_INIT;
    ecdit_model *model = NULL;
    ecdit_error error;
    ecdit_job job = job_of(&picture, 1);
    job.width = 24;
    job.height = 32;
    fails(ecdit_open(file, &options, &model, &error), &error, ECDIT_ERR_USAGE, "transformer_only_fp8");
    options.config = texts;
    fails(ecdit_open(classes, &options, &model, &error), &error, ECDIT_ERR_USAGE, "dit_a");
    assert_int_equal(ecdit_open(file, &options, &model, &error), ECDIT_OK);
    assert_true(info_of(model).raw_bytes < 2 * info_of(model).parameters); // FP8, mostly
    draws(model, &job, pixels, BYTES);
    ecdit_close(model);
    model = open_model(texts, ECDIT_BACKEND_CPU, 2);
    draws(model, &job, folders, BYTES);
    assert_memory_not_equal(pixels, folders, BYTES);
    ecdit_close(model);
}

// Jobs that the open pipeline does not serve: one without guidance, one that begins from a picture.
static void test_other_jobs(void **state)
{
    (void)state;
    uint8_t first[2 * PICTURE], pixels[PICTURE], other[PICTURE], init[24 * 20 * 3];
    ecdit_error error;
    ecdit_model *model = open_model(classes, ECDIT_BACKEND_CPU, 2);
    ecdit_job job = job_of(golden, 2);
    draws(model, &job, first, 2 * PICTURE);
    job.count = 1;
    job.guidance = 0;
    draws(model, &job, pixels, PICTURE);
    assert_memory_not_equal(pixels, first, PICTURE);
    for (size_t i = 0; i < sizeof init; i++)
        init[i] = (uint8_t)(i * 7);
    job = job_of(golden, 1);
    job.init = init;
    job.init_width = 24;
    job.init_height = 20;
    fails(ecdit_draw(model, &job, pixels, PICTURE, &error), &error, ECDIT_ERR_USAGE, "strength");
    job.strength = 0.1;
    fails(ecdit_draw(model, &job, pixels, PICTURE, &error), &error, ECDIT_ERR_USAGE, "leaves none");
    job.strength = 0.6;
    draws(model, &job, pixels, PICTURE);
    assert_memory_not_equal(pixels, first, PICTURE);
    job.init_fit = ECDIT_FIT_CROP;
    draws(model, &job, other, PICTURE);
    assert_memory_not_equal(pixels, other, PICTURE);
    job = job_of(golden, 1);
    draws(model, &job, pixels, PICTURE);
    assert_memory_equal(pixels, first, PICTURE);
    ecdit_close(model);
}

static void test_usage(void **state)
{
    (void)state;
    uint8_t pixels[PICTURE];
    ecdit_error error;
    ecdit_model *model = NULL;
    ecdit_options options = ECDIT_OPTIONS_INIT;
    fails(ecdit_open("nowhere", NULL, &model, &error), &error, ECDIT_ERR_USAGE, "nowhere");
    fails(ecdit_open(NULL, NULL, &model, &error), &error, ECDIT_ERR_USAGE, "NULL");
    fails(ecdit_open(ECD_TEST_DATA "/bad", NULL, &model, &error), &error, ECDIT_ERR_USAGE, "model_index.json");
    options.vae_tile = 8;
    fails(ecdit_open(classes, &options, &model, &error), &error, ECDIT_ERR_USAGE, "vae_tile");
    options.vae_tile = 0;
    options.weights = (ecdit_weights)9;
    fails(ecdit_open(classes, &options, &model, &error), &error, ECDIT_ERR_USAGE, "weights 9");
    options.weights = ECDIT_WEIGHTS_AUTO;
    options.memory_budget_bytes = 1000;
    fails(ecdit_open(classes, &options, &model, &error), &error, ECDIT_ERR_RESOURCE, "budget");
    assert_null(model);
    assert_int_equal(ecdit_open("nowhere", NULL, &model, NULL), ECDIT_ERR_USAGE);

    model = open_model(classes, ECDIT_BACKEND_CPU, 1);
    ecdit_picture picture = {"owl", 0, 0};
    ecdit_job job = job_of(&picture, 1);
    fails(ecdit_draw(model, &job, pixels, PICTURE, &error), &error, ECDIT_ERR_USAGE, "great grey owl");
    picture = (ecdit_picture){NULL, 1000, 0};
    fails(ecdit_draw(model, &job, pixels, PICTURE, &error), &error, ECDIT_ERR_USAGE, "0 to 999");
    picture.class_id = 2;
    fails(ecdit_draw(model, &job, pixels, PICTURE - 1, &error), &error, ECDIT_ERR_USAGE, "expected 768");
    fails(ecdit_draw(model, &job, NULL, PICTURE, &error), &error, ECDIT_ERR_USAGE, "expected 768");
    fails(ecdit_draw(model, NULL, pixels, PICTURE, &error), &error, ECDIT_ERR_USAGE, "NULL");
    fails(ecdit_draw(NULL, &job, pixels, PICTURE, &error), &error, ECDIT_ERR_USAGE, "NULL");
    job.sampler = "heun";
    fails(ecdit_draw(model, &job, pixels, PICTURE, &error), &error, ECDIT_ERR_USAGE, "heun");
    job = job_of(&picture, 1);
    job.steps = -1;
    fails(ecdit_draw(model, &job, pixels, PICTURE, &error), &error, ECDIT_ERR_USAGE, "steps");
    job = job_of(&picture, 1);
    job.guidance = (double)NAN;
    fails(ecdit_draw(model, &job, pixels, PICTURE, &error), &error, ECDIT_ERR_USAGE, "guidance");
    job = job_of(&picture, 1);
    job.width = 24;
    fails(ecdit_draw(model, &job, pixels, PICTURE * 2, &error), &error, ECDIT_ERR_USAGE, "24x16");
    job.width = -1;
    assert_int_equal(ecdit_job_bytes(model, &job), 0);
    job = job_of(&picture, 0);
    assert_int_equal(ecdit_job_bytes(model, &job), 0);
    job = job_of(&picture, SIZE_MAX / 100);
    assert_int_equal(ecdit_job_bytes(model, &job), 0);

    fails(ecdit_write_picture("x.gif", pixels, SIDE, SIDE, &error), &error, ECDIT_ERR_USAGE, ".gif");
    fails(ecdit_write_picture("x.png", pixels, 0, SIDE, &error), &error, ECDIT_ERR_USAGE, "0 x 16");
    fails(ecdit_write_picture("nowhere/x.png", pixels, SIDE, SIDE, &error), &error, ECDIT_ERR_USAGE, "nowhere/x.png");
    assert_string_equal(ecdit_status_name((ecdit_status)77), "unknown");
    ecdit_close(model);
    ecdit_close(NULL);
    ecdit_cancel(NULL);
}

// A program built with a later header may know more fields, which must be 0; one without a size has none.
static void test_versions(void **state)
{
    (void)state;
    struct {
        ecdit_job job;
        uint64_t later;
    } wide = {.job = job_of(golden, 1)};
    uint8_t pixels[PICTURE];
    ecdit_error error;
    ecdit_model *model = open_model(classes, ECDIT_BACKEND_CPU, 1);
    wide.job.struct_bytes = sizeof wide;
    draws(model, &wide.job, pixels, PICTURE);
    wide.later = 1;
    fails(ecdit_draw(model, &wide.job, pixels, PICTURE, &error), &error, ECDIT_ERR_USAGE, "does not know");
    wide.job.struct_bytes = 0;
    fails(ecdit_draw(model, &wide.job, pixels, PICTURE, &error), &error, ECDIT_ERR_USAGE, "struct_bytes is 0");
    ecdit_info info = {.struct_bytes = 1};
    fails(ecdit_get_info(model, &info, &error), &error, ECDIT_ERR_USAGE, "ecdit_info");
    ecdit_close(model);
    assert_int_equal(ecdit_version(), ECDIT_VERSION);
}

static void test_cancel(void **state)
{
    (void)state;
    uint8_t pixels[2 * PICTURE], first[2 * PICTURE];
    ecdit_error error;
    ecdit_model *model = open_model(classes, ECDIT_BACKEND_CPU, 2);
    ecdit_job job = job_of(golden, 2);
    draws(model, &job, first, sizeof first);
    for (int by_call = 0; by_call < 2; by_call++) {
        told t = {.model = model, .stop_after = 2, .by_call = by_call != 0};
        job.progress = on_progress;
        job.user = &t;
        fails(ecdit_draw(model, &job, pixels, sizeof pixels, &error), &error, ECDIT_ERR_CANCELLED, "");
        assert_int_equal(t.calls, 3); // with none done, one, two
        job.progress = NULL;
        draws(model, &job, pixels, sizeof pixels);
        assert_memory_equal(pixels, first, sizeof first);
    }
    ecdit_close(model);
}

typedef struct worker {
    ecdit_model *model;
    const char *path;
    int steps;
    uint8_t pixels[2 * PICTURE];
    ecdit_error error;
    int ended;
} worker;

static void *work(void *user)
{
    worker *w = user;
    ecdit_options options = ECDIT_OPTIONS_INIT;
    ecdit_model *own = NULL;
    options.threads = 2;
    options.compute = ECDIT_COMPUTE_F32;
    options.backend = ECDIT_BACKEND_CPU;
    if (!w->model && ecdit_open(w->path, &options, &own, &w->error))
        return NULL;
    ecdit_job job = job_of(golden, 2);
    job.steps = w->steps;
    ecdit_draw(w->model ? w->model : own, &job, w->pixels, sizeof w->pixels, &w->error);
    ecdit_close(own);
    __atomic_store_n(&w->ended, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void test_cancel_from_outside(void **state)
{
    (void)state;
    pthread_t thread;
    worker w = {.model = open_model(classes, ECDIT_BACKEND_CPU, 2), .steps = 1000};
    assert_int_equal(pthread_create(&thread, NULL, work, &w), 0);
    while (!__atomic_load_n(&w.ended, __ATOMIC_ACQUIRE)) { // it may not have begun yet
        ecdit_cancel(w.model);
        usleep(1000);
    }
    pthread_join(thread, NULL);
    fails(w.error.status, &w.error, ECDIT_ERR_CANCELLED, "");
    ecdit_close(w.model);
}

static void test_two_models(void **state)
{
    (void)state;
    enum { MODELS = 2 };
    static const char *const paths[MODELS] = {ECD_TEST_DATA "/models/dit_a", ECD_TEST_DATA "/models/dit_a_fp8_channel"};
    pthread_t threads[MODELS];
    worker alone[MODELS], together[MODELS];
    for (int i = 0; i < MODELS; i++) {
        alone[i] = together[i] = (worker){.path = paths[i], .steps = 8};
        work(&alone[i]);
        assert_int_equal(alone[i].error.status, ECDIT_OK);
    }
    for (int i = 0; i < MODELS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &together[i]), 0);
    for (int i = 0; i < MODELS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(together[i].error.status, ECDIT_OK);
        assert_memory_equal(together[i].pixels, alone[i].pixels, sizeof alone[i].pixels);
    }
}

// What is on record of a compressed folder: coded as it was, or rounded first.
static void test_lossless(void **state)
{
    (void)state;
    static const char *const copies[] = {"test_ecdit_coded", "test_ecdit_rounded"};
    ecdit_model *model = open_model(classes, ECDIT_BACKEND_CPU, 1);
    ecdit_info plain = info_of(model);
    assert_true(!plain.compressed && plain.lossless);
    ecdit_close(model);
    for (int rounded = 0; rounded < 2; rounded++) {
        ecd_compress_options options = {.quantize_e4m3 = rounded != 0, .threads = 1};
        ecd_work_report report;
        ecd_diag diag = {0};
        ecd_folder_remove(copies[rounded]);
        const char *source = rounded ? classes : ECD_TEST_DATA "/models/dit_a_fp8_channel";
        expect_ok(ecd_compress(source, copies[rounded], &options, &report, &diag), &diag);
        model = open_model(copies[rounded], ECDIT_BACKEND_CPU, 1);
        ecdit_info info = info_of(model);
        assert_int_equal(info.compressed, 1);
        assert_int_equal(info.lossless, !rounded);
        assert_int_equal(info.parameters, plain.parameters);
        assert_true(info.file_bytes < info.raw_bytes);
        ecdit_close(model);
        ecd_folder_remove(copies[rounded]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_single_file),
        cmocka_unit_test(test_other_jobs),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_from_outside),
        cmocka_unit_test(test_two_models),
        cmocka_unit_test(test_lossless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
