// The picture of a model's exponents: bars for what is stored, a line for the fitted law.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/inspect.h"
#include "app/plot.h"

enum { OFFSET = 160, WIDTH = 1200, HEIGHT = 860, HEAD = 50, TOP_HEIGHT = 400 };

// The exponent that a field stands for; subnormals and zero, field 0, stand one below the least.
static int exponent_of(ecd_dtype dtype, int field)
{
    int bias = dtype == ECD_E4M3 ? 7 : dtype == ECD_BF16 ? 127 : 15;
    return field - bias + OFFSET;
}

static void fill(ecd_inspect_histogram *h, const ecd_inspect_tensor *row)
{
    double law[256] = {0};
    memset(h, 0, sizeof *h);
    const char *name = row->tensor->name;
    size_t length = strlen(name), most = 44;
    snprintf(h->name, sizeof h->name, "%s%s", length > most ? ".." : "", length > most ? name + length - most : name);
    h->weights = row->stats.count;
    h->exponent_bits = row->stats.exponent_bits;
    h->fit = row->fit;
    if (row->fit.valid)
        ecd_alpha_shares(row->table, row->fit.alpha, row->fit.scale, row->tensor->dtype, law);
    for (int e = 0; e < 256; e++) {
        int at = exponent_of(row->tensor->dtype, e);
        if (at < 0 || at >= ECD_INSPECT_EXPONENTS)
            continue;
        h->shares[at] = (double)row->stats.exponents[e] / (double)row->stats.count;
        h->law[at] = law[e];
    }
}

static void add_to_all(ecd_inspect_histogram *all, const ecd_inspect_histogram *h)
{
    double n = (double)h->weights;
    all->tensors++;
    all->weights += h->weights;
    all->exponent_bits += n * h->exponent_bits;
    all->fit.alpha += n * h->fit.alpha;
    all->fit.law_bits += n * h->fit.law_bits;
    all->fit.low_bits += n * h->fit.low_bits;
    all->fit.high_bits += n * h->fit.high_bits;
    for (int e = 0; e < ECD_INSPECT_EXPONENTS; e++) {
        all->shares[e] += n * h->shares[e];
        all->law[e] += n * h->law[e];
    }
}

void ecd_inspect_plot_add(ecd_inspect_histograms *plots, const ecd_inspect_tensor *row)
{
    ecd_inspect_histogram h;
    if (!row->measured || !row->fit.valid || (!row->stored_bytes && row->raw_bytes))
        return;
    fill(&h, row);
    add_to_all(&plots->all[row->tensor->dtype], &h);
    int at = plots->count < ECD_INSPECT_PANELS ? plots->count++ : ECD_INSPECT_PANELS;
    for (; at > 0 && plots->largest[at - 1].weights < h.weights; at--)
        if (at < ECD_INSPECT_PANELS)
            plots->largest[at] = plots->largest[at - 1];
    if (at < ECD_INSPECT_PANELS)
        plots->largest[at] = h;
}

typedef struct panel_data {
    double exponents[ECD_INSPECT_EXPONENTS];
    ecd_plot_series series[2];
    char title[160], note[200];
} panel_data;

// The exponents that hold more than a twentieth of a per cent, and what they reach up to.
static void range_of(const ecd_inspect_histogram *h, ecd_plot_panel *panel)
{
    int low = ECD_INSPECT_EXPONENTS, high = 0;
    double top = 0;
    for (int e = 0; e < ECD_INSPECT_EXPONENTS; e++) {
        top = fmax(top, fmax(h->shares[e], h->law[e]));
        if (h->shares[e] > 5e-4 || h->law[e] > 1e-3) {
            low = e < low ? e : low;
            high = e > high ? e : high;
        }
    }
    panel->x.low = low - OFFSET - 0.75;
    panel->x.high = high < low ? panel->x.low + 1 : high - OFFSET + 0.75;
    panel->y.low = 0;
    panel->y.high = top > 0 ? 100 * top * 1.12 : 1;
}

static void set_panel(panel_data *data, ecd_plot_panel *panel, ecd_inspect_histogram *h)
{
    range_of(h, panel);
    for (int e = 0; e < ECD_INSPECT_EXPONENTS; e++) {
        data->exponents[e] = e - OFFSET;
        h->shares[e] *= 100;
        h->law[e] *= 100;
    }
    // Only those within the axes.
    int first = (int)ceil(panel->x.low) + OFFSET, count = (int)floor(panel->x.high) + OFFSET - first + 1;
    data->series[0] = (ecd_plot_series){.kind = ECD_PLOT_BARS,
                                        .name = "stored exponents",
                                        .color = ECD_PLOT_LIGHT_BLUE,
                                        .x = data->exponents + first,
                                        .y = h->shares + first,
                                        .count = (size_t)count,
                                        .bar_width = 0.86};
    data->series[1] = (ecd_plot_series){.kind = ECD_PLOT_DOTS,
                                        .name = "fitted alpha-stable law",
                                        .color = ECD_PLOT_ORANGE,
                                        .x = data->exponents + first,
                                        .y = h->law + first,
                                        .count = (size_t)count};
    panel->series = data->series;
    panel->series_count = 2;
    panel->title = data->title;
    panel->note = data->note;
}

