// ecdit bench-run: one measurement of bench, in a process of its own.
//
//   bench-run MODEL --weights ecf8|raw --batch N --steps N [--backend NAME] [--compute TYPE] [--threads N]
//             [--memory-budget BYTES] [--size WxH] [--text FILE]
//
// Standard output gets one line of JSON: the figures, or the diagnosis. The parent prints it, so nothing goes to
// standard error.
#include "app/bench.h"
#include "app/common.h"
#include "app/generate.h"
#include "app/open_backend.h"
#include "base/process.h"
#include "lib/budget.h"
#include "lib/image.h"
#include "lib/model_defaults.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct bench_run {
    const char *model, *text; // text: of models of texts, a file
    ecd_option_size size;
    int weights, backend_name, compute;
    int64_t batch, steps, threads;
    uint64_t memory_budget, least_bytes; // least_bytes: of a budget, where the one given is too small
    ecd_model_folder folder;
    ecd_transformer_info info;
    float *text_values; // owned; NULL for models of classes
    ecd_backend *backend;
    ecd_pipeline *pipeline;
    ecd_pipeline_report opened, drawn; // after opening, after drawing
    uint64_t base_bytes;               // resident before opening
    char *rates_file;                  // owned; may be NULL
    int64_t done_steps;
    char hashes[ECD_BENCH_MAX_BATCH][ECD_SHA256_TEXT];
} bench_run;

static ecd_status parse(int argc, char **argv, bench_run *r, ecd_diag *diag)
{
    const ecd_option options[] = {
        {"weights", 0, ECD_OPTION_CHOICE, &r->weights, NULL, 0, 0, ecd_weights_names},
        {"batch", 0, ECD_OPTION_INT, &r->batch, NULL, 1, ECD_BENCH_MAX_BATCH, NULL},
        {"steps", 0, ECD_OPTION_INT, &r->steps, NULL, 1, 1000, NULL},
        {"backend", 0, ECD_OPTION_CHOICE, &r->backend_name, NULL, 0, 0, ecd_backend_names},
        {"compute", 0, ECD_OPTION_CHOICE, &r->compute, NULL, 0, 0, ecd_compute_names},
        {"threads", 0, ECD_OPTION_INT, &r->threads, NULL, 1, 1024, NULL},
        {"memory-budget", 0, ECD_OPTION_BYTES, &r->memory_budget, NULL, 1, 0, NULL},
        {"size", 0, ECD_OPTION_SIZE, &r->size, NULL, 1, ECD_IMAGE_MAX_SIDE, NULL},
        {"text", 0, ECD_OPTION_TEXT, &r->text, NULL, 0, 0, NULL},
    };
    int first;
    ecd_status status = ecd_options_parse(argc, argv, options, sizeof options / sizeof *options, &first, diag);
    if (status)
        return status;
    if (argc - first != 1)
        return ecd_fail(diag, ECD_USAGE, "bench-run: expected one MODEL");
    r->model = argv[first];
    return ECD_OK;
}

static ecd_status take_hash(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width,
                            ecd_diag *diag)
{
    bench_run *r = user;
    ecd_sha256(rgb, (size_t)(height * width * 3), r->hashes[index]);
    return ecd_interrupt_check(diag);
}

static ecd_status open_pipeline(bench_run *r, double guidance, ecd_diag *diag)
{
    ecd_status status = ecd_app_backend_open(r->backend_name, r->compute, (int)r->threads, &r->backend, diag);
    if (status)
        return status;
    r->base_bytes = ecd_peak_rss_bytes();
    r->rates_file = r->memory_budget ? ecd_rates_file() : NULL;
    const ecd_pipeline_options options = {
        .model = r->model,
        .backend = r->backend,
        .store = {.mode = (ecd_weights_mode)r->weights,
                  .read_ahead = true,
                  .budget_bytes = r->memory_budget,
                  .rates_file = r->rates_file,
                  .least_bytes = &r->least_bytes},
        .max_pictures = r->batch,
        .height = r->size.height,
        .width = r->size.width,
        .text_tokens = ecd_model_max_tokens(&r->info),
        .guidance = guidance > 1,
    };
    status = ecd_pipeline_open(&options, &r->pipeline, diag);
    return status ? status : ecd_interrupt_check(diag);
}

