// The picture of a sweep: latency against the budget for both paths, and memory by part with the peak and the budget; the
// latter, and what is said of the lines, for the first batch size.
#include "app/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/plot.h"

enum { MAX_LINES = ECD_BENCH_MAX_BUDGETS, MAX_BARS = 24, PARTS = 5, MAX_BATCHES = 3, WIDTH = 1100, TOP = 50, PANEL = 400, LABEL = 32 };

typedef struct plotter {
    const ecd_bench *b;
    int points[MAX_LINES], count; // those of the first batch size, by rising budget; none last
    int budgeted;                 // of them, those with a budget: the lines, if there are any
    int batches;                  // that have lines: the first ones
    double budgets[MAX_LINES], seconds[MAX_BATCHES][ECD_BENCH_PATHS][MAX_LINES]; // MiB; NaN where refused
    double at[MAX_BARS], tops[PARTS][MAX_BARS], bases[PARTS][MAX_BARS];
    double peak_at[2 * MAX_BARS], peaks[2 * MAX_BARS];       // a dot a bar; NaN between them
    double budget_at[3 * MAX_BARS], budget_top[3 * MAX_BARS]; // a stroke across each bar
    char labels[MAX_BARS][LABEL];
    const char *names[MAX_BARS];
    int bars;
    char note[160], title[200], line_names[MAX_BATCHES * ECD_BENCH_PATHS][LABEL];
    ecd_plot_series lines[MAX_BATCHES * ECD_BENCH_PATHS], parts[PARTS + 2];
    ecd_plot_panel panels[2];
} plotter;

static uint64_t order_of(const ecd_bench_point *point)
{
    return point->budget_bytes - 1; // no budget, 0, comes last
}

static void choose_points(plotter *p)
{
    int batches = (int)p->b->settings.batches.count;
    p->batches = batches < MAX_BATCHES ? batches : MAX_BATCHES;
    for (int i = 0; i < p->b->point_count; i++) {
        const ecd_bench_point *point = &p->b->points[i];
        if (point->batch != p->b->points[0].batch || p->count == MAX_LINES)
            continue;
        int at = p->count++;
        for (; at && order_of(&p->b->points[p->points[at - 1]]) > order_of(point); at--)
            p->points[at] = p->points[at - 1];
        p->points[at] = i;
        p->budgeted += point->budget_bytes != 0;
    }
}

// The median, NaN where the path does not fit.
static ecd_status median(const plotter *p, int index, int path, ecd_bench_figure figure, double *out, ecd_diag *diag)
{
    ecd_bench_summary s;
    *out = (double)NAN;
    if (p->b->points[index].refused[path])
        return ECD_OK;
    ecd_status status = ecd_bench_figure_of(p->b, index, (ecd_bench_path)path, figure, &s, diag);
    if (!status)
        *out = s.median;
    return status;
}

// The seconds of all batch sizes, which lie side by side among the points.
static ecd_status take_seconds(plotter *p, int i, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (int batch = 0; batch < p->batches; batch++)
        for (int path = 0; !status && path < ECD_BENCH_PATHS; path++)
            status = median(p, p->points[i] + batch, path, ECD_BENCH_PICTURE, &p->seconds[batch][path][i], diag);
    return status;
}

// What is measured without a budget stands where its own peak would put it.
static ecd_status take_lines(plotter *p, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (int i = 0; !status && i < p->count; i++) {
        int index = p->points[i];
        double peak = 0, most = 0;
        status = take_seconds(p, i, diag);
        for (int path = 0; !status && path < ECD_BENCH_PATHS; path++) {
            status = median(p, index, path, ECD_BENCH_PEAK_RSS, &peak, diag);
            most = fmax(most, peak);
        }
        uint64_t budget = p->b->points[index].budget_bytes;
        p->budgets[i] = (budget ? (double)budget : most) / 0x1p20;
    }
    return status;
}

