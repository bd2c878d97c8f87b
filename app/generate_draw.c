// All pictures, those of one size by one pipeline, those of the same steps and guidance in batches, which share each
// decoding of the weights.
#include "app/generate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/common.h"
#include "base/process.h"
#include "lib/budget.h"
#include "lib/model_defaults.h"

uint64_t ecd_generate_budget(const ecd_generate *g)
{
    uint64_t budget = g->settings.memory_budget;
    return budget ? budget : ecd_default_budget(g->backend) / (uint64_t)g->ranks.here;
}

ecd_status ecd_generate_fail_picture(ecd_generate *g, size_t index, ecd_status status, const ecd_diag *diag)
{
    ecd_picture *picture = &g->pictures[index];
    char line[2 * ECD_DIAG_TEXT + 2 * ECD_DIAG_NAME];
    if (!picture->line || status == ECD_INTERRUPTED)
        return status;
    picture->state = ECD_PICTURE_FAILED;
    g->first_failure = g->first_failure ? g->first_failure : status;
    bool again = index && g->pictures[index - 1].line == picture->line && g->pictures[index - 1].state == ECD_PICTURE_FAILED;
    if (again && !diag->file[0])
        return ECD_OK; // what is wrong with the line was told with its first; a file is each picture's own
    ecd_diag_format(diag, line, sizeof line);
    ecd_generate_clear_progress(g);
    fprintf(stderr, "ecdit: %s: line %zu: %s\n", g->settings.prompts, picture->line, line);
    return ECD_OK;
}

// What the sheet of --grid will take, and the picture of --init.
static uint64_t outside_bytes(const ecd_generate *g)
{
    const ecd_settings *s = &g->settings;
    uint64_t side = (uint64_t)ecd_model_own_side(&g->folder, &g->info);
    uint64_t width = s->size.width ? (uint64_t)s->size.width : side;
    uint64_t height = s->size.height ? (uint64_t)s->size.height : side;
    uint64_t init = ecd_generate_init_bytes(g, width, height);
    return init + (s->grid ? (uint64_t)g->count * width * height * 3 : 0);
}

// For g->batch pictures at once, or fewer.
static ecd_status open_pipeline(ecd_generate *g, ecd_option_size size, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    char *rates = ecd_rates_file();
    bool guided = false;
    for (size_t i = 0; i < g->count; i++)
        guided = guided || (g->pictures[i].state == ECD_PICTURE_PLANNED && g->pictures[i].guidance > 1);
    const ecd_pipeline_options options = {
        .model = g->model_path,
        .config = s->config,
        .backend = g->backend,
        .store = {.mode = (ecd_weights_mode)s->weights,
                  .read_ahead = true,
                  .budget_bytes = ecd_generate_budget(g),
                  .outside_bytes = outside_bytes(g),
                  .rates_file = rates},
        .max_pictures = g->batch,
        .height = size.height,
        .width = size.width,
        .text_tokens = g->texts ? ecd_texts_tokens(g->texts) : 0,
        .guidance = guided,
        .init = s->init != NULL,
        .vae_tile = s->vae_tile,
    };
    ecd_status status = ecd_batch_open(&options, g->texts, &g->info, &g->batch, &g->pipeline, diag);
    free(rates);
    return status;
}

// The peak is the texts' or the pictures', whichever is higher.
void ecd_generate_report(const ecd_generate *g, ecd_pipeline_report *out)
{
    ecd_pipeline_report_get(g->pipeline, out);
    if (out->store.planned && !out->store.device && out->store.planned_bytes < g->text_peak_bytes)
        out->store.planned_bytes = g->text_peak_bytes;
}

// The last report stays, its times added to those before.
static void close_pipeline(ecd_generate *g)
{
    ecd_pipeline_report r;
    const ecd_pipeline_report *before = &g->report;
    if (!g->pipeline)
        return;
    ecd_generate_report(g, &r);
    r.open_ns += before->open_ns;
    r.denoise_ns += before->denoise_ns;
    r.vae_ns += before->vae_ns;
    r.store.decode_ns += before->store.decode_ns;
    r.store.exposed_ns += before->store.exposed_ns;
    r.store.read_ns += before->store.read_ns;
    r.store.read_bytes += before->store.read_bytes;
    r.store.sent_bytes += before->store.sent_bytes;
    g->report = r;
    ecd_pipeline_close(g->pipeline);
    g->pipeline = NULL;
}

static bool same_size(const ecd_generate *g, ecd_option_size size)
{
    return (size.width == g->asked.width && size.height == g->asked.height) ||
           (size.width == g->width && size.height == g->height);
}