static ecd_status measure(bench_run *r, ecd_diag *diag)
{
    int64_t steps;
    double guidance;
    ecd_status status = ecd_model_folder_open(r->model, &r->folder, diag);
    if (!status)
        status = ecd_transformer_describe(r->folder.transformer_class, r->folder.transformer, &r->info, diag);
    if (!status)
        status = ecd_model_defaults(&r->folder, &r->info, &steps, &guidance, diag);
    if (!status && r->info.text_width)
        status = ecd_bench_take_text(r->text, &r->info, &r->text_values, diag);
    if (!status)
        status = open_pipeline(r, guidance, diag);
    if (status)
        return status;
    r->done_steps = r->steps ? r->steps : steps;
    ecd_picture_request requests[ECD_BENCH_MAX_BATCH];
    ecd_picture_text texts[ECD_BENCH_MAX_BATCH];
    const float *pooled = r->text_values + ecd_model_max_tokens(&r->info) * r->info.text_width;
    for (int64_t i = 0; i < r->batch; i++) {
        requests[i] = ecd_bench_request(i, r->info.num_classes);
        texts[i] = (ecd_picture_text){r->text_values, pooled};
    }
    const ecd_draw draw = {
        .pictures = requests,
        .texts = r->text_values ? texts : NULL,
        .count = r->batch,
        .steps = (int)r->done_steps,
        .guidance = (float)guidance,
        .cancel = ecd_interrupt_flag(),
        .sink = take_hash,
        .user = r,
    };
    ecd_pipeline_report_get(r->pipeline, &r->opened);
    status = ecd_pipeline_draw(r->pipeline, &draw, diag);
    ecd_pipeline_report_get(r->pipeline, &r->drawn);
    return status;
}

// What the kernel has fetched from block devices for this process; 0 where it does not tell.
static uint64_t disk_bytes(void)
{
    unsigned long long bytes = 0;
    char line[128];
    FILE *file = fopen("/proc/self/io", "re");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "read_bytes: %llu", &bytes) != 1)
        ;
    if (file)
        fclose(file);
    return bytes;
}

// As planned; without a budget the program itself and what the transformer holds, beside or before the VAE.
static uint64_t predicted_peak(const bench_run *r)
{
    const ecd_pipeline_report *d = &r->drawn;
    if (d->store.planned)
        return d->store.planned_bytes;
    uint64_t denoising = d->store.weights_bytes + d->store.buffer_bytes + d->activation_bytes;
    uint64_t decoding = d->vae_bytes + d->vae_weights_bytes;
    if (!d->vae_staged)
        return r->base_bytes + denoising + decoding;
    decoding += d->store.buffer_bytes + d->activation_bytes;
    return r->base_bytes + (denoising > decoding ? denoising : decoding);
}

static void take_figures(const bench_run *r, double out[ECD_BENCH_FIGURES])
{
    const ecd_pipeline_report *d = &r->drawn;
    double a_picture = 1e-9 / (double)r->batch;
    uint64_t decode_ns = d->store.decode_ns - r->opened.store.decode_ns;
    uint64_t exposed_ns = d->store.exposed_ns - r->opened.store.exposed_ns; // with waiting, so it may be the longer one
    out[ECD_BENCH_OPEN] = (double)d->open_ns * 1e-9;
    out[ECD_BENCH_DENOISE] = (double)d->denoise_ns * a_picture;
    out[ECD_BENCH_VAE] = (double)d->vae_ns * a_picture;
    out[ECD_BENCH_PICTURE] = out[ECD_BENCH_DENOISE] + out[ECD_BENCH_VAE];
    out[ECD_BENCH_STEP] = (double)d->denoise_ns * 1e-9 / (double)r->done_steps;
    out[ECD_BENCH_HOURLY] = out[ECD_BENCH_PICTURE] > 0 ? 3600 / out[ECD_BENCH_PICTURE] : 0;
    out[ECD_BENCH_DECODE_HIDDEN] = decode_ns > exposed_ns ? (double)(decode_ns - exposed_ns) * a_picture : 0;
    out[ECD_BENCH_DECODE_EXPOSED] = (double)exposed_ns * a_picture;
    out[ECD_BENCH_WEIGHTS] = (double)d->store.weights_bytes;
    out[ECD_BENCH_UNCOMPRESSED] = (double)d->store.raw_bytes;
    out[ECD_BENCH_BUFFERS] = (double)d->store.buffer_bytes;
    out[ECD_BENCH_ACTIVATIONS] = (double)d->activation_bytes;
    out[ECD_BENCH_VAE_WEIGHTS] = (double)d->vae_weights_bytes;
    out[ECD_BENCH_VAE_ACTIVATIONS] = (double)d->vae_bytes;
    out[ECD_BENCH_READ] = (double)disk_bytes();
    ecd_device_memory memory = {0};
    if (!r->backend->host_memory)
        r->backend->ops->device_memory(r->backend, &memory);
    out[ECD_BENCH_SENT] = (double)d->store.sent_bytes; // what stays decoded is sent at its first use
    out[ECD_BENCH_SENT_STEP] =
        d->store.device ? (double)(d->store.read_bytes - r->opened.store.read_bytes) / (double)r->done_steps : 0;
    out[ECD_BENCH_DEVICE] = (double)memory.peak;
    out[ECD_BENCH_PREDICTED] = (double)predicted_peak(r);
    out[ECD_BENCH_PEAK_RSS] = (double)ecd_peak_rss_bytes();
}