static void set_all(panel_data *data, ecd_plot_panel *panel, ecd_inspect_histogram *all, const char *type)
{
    double n = (double)all->weights, left = 0;
    for (int e = 0; e < ECD_INSPECT_EXPONENTS; e++) {
        all->shares[e] /= n;
        all->law[e] /= n;
    }
    snprintf(data->title, sizeof data->title, "All %llu tensors of type %s that have a law: %.1f million weights",
             (unsigned long long)all->tensors, type, n * 1e-6);
    snprintf(data->note, sizeof data->note,
             "means over the weights: \u03b1 %.3f,  H(E) %.3f bits,  the law's %.3f bits,  paper's bounds %.2f to %.2f "
             "bits,  "
             "limit FP%.2f",
             all->fit.alpha / n, all->exponent_bits / n, all->fit.law_bits / n, all->fit.low_bits / n,
             all->fit.high_bits / n, ECD_ALPHA_LIMIT_BITS);
    *panel = (ecd_plot_panel){.left = 10,
                              .top = HEAD,
                              .width = WIDTH - 20,
                              .height = TOP_HEIGHT,
                              .legend = true,
                              .x = {.label = "exponent E = floor(log2 |weight as stored|)"},
                              .y = {.label = "share of weights, %"}};
    set_panel(data, panel, all);
    for (int e = 0; e - OFFSET < (panel->x.low + panel->x.high) / 2; e++)
        left += all->shares[e];
    panel->legend_left = left < 50; // where the bars are lower
}

static void set_small(panel_data *data, ecd_plot_panel *panel, ecd_inspect_histogram *h, int index)
{
    const double width = (WIDTH - 20) / 3.0, height = (HEIGHT - HEAD - TOP_HEIGHT - 20) / 2.0;
    snprintf(data->title, sizeof data->title, "%s", h->name);
    snprintf(data->note, sizeof data->note, "\u03b1 %.3f \u00b1 %.2g,  H(E) %.2f (law %.2f),  bounds %.2f to %.2f",
             h->fit.alpha, h->fit.alpha_error, h->exponent_bits, h->fit.law_bits, h->fit.low_bits, h->fit.high_bits);
    *panel = (ecd_plot_panel){.left = 10 + index % 3 * width,
                              .top = HEAD + TOP_HEIGHT + 15 + index / 3 * height,
                              .width = width,
                              .height = height,
                              .text_size = 10.5};
    set_panel(data, panel, h);
}

ecd_status ecd_inspect_plot_write(const char *path, const char *model, const ecd_inspect_histograms *plots,
                                  ecd_diag *diag)
{
    panel_data data[1 + ECD_INSPECT_PANELS];
    ecd_plot_panel panels[1 + ECD_INSPECT_PANELS];
    ecd_inspect_histograms own = *plots;
    char title[200];
    int rows = (own.count + 2) / 3, most = 0;
    for (int t = 0; t < ECD_DTYPE_COUNT; t++)
        most = own.all[t].weights > own.all[most].weights ? t : most;
    if (!own.count)
        return ecd_fail(diag, ECD_USAGE, "nothing to plot in %s: no tensor of FP8, BF16 or F16 has a stable law",
                        model);
    set_all(&data[0], &panels[0], &own.all[most], ecd_dtype_name((ecd_dtype)most));
    for (int i = 0; i < own.count; i++)
        set_small(&data[1 + i], &panels[1 + i], &own.largest[i], i);
    size_t length = strlen(model);
    snprintf(title, sizeof title, "Exponents of the weights of %s%s", length > 60 ? ".." : "",
             length > 60 ? model + length - 60 : model);
    const double row = (HEIGHT - HEAD - TOP_HEIGHT - 20) / 2.0;
    const ecd_plot plot = {.width = WIDTH,
                           .height = HEAD + TOP_HEIGHT + 20 + rows * row,
                           .title = title,
                           .panels = panels,
                           .panel_count = 1 + (size_t)own.count};
    return ecd_plot_write(path, &plot, diag);
}
