#include "app/bench.h"

#include <stdlib.h>

const char *const ecd_bench_path_names[ECD_BENCH_PATHS] = {"ecf8", "raw"};

const ecd_bench_figure_info ecd_bench_figures[ECD_BENCH_FIGURES] = {
    [ECD_BENCH_OPEN] = {"open_seconds", "open (once)", ECD_BENCH_SECONDS},
    [ECD_BENCH_DENOISE] = {"denoise_seconds", "denoise", ECD_BENCH_SECONDS},
    [ECD_BENCH_VAE] = {"vae_seconds", "vae", ECD_BENCH_SECONDS},
    [ECD_BENCH_PICTURE] = {"picture_seconds", "denoise and vae", ECD_BENCH_SECONDS},
    [ECD_BENCH_STEP] = {"step_seconds", "a step of the batch", ECD_BENCH_SECONDS},
    [ECD_BENCH_HOURLY] = {"pictures_per_hour", "pictures an hour", ECD_BENCH_RATE},
    [ECD_BENCH_DECODE_HIDDEN] = {"decode_hidden_seconds", "decode, hidden", ECD_BENCH_SECONDS},
    [ECD_BENCH_DECODE_EXPOSED] = {"decode_exposed_seconds", "decode, exposed", ECD_BENCH_SECONDS},
    [ECD_BENCH_WEIGHTS] = {"weights_bytes", "weights in memory", ECD_BENCH_BYTES},
    [ECD_BENCH_UNCOMPRESSED] = {"raw_bytes", "weights uncompressed", ECD_BENCH_BYTES},
    [ECD_BENCH_BUFFERS] = {"buffer_bytes", "decoded blocks", ECD_BENCH_BYTES},
    [ECD_BENCH_ACTIVATIONS] = {"activation_bytes", "activations", ECD_BENCH_BYTES},
    [ECD_BENCH_VAE_WEIGHTS] = {"vae_weights_bytes", "vae weights", ECD_BENCH_BYTES},
    [ECD_BENCH_VAE_ACTIVATIONS] = {"vae_bytes", "vae activations", ECD_BENCH_BYTES},
    [ECD_BENCH_READ] = {"read_bytes", "read from disk", ECD_BENCH_BYTES},
    [ECD_BENCH_SENT] = {"sent_bytes", "sent to stay", ECD_BENCH_BYTES},
    [ECD_BENCH_SENT_STEP] = {"sent_step_bytes", "sent a step", ECD_BENCH_BYTES},
    [ECD_BENCH_DEVICE] = {"device_peak_bytes", "peak on the device", ECD_BENCH_BYTES},
    [ECD_BENCH_PREDICTED] = {"predicted_peak_bytes", "peak, predicted", ECD_BENCH_BYTES},
    [ECD_BENCH_PEAK_RSS] = {"peak_rss_bytes", "peak resident", ECD_BENCH_BYTES},
};

ecd_picture_request ecd_bench_request(int64_t index, int64_t classes)
{
    return (ecd_picture_request){.class_id = classes ? index % classes : 0, .seed = (uint64_t)index};
}

ecd_bench_sample *ecd_bench_samples(const ecd_bench *b, int point, ecd_bench_path path)
{
    return b->samples + ((int64_t)point * ECD_BENCH_PATHS + (int64_t)path) * b->settings.runs;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

ecd_bench_summary ecd_bench_summarise(double *values, int64_t count)
{
    if (count < 1)
        return (ecd_bench_summary){.defined = false};
    qsort(values, (size_t)count, sizeof *values, compare);
    double low = values[(count - 1) / 2], high = values[count / 2];
    return (ecd_bench_summary){
        .median = low + (high - low) / 2, .min = values[0], .max = values[count - 1], .defined = true};
}

static double *allocate(const ecd_bench *b, ecd_diag *diag)
{
    size_t size = (size_t)b->settings.runs * sizeof(double);
    double *values = malloc(size);
    if (!values)
        ecd_fail_memory(diag, size, "a summary");
    return values;
}

ecd_status ecd_bench_figure_of(const ecd_bench *b, int point, ecd_bench_path path, ecd_bench_figure figure,
                               ecd_bench_summary *out, ecd_diag *diag)
{
    const ecd_bench_sample *samples = ecd_bench_samples(b, point, path);
    double *values = allocate(b, diag);
    if (!values)
        return ECD_RESOURCE;
    for (int64_t i = 0; i < b->settings.runs; i++)
        values[i] = samples[i].values[figure];
    *out = ecd_bench_summarise(values, b->settings.runs);
    free(values);
    return ECD_OK;
}

ecd_status ecd_bench_ratio_of(const ecd_bench *b, int point, ecd_bench_figure figure, ecd_bench_summary *out,
                              ecd_diag *diag)
{
    const ecd_bench_sample *ecf8 = ecd_bench_samples(b, point, ECD_BENCH_ECF8);
    const ecd_bench_sample *raw = ecd_bench_samples(b, point, ECD_BENCH_RAW);
    double *values = allocate(b, diag);
    int64_t count = 0;
    if (!values)
        return ECD_RESOURCE;
    while (count < b->settings.runs && raw[count].values[figure] > 0) {
        values[count] = ecf8[count].values[figure] / raw[count].values[figure];
        count++;
    }
    *out = ecd_bench_summarise(values, count == b->settings.runs ? count : 0);
    free(values);
    return ECD_OK;
}