static bool add_result(const bench_run *r, cJSON *root)
{
    double values[ECD_BENCH_FIGURES];
    int64_t width, height;
    take_figures(r, values);
    ecd_pipeline_size(r->pipeline, &height, &width);
    char plan[ECD_BENCH_REASON];
    ecd_pipeline_plan_text(&r->drawn, plan, sizeof plan);
    bool ok = cJSON_AddStringToObject(root, "plan", plan) &&
              cJSON_AddStringToObject(root, "backend", r->backend->name) &&
              cJSON_AddStringToObject(root, "detail", r->backend->detail) &&
              cJSON_AddStringToObject(root, "compute", ecd_compute_names[r->backend->compute]) &&
              cJSON_AddNumberToObject(root, "threads", r->backend->threads) &&
              cJSON_AddNumberToObject(root, "width", (double)width) &&
              cJSON_AddNumberToObject(root, "height", (double)height);
    for (int i = 0; ok && i < ECD_BENCH_FIGURES; i++)
        ok = cJSON_AddNumberToObject(root, ecd_bench_figures[i].key, values[i]);
    cJSON *hashes = ok ? cJSON_AddArrayToObject(root, "sha256") : NULL;
    for (int64_t i = 0; hashes && i < r->batch; i++) {
        cJSON *item = cJSON_CreateString(r->hashes[i]);
        if (!item || !cJSON_AddItemToArray(hashes, item))
            return false;
    }
    return hashes != NULL;
}

static bool add_diagnosis(const bench_run *r, const ecd_diag *diag, cJSON *root)
{
    return cJSON_AddNumberToObject(root, "least_bytes", (double)r->least_bytes) &&
           cJSON_AddStringToObject(root, "what", diag->what) && cJSON_AddStringToObject(root, "file", diag->file) &&
           cJSON_AddStringToObject(root, "tensor", diag->tensor) &&
           (!diag->has_offset || cJSON_AddNumberToObject(root, "offset", (double)diag->offset_bytes));
}

static int reply(const bench_run *r, const ecd_diag *diag, ecd_status status)
{
    cJSON *root = cJSON_CreateObject();
    bool ok = root && cJSON_AddNumberToObject(root, "status", status) &&
              (status ? add_diagnosis(r, diag, root) : add_result(r, root));
    char *text = ok ? cJSON_PrintUnformatted(root) : NULL;
    cJSON_Delete(root);
    if (!text)
        return ECD_RESOURCE;
    puts(text);
    free(text);
    return fflush(stdout) ? (int)ECD_RESOURCE : (int)status;
}

int ecd_cmd_bench_run(int argc, char **argv)
{
    bench_run r = {.batch = 1};
    ecd_diag diag = {0};
    ecd_status status = parse(argc, argv, &r, &diag);
    if (!status)
        status = measure(&r, &diag);
    int code = reply(&r, &diag, status);
    ecd_pipeline_close(r.pipeline);
    ecd_backend_close(r.backend);
    ecd_model_folder_close(&r.folder);
    free(r.rates_file);
    free(r.text_values);
    return code;
}