// Where the two lines meet, between budgets that both paths fit.
static void note_crossing(plotter *p)
{
    const double *e = p->seconds[0][ECD_BENCH_ECF8], *r = p->seconds[0][ECD_BENCH_RAW];
    int wins = 0, both = 0, alone = 0;
    snprintf(p->note, sizeof p->note, "the lines do not cross");
    for (int i = 0; i < p->count; i++) {
        alone += !isnan(e[i]) && isnan(r[i]);
        both += !isnan(e[i]) && !isnan(r[i]);
        wins += e[i] < r[i];
        if (!i || !((e[i - 1] < r[i - 1]) != (e[i] < r[i])) || isnan(e[i - 1] + r[i - 1] + e[i] + r[i]))
            continue;
        double before = e[i - 1] - r[i - 1], after = e[i] - r[i];
        snprintf(p->note, sizeof p->note, "the lines cross near %.0f MiB",
                 p->budgets[i - 1] + (p->budgets[i] - p->budgets[i - 1]) * before / (before - after));
        return;
    }
    if (both && wins == both)
        snprintf(p->note, sizeof p->note, "compressed weights are faster at every budget%s",
                 alone ? ", and alone fit the least" : "");
    else if (both && !wins)
        snprintf(p->note, sizeof p->note, "uncompressed weights are faster at every budget that both fit");
}

static double highest(const double *values, int count, double most)
{
    for (int i = 0; i < count; i++)
        most = isnan(values[i]) || values[i] < most ? most : values[i];
    return most;
}

static void set_line(plotter *p, int batch, int path)
{
    static const unsigned colors[] = {ECD_PLOT_ORANGE, ECD_PLOT_BLUE};
    int index = batch * ECD_BENCH_PATHS + path;
    char *name = p->line_names[index];
    if (p->batches == 1)
        snprintf(name, LABEL, "%s", ecd_bench_path_names[path]);
    else
        snprintf(name, LABEL, "%s, batch %lld", ecd_bench_path_names[path],
                 (long long)p->b->settings.batches.values[batch]);
    p->lines[index] = (ecd_plot_series){.kind = ECD_PLOT_DOTS,
                                        .name = name,
                                        .color = colors[path],
                                        .x = p->budgets,
                                        .y = p->seconds[batch][path],
                                        .count = (size_t)p->count,
                                        .dashed = batch > 0};
}

static void set_lines(plotter *p)
{
    double top = 0;
    p->count = p->budgeted ? p->budgeted : p->count;
    for (int batch = 0; batch < p->batches; batch++)
        for (int path = 0; path < ECD_BENCH_PATHS; path++) {
            set_line(p, batch, path);
            top = highest(p->seconds[batch][path], p->count, top);
        }
    note_crossing(p);
    double low = p->budgets[0], high = highest(p->budgets, p->count, low), room = fmax(1, (high - low) * 0.05);
    p->panels[0] = (ecd_plot_panel){.left = 10,
                                    .top = TOP,
                                    .width = WIDTH - 20,
                                    .height = PANEL,
                                    .title = "Latency against memory budget",
                                    .note = p->note,
                                    .x = {.label = "memory budget, MiB", .low = low - room, .high = high + room},
                                    .y = {.label = "seconds a picture", .low = 0, .high = top > 0 ? top * 1.3 : 1},
                                    .series = p->lines,
                                    .series_count = (size_t)(p->batches * ECD_BENCH_PATHS),
                                    .legend = true};
}

static const ecd_bench_figure part_figures[PARTS] = {ECD_BENCH_WEIGHTS, ECD_BENCH_BUFFERS, ECD_BENCH_ACTIVATIONS,
                                                     ECD_BENCH_VAE_WEIGHTS, ECD_BENCH_VAE_ACTIVATIONS};

// The peak, and the budget above it.
static ecd_status take_marks(plotter *p, int bar, int index, int path, ecd_diag *diag)
{
    double peak, budget = (double)p->b->points[index].budget_bytes / 0x1p20;
    ecd_status status = median(p, index, path, ECD_BENCH_PEAK_RSS, &peak, diag);
    p->peak_at[2 * bar] = p->peak_at[2 * bar + 1] = bar;
    p->peaks[2 * bar] = peak / 0x1p20;
    p->peaks[2 * bar + 1] = (double)NAN;
    for (int end = 0; end < 3; end++) {
        p->budget_at[3 * bar + end] = bar + (end ? 0.35 : -0.35);
        p->budget_top[3 * bar + end] = end < 2 && budget > 0 ? budget : (double)NAN;
    }
    return status;
}

