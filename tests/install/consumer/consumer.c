// consumer CLASSES CAT OWL [TEXTS]: draws two pictures of a model of classes into files of RGB bytes. With TEXTS, a
// model that draws prompts, it also tries that, what may go wrong, a cancelled job, and two models in two threads.
#include <ecdit.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PICTURES = 2, STEPS = 2 };

static ecdit_error error;

static void check(int holds, const char *what)
{
    if (holds)
        return;
    printf("consumer: %s: %s: %s\n", what, ecdit_status_name(error.status), error.message);
    exit(1);
}

static ecdit_job two_pictures(void)
{
    static const ecdit_picture pictures[PICTURES] = {{"cat", 0, 7}, {"Owl", 0, 7}};
    ecdit_job job = ECDIT_JOB_INIT;
    job.pictures = pictures;
    job.count = PICTURES;
    job.steps = STEPS;
    return job;
}

static void fails(ecdit_status got, ecdit_status wanted, const char *part)
{
    check(got == wanted && error.status == wanted && strstr(error.message, part), part);
}

static void try_errors(const char *classes)
{
    ecdit_model *model = NULL;
    ecdit_options options = ECDIT_OPTIONS_INIT;
    fails(ecdit_open("no/such/model", NULL, &model, &error), ECDIT_ERR_USAGE, "no/such/model");
    check(!model, "a model that is not there");
    options.memory_budget_bytes = 1 << 20;
    fails(ecdit_open(classes, &options, &model, &error), ECDIT_ERR_RESOURCE, "budget");
    options.struct_bytes = 0;
    fails(ecdit_open(classes, &options, &model, &error), ECDIT_ERR_USAGE, "struct_bytes");
}

static int cancel(void *user, const ecdit_progress *progress)
{
    ++*(int *)user;
    return progress->phase == ECDIT_PHASE_STEPS && progress->done == 1;
}

static void try_jobs(ecdit_model *model, uint8_t *pixels, size_t bytes)
{
    ecdit_job job = two_pictures();
    const ecdit_picture unknown = {"owk", 0, 0};
    int calls = 0;
    job.pictures = &unknown;
    job.count = 1;
    fails(ecdit_draw(model, &job, pixels, bytes, &error), ECDIT_ERR_USAGE, "\"owl\"");
    job = two_pictures();
    fails(ecdit_draw(model, &job, pixels, bytes - 1, &error), ECDIT_ERR_USAGE, "room for");
    job.width = job.height = 100;
    fails(ecdit_draw(model, &job, pixels, bytes, &error), ECDIT_ERR_USAGE, "100x100");
    job = two_pictures();
    job.progress = cancel;
    job.user = &calls;
    fails(ecdit_draw(model, &job, pixels, bytes, &error), ECDIT_ERR_CANCELLED, "");
    check(calls == 2, "a job cancelled after its first step of two");
}

// The first `count` of the pictures.
static void draw_classes(const char *path, uint8_t *pixels, size_t bytes, size_t count, int threads, int check_more)
{
    ecdit_model *model = NULL;
    ecdit_info info = ECDIT_INFO_INIT;
    ecdit_options options = ECDIT_OPTIONS_INIT;
    ecdit_error own;
    ecdit_job job = two_pictures();
    options.threads = threads;
    job.count = count;
    int done = !ecdit_open(path, &options, &model, &own) && ecdit_job_bytes(model, &job) == bytes;
    if (done && check_more) {
        check(!ecdit_get_info(model, &info, &error), "a model's description");
        check(info.kind == ECDIT_KIND_CLASSES && info.class_count == 1000 && info.width == 128 && info.steps == 20 &&
                  info.parameters > 16000000 && info.held_bytes > 0 && info.compressed && !info.lossless,
              "the emoji model");
        check(!strcmp(ecdit_class_name(model, 55), "cat") && !ecdit_class_name(model, 999), "names of classes");
        try_jobs(model, pixels, bytes);
    }
    done = done && !ecdit_draw(model, &job, pixels, bytes, &own);
    ecdit_close(model);
    if (!done)
        error = own;
    check(done, path);
}

typedef struct worker {
    const char *path;
    uint8_t *pixels;
    size_t bytes;
} worker;

static void *work(void *user)
{
    const worker *w = (const worker *)user;
    draw_classes(w->path, w->pixels, w->bytes, 1, 1, 0);
    return NULL;
}

// Two models at once draw what one draws alone.
static void try_threads(const char *path, const uint8_t *alone, size_t bytes)
{
    pthread_t threads[2];
    worker workers[2];
    for (int i = 0; i < 2; i++) {
        workers[i] = (worker){path, (uint8_t *)malloc(bytes), bytes};
        check(workers[i].pixels && !pthread_create(&threads[i], NULL, work, &workers[i]), "a thread");
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        check(!memcmp(workers[i].pixels, alone, bytes), "the same pictures in two threads");
        free(workers[i].pixels);
    }
}

static void draw_text(const char *path)
{
    static uint8_t pixels[24 * 48 * 3];
    ecdit_model *model = NULL;
    const ecdit_picture picture = {"a photo of a cat", 0, 5};
    ecdit_job job = ECDIT_JOB_INIT;
    job.pictures = &picture;
    job.count = 1;
    job.width = 24;
    job.height = 48;
    job.steps = 2;
    check(!ecdit_open(path, NULL, &model, &error), path);
    check(!ecdit_draw(model, &job, pixels, sizeof pixels, &error), "a prompt");
    int64_t id;
    fails(ecdit_class_find(model, "cat", &id, &error), ECDIT_ERR_USAGE, "draws texts");
    ecdit_close(model);
}

static void write_bytes(const char *path, const uint8_t *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    check(file && fwrite(bytes, 1, count, file) == count && !fclose(file), path);
}

int main(int argc, char **argv)
{
    static uint8_t pixels[PICTURES * 128 * 128 * 3];
    check((argc == 4 || argc == 5) && ecdit_version() == ECDIT_VERSION, "arguments, or the version");
    if (argc == 5)
        try_errors(argv[1]);
    draw_classes(argv[1], pixels, sizeof pixels, PICTURES, 0, argc == 5);
    if (argc == 5) {
        try_threads(argv[1], pixels, sizeof pixels / PICTURES);
        draw_text(argv[4]);
    }
    for (int i = 0; i < PICTURES; i++)
        write_bytes(argv[2 + i], pixels + i * sizeof pixels / PICTURES, sizeof pixels / PICTURES);
    return 0;
}