static bool is_wanted(const ecd_generate *g, size_t index, ecd_option_size size)
{
    const ecd_picture *picture = &g->pictures[index];
    bool same = picture->size.width == size.width && picture->size.height == size.height;
    return picture->state == ECD_PICTURE_PLANNED && (same || (g->pipeline && same_size(g, picture->size)));
}

// For pictures of a size, as many at once as the budget takes.
static ecd_status open_size(ecd_generate *g, ecd_option_size size, ecd_diag *diag)
{
    int64_t count = 0;
    ecd_status status;
    close_pipeline(g);
    for (size_t i = 0; i < g->count; i++)
        count += is_wanted(g, i, size);
    g->batch = count < ECD_GENERATE_BATCH ? count : ECD_GENERATE_BATCH;
    status = open_pipeline(g, size, diag);
    if (!status)
        ecd_generate_tell_plan(g);
    if (!status)
        status = ecd_interrupt_check(diag);
    if (status)
        return status;
    g->asked = size;
    ecd_pipeline_size(g->pipeline, &g->height, &g->width);
    if (g->settings.init && (status = ecd_generate_fit_init(g, diag)))
        return status;
    return g->settings.grid ? ecd_sheet_new((int64_t)g->count, g->width, g->height, &g->sheet, diag) : ECD_OK;
}

// The next pictures of the size that can be drawn together; none when there is none left.
static void gather(ecd_generate *g, ecd_option_size size)
{
    const ecd_picture *first = NULL;
    g->batch_size = 0;
    for (size_t i = 0; i < g->count && g->batch_size < (size_t)g->batch; i++) {
        const ecd_picture *picture = &g->pictures[i];
        if (!is_wanted(g, i, size) || (first && (picture->steps != first->steps || picture->guidance != first->guidance)))
            continue;
        first = first ? first : picture;
        g->batch_pictures[g->batch_size++] = i;
    }
}

static ecd_status draw_batch(ecd_generate *g, ecd_diag *diag)
{
    ecd_picture_request requests[ECD_GENERATE_BATCH];
    size_t texts[ECD_GENERATE_BATCH];
    const ecd_picture *first = &g->pictures[g->batch_pictures[0]];
    for (size_t i = 0; i < g->batch_size; i++) {
        requests[i] = g->pictures[g->batch_pictures[i]].request;
        texts[i] = g->pictures[g->batch_pictures[i]].text;
    }
    const ecd_draw draw = {
        .pictures = requests,
        .count = (int64_t)g->batch_size,
        .steps = (int)first->steps,
        .guidance = (float)first->guidance,
        .sampler = ecd_generate_sampler(g->settings.sampler),
        .init = g->fitted.pixels,
        .strength = g->settings.strength,
        .cancel = ecd_interrupt_flag(),
        .progress = ecd_generate_progress,
        .sink = ecd_generate_sink,
        .user = g,
    };
    return ecd_batch_draw(g->pipeline, &draw, g->texts, texts, diag);
}

// What fails for pictures of a list fails for all of them alike; without a list it ends the run.
static ecd_status fail_batch(ecd_generate *g, ecd_status status, ecd_diag *diag)
{
    const ecd_diag fault = *diag;
    for (size_t i = 0; i < g->batch_size; i++) {
        size_t index = g->batch_pictures[i];
        if (g->pictures[index].state == ECD_PICTURE_PLANNED)
            status = ecd_generate_fail_picture(g, index, status, &fault);
    }
    return status;
}

// The batches of a size. A size that cannot be drawn fails for all its pictures.
static ecd_status draw_size(ecd_generate *g, ecd_option_size size, ecd_diag *diag)
{
    ecd_status status = open_size(g, size, diag);
    for (;;) {
        ecd_status opened = status;
        if (opened)
            g->batch = ECD_GENERATE_BATCH;
        gather(g, size);
        if (!g->batch_size)
            return ECD_OK;
        if (!opened)
            status = draw_batch(g, diag);
        if (status && fail_batch(g, status, diag))
            return status;
        status = opened;
    }
}

ecd_status ecd_generate_draw(ecd_generate *g, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    g->draw_start_ns = ecd_now_ns();
    for (size_t i = 0; i < g->count; i++)
        g->to_draw += g->pictures[i].state == ECD_PICTURE_PLANNED;
    for (size_t i = 0; !status && i < g->count; i++)
        if (g->pictures[i].state == ECD_PICTURE_PLANNED)
            status = draw_size(g, g->pictures[i].size, diag);
    if (!status && g->settings.grid)
        status = ecd_generate_write_sheet(g, diag);
    close_pipeline(g);
    ecd_generate_clear_progress(g);
    return status;
}