static ecd_status take_bar(plotter *p, int index, int path, ecd_diag *diag)
{
    int bar = p->bars++;
    double base = 0;
    uint64_t budget = p->b->points[index].budget_bytes;
    char *label = p->labels[bar];
    if (budget)
        snprintf(label, LABEL, "%.0f %s", (double)budget / 0x1p20, ecd_bench_path_names[path]);
    else
        snprintf(label, LABEL, "any %s", ecd_bench_path_names[path]);
    p->names[bar] = label;
    p->at[bar] = bar;
    for (int part = 0; part < PARTS; part++) {
        double bytes;
        ecd_status status = median(p, index, path, part_figures[part], &bytes, diag);
        if (status)
            return status;
        p->bases[part][bar] = base;
        base += isnan(bytes) ? 0 : bytes / 0x1p20;
        p->tops[part][bar] = base;
    }
    return take_marks(p, bar, index, path, diag);
}

static ecd_status take_bars(plotter *p, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (int i = 0; !status && i < p->count && p->bars + ECD_BENCH_PATHS <= MAX_BARS; i++)
        for (int path = 0; !status && path < ECD_BENCH_PATHS; path++)
            status = take_bar(p, p->points[i], path, diag);
    return status;
}

static void set_bars(plotter *p)
{
    static const unsigned colors[PARTS] = {ECD_PLOT_BLUE, ECD_PLOT_LIGHT_BLUE, ECD_PLOT_GREEN, ECD_PLOT_ORANGE,
                                           ECD_PLOT_PURPLE};
    for (int part = 0; part < PARTS; part++)
        p->parts[part] = (ecd_plot_series){.kind = ECD_PLOT_BARS,
                                           .name = ecd_bench_figures[part_figures[part]].title,
                                           .color = colors[part],
                                           .x = p->at,
                                           .y = p->tops[part],
                                           .base = p->bases[part],
                                           .count = (size_t)p->bars,
                                           .bar_width = 0.7};
    p->parts[PARTS] = (ecd_plot_series){.kind = ECD_PLOT_LINE,
                                        .name = p->budgeted ? "budget" : NULL,
                                        .color = ECD_PLOT_BLACK,
                                        .x = p->budget_at,
                                        .y = p->budget_top,
                                        .count = (size_t)(3 * p->bars)};
    p->parts[PARTS + 1] = (ecd_plot_series){.kind = ECD_PLOT_DOTS,
                                            .name = "peak resident",
                                            .color = ECD_PLOT_BLACK,
                                            .x = p->peak_at,
                                            .y = p->peaks,
                                            .count = (size_t)(2 * p->bars)};
    double top = highest(p->tops[PARTS - 1], p->bars, 1);
    top = highest(p->budget_top, 3 * p->bars, highest(p->peaks, 2 * p->bars, top));
    p->panels[1] = (ecd_plot_panel){
        .left = 10,
        .top = TOP + PANEL + 10,
        .width = WIDTH - 20,
        .height = PANEL,
        .title = "Memory by part",
        .note = "the program itself is not among the parts; a large VAE is not there together with the weights; "
                "for the first batch size",
        .x = {.label = "budget, MiB",
              .low = -0.6,
              .high = p->bars - 0.4,
              .names = p->names,
              .name_count = (size_t)p->bars},
        .y = {.label = "MiB", .low = 0, .high = top * 1.75},
        .series = p->parts,
        .series_count = PARTS + 2,
        .text_size = p->bars > 12 ? 9 : 0,
        .legend = true,
        .legend_left = true}; // budgets rise to the right
}

ecd_status ecd_bench_write_plot(const ecd_bench *b, ecd_diag *diag)
{
    plotter *p = calloc(1, sizeof *p);
    if (!p)
        return ecd_fail_memory(diag, sizeof *p, "a plot");
    p->b = b;
    choose_points(p);
    ecd_status status = take_lines(p, diag);
    if (!status)
        status = take_bars(p, diag);
    if (!status) {
        set_lines(p);
        set_bars(p);
        char batch[LABEL] = "";
        if (p->batches == 1)
            snprintf(batch, sizeof batch, ", batch %lld", (long long)b->points[0].batch);
        snprintf(p->title, sizeof p->title, "%.60s%s, %lld step%s, %d threads", b->model_name, batch,
                 (long long)b->settings.steps, b->settings.steps == 1 ? "" : "s", b->context.threads);
        const ecd_plot plot = {
            .width = WIDTH, .height = TOP + 2 * PANEL + 20, .title = p->title, .panels = p->panels, .panel_count = 2};
        status = ecd_plot_write(b->settings.plot, &plot, diag);
    }
    free(p);
    return status;
}
