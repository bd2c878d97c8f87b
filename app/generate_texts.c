// The texts of a run: tokens first, with what is wrong or cut told; then the encoders.
#include "app/generate.h"

#include "app/common.h"
#include "base/process.h"
#include "lib/budget.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void tell_cut(const ecd_generate *g, const ecd_picture *picture, const ecd_texts_cut *cut)
{
    char text[256];
    for (int i = 0; i < ECD_TEXTS_PARTS; i++) {
        if (!ecd_texts_cut_text(cut, i, picture->prompt, text, sizeof text))
            continue;
        fputs("ecdit: ", stderr);
        if (picture->line)
            fprintf(stderr, "%s: line %zu: ", g->settings.prompts, picture->line);
        fprintf(stderr, "%s\n", text);
    }
}

ecd_status ecd_generate_plan_texts(ecd_generate *g, ecd_diag *diag)
{
    const ecd_settings *s = &g->settings;
    if (!g->info.text_width)
        return ECD_OK;
    if (s->max_tokens > ECD_TEXTS_MAX_TOKENS)
        return ecd_fail(diag, ECD_USAGE, "%s: its recipe is of %" PRId64 " tokens, expected at most %d", s->replay,
                        s->max_tokens, ECD_TEXTS_MAX_TOKENS);
    if (s->cache_text && mkdir(s->cache_text, 0777) && errno != EEXIST)
        return ecd_fail_errno(diag, s->cache_text, "create");
    ecd_status status = ecd_texts_open(&g->folder, &g->info, s->max_tokens, &g->texts, diag);
    for (size_t i = 0; !status && i < g->count; i++) {
        ecd_picture *picture = &g->pictures[i];
        ecd_texts_cut cut;
        ecd_diag fault = {0};
        if (picture->state != ECD_PICTURE_PLANNED)
            continue;
        if (i && g->pictures[i - 1].prompt == picture->prompt && g->pictures[i - 1].state == ECD_PICTURE_PLANNED) {
            picture->text = g->pictures[i - 1].text; // of the same line
            continue;
        }
        status = ecd_texts_add(g->texts, picture->prompt, &picture->text, &cut, &fault);
        if (!status)
            tell_cut(g, picture, &cut);
        else if ((status = ecd_generate_fail_picture(g, i, status, &fault)))
            ecd_fail(diag, status, "--prompt: %s", fault.what);
        if (!status)
            status = ecd_interrupt_check(diag);
    }
    return status;
}

static void show_reading(void *user, const char *encoder, int done, int blocks)
{
    ecd_generate *g = user;
    if (g->settings.quiet || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[Kreading text, %s: block %d of %d", encoder, done, blocks);
    fflush(stderr);
    g->progress_shown = true;
}

static void warn(void *user, const char *text)
{
    ecd_generate_clear_progress(user);
    fprintf(stderr, "ecdit: %s\n", text);
}

ecd_status ecd_generate_read_texts(ecd_generate *g, ecd_diag *diag)
{
    uint64_t start = ecd_now_ns();
    if (!g->texts)
        return ECD_OK;
    for (size_t i = 0; i < g->count; i++)
        if (g->pictures[i].state == ECD_PICTURE_PLANNED)
            ecd_texts_need(g->texts, g->pictures[i].text);
    char *rates = ecd_rates_file();
    const ecd_texts_reading reading = {
        .backend = g->backend,
        .budget_bytes = ecd_generate_budget(g),
        .rates_file = rates,
        .cache = g->settings.cache_text,
        .cancel = ecd_interrupt_flag(),
        .progress = show_reading,
        .warn = warn,
        .user = g,
    };
    ecd_status status = ecd_texts_read(g->texts, &reading, diag);
    free(rates);
    ecd_generate_clear_progress(g);
    g->text_ns = ecd_now_ns() - start;
    g->text_peak_bytes = ecd_peak_rss_bytes();
    return status;
}
