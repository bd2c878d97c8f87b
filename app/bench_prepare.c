// All that can be known to be wrong before a measurement.
#include "app/bench.h"
#include "lib/model_defaults.h"

#include <stdlib.h>
#include <unistd.h>

ecd_status ecd_bench_prepare(ecd_bench *b, ecd_diag *diag)
{
    ecd_bench_settings *s = &b->settings;
    ecd_model_folder folder = {0};
    ecd_transformer_info info;
    int64_t steps;
    ecd_status status = ecd_bench_make_points(b, diag);
    if (!status)
        status = ecd_bench_find_folders(b, diag);
    if (!status)
        status = ecd_model_folder_open(b->model_path, &folder, diag);
    if (!status)
        status = ecd_transformer_describe(folder.transformer_class, folder.transformer, &info, diag);
    if (!status)
        status = ecd_model_defaults(&folder, &info, &steps, &b->guidance, diag);
    if (!status) {
        b->classes = info.num_classes;
        s->steps = s->steps ? s->steps : steps;
    }
    if (!status && info.text_width && s->runs)
        status = ecd_bench_make_text(b, &folder, &info, diag);
    ecd_model_folder_close(&folder);
    return status;
}

void ecd_bench_free(ecd_bench *b)
{
    free(b->command);
    free(b->samples);
    free(b->points);
    for (int path = 0; path < ECD_BENCH_PATHS; path++)
        free(b->folders[path]);
    if (b->texts_file)
        unlink(b->texts_file);
    free(b->texts_file);
    free(b->model_path);
    free(b->model_name);
}
