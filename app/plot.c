#include "app/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "app/plot_internal.h"

enum { INK = 0x222222, FAINT = 0x666666, GRID = 0xe6e6e6, PAPER = 0xffffff, MAX_TICKS = 32 };

typedef struct drawing {
    const ecd_plot_calls *calls;
    ecd_plot_canvas *canvas;
    const ecd_plot_panel *panel;
    double size;                     // of text
    double left, top, width, height; // of the area between the axes
} drawing;

static const ecd_plot_calls *calls_of(const char *path)
{
    const char *end = strrchr(path, '.');
    if (end && !strcasecmp(end, ".svg"))
        return &ecd_plot_svg_calls;
    return end && !strcasecmp(end, ".png") ? &ecd_plot_png_calls : NULL;
}

ecd_status ecd_plot_check(const char *path, ecd_diag *diag)
{
    const ecd_plot_calls *calls = calls_of(path);
    if (!calls)
        return ecd_fail(diag, ECD_USAGE, "%s: expected a plot ending in .svg or .png", path);
    return calls == &ecd_plot_png_calls ? ecd_plot_png_check(diag) : ECD_OK;
}

static void text(const drawing *d, double x, double y, ecd_plot_anchor anchor, const char *words)
{
    const ecd_plot_text how = {.x = x, .y = y, .size = d->size, .anchor = anchor, .color = INK};
    if (words)
        d->calls->text(d->canvas, &how, words);
}

static double share_of(const ecd_plot_axis *axis, double value)
{
    if (axis->logarithmic)
        return value > 0 ? log(value / axis->low) / log(axis->high / axis->low) : -1;
    return (value - axis->low) / (axis->high - axis->low);
}

static double x_of(const drawing *d, double value)
{
    return d->left + d->width * share_of(&d->panel->x, value);
}

static double y_of(const drawing *d, double value)
{
    double share = share_of(&d->panel->y, value);
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    return d->top + d->height * (1 - share);
}

// Where ticks stand: categories, 1-2-5 steps, or of a logarithmic axis 1-2-5 of each decade (1 alone where there are
// many).
static int ticks_of(const ecd_plot_axis *axis, int wanted, double *ticks)
{
    int count = 0;
    if (axis->names) {
        for (size_t i = 0; i < axis->name_count && count < MAX_TICKS; i++)
            ticks[count++] = (double)i;
        return count;
    }
    if (axis->logarithmic) {
        static const double steps[] = {1, 2, 5};
        int kinds = log10(axis->high / axis->low) > 3 ? 1 : 3;
        for (int e = (int)floor(log10(axis->low)); e <= (int)ceil(log10(axis->high)); e++)
            for (int k = 0; k < kinds && count < MAX_TICKS; k++) {
                double at = steps[k] * pow(10, e);
                if (at >= axis->low * 0.999 && at <= axis->high * 1.001)
                    ticks[count++] = at;
            }
        return count;
    }
    double rough = (axis->high - axis->low) / wanted, unit = pow(10, floor(log10(rough))), of_unit = rough / unit;
    double step = unit * (of_unit <= 1 ? 1 : of_unit <= 2 ? 2 : of_unit <= 5 ? 5 : 10);
    for (double i = ceil(axis->low / step - 1e-9); i * step <= axis->high + step * 1e-9 && count < MAX_TICKS; i++)
        ticks[count++] = i * step;
    return count;
}

static const char *tick_text(const ecd_plot_axis *axis, double at, char *out, size_t size)
{
    if (axis->names)
        return axis->names[(size_t)at];
    snprintf(out, size, "%.6g", fabs(at) < 1e-12 ? 0 : at);
    return out;
}

static void draw_axes(const drawing *d)
{
    const ecd_plot_panel *p = d->panel;
    double ticks[MAX_TICKS], bottom = d->top + d->height;
    char number[32];
    int count = ticks_of(&p->y, (int)fmax(3, d->height / (d->size * 3.2)), ticks);
    for (int i = 0; i < count; i++) {
        double y = y_of(d, ticks[i]), line[4] = {d->left, y, d->left + d->width, y};
        d->calls->line(d->canvas, line, 2, 1, GRID, false);
        text(d, d->left - d->size * 0.5, y + d->size * 0.35, ECD_PLOT_RIGHT,
             tick_text(&p->y, ticks[i], number, sizeof number));
    }
    count = ticks_of(&p->x, (int)fmax(3, d->width / (d->size * 4.5)), ticks);
    for (int i = 0; i < count; i++) {
        double x = x_of(d, ticks[i]), line[4] = {x, bottom, x, bottom + d->size * 0.35};
        d->calls->line(d->canvas, line, 2, 1, FAINT, false);
        text(d, x, bottom + d->size * 1.45, ECD_PLOT_MIDDLE, tick_text(&p->x, ticks[i], number, sizeof number));
    }
    text(d, d->left + d->width / 2, bottom + d->size * 2.9, ECD_PLOT_MIDDLE, p->x.label);
    const ecd_plot_text up = {.x = p->left + d->size * 1.2,
                              .y = d->top + d->height / 2,
                              .size = d->size,
                              .anchor = ECD_PLOT_MIDDLE,
                              .upwards = true,
                              .color = INK};
    if (p->y.label)
        d->calls->text(d->canvas, &up, p->y.label);
}

static void draw_frame(const drawing *d)
{
    double bottom = d->top + d->height, line[6] = {d->left, d->top, d->left, bottom, d->left + d->width, bottom};
    d->calls->line(d->canvas, line, 3, 1.2, FAINT, false);
}

static void draw_bars(const drawing *d, const ecd_plot_series *s)
{
    for (size_t i = 0; i < s->count; i++) {
        double base = s->base ? s->base[i] : d->panel->y.low;
        double left = x_of(d, s->x[i] - s->bar_width / 2), right = x_of(d, s->x[i] + s->bar_width / 2);
        double top = y_of(d, s->y[i]), bottom = y_of(d, base);
        left = fmax(left, d->left);
        right = fmin(right, d->left + d->width);
        if (right > left && bottom > top)
            d->calls->rectangle(d->canvas, left, top, right - left, bottom - top, s->color);
    }
}

static ecd_status draw_line(const drawing *d, const ecd_plot_series *s, ecd_diag *diag)
{
    double *xy = malloc((2 * s->count + 1) * sizeof *xy);
    size_t n = 0;
    if (!xy)
        return ecd_fail_memory(diag, s->count, "a line");
    for (size_t i = 0; i <= s->count; i++) {
        bool point = i < s->count && isfinite(s->x[i]) && isfinite(s->y[i]);
        if (point) {
            xy[2 * n] = x_of(d, s->x[i]);
            xy[2 * n + 1] = y_of(d, s->y[i]);
            if (s->kind == ECD_PLOT_DOTS)
                d->calls->dot(d->canvas, xy[2 * n], xy[2 * n + 1], d->size * 0.3, s->color);
            n++;
        } else if (n) {
            d->calls->line(d->canvas, xy, n, d->size / 6, s->color, s->dashed);
            n = 0;
        }
    }
    free(xy);
    return ECD_OK;
}

// About what a text takes; a face is not known here.
static double width_of(const drawing *d, const char *words)
{
    size_t count = 0;
    for (; *words; words++)
        count += (*words & 0xc0) != 0x80;
    return (double)count * d->size * 0.6;
}

static void draw_legend(const drawing *d)
{
    double widest = 0, row = d->size * 1.5, y = d->top + d->size * 0.6;
    size_t rows = 0;
    for (size_t i = 0; i < d->panel->series_count; i++)
        if (d->panel->series[i].name) {
            widest = fmax(widest, width_of(d, d->panel->series[i].name));
            rows++;
        }
    double width = widest + d->size * 3.2,
           left = d->panel->legend_left ? d->left + d->size : d->left + d->width - width;
    if (rows)
        d->calls->rectangle(d->canvas, left - d->size * 0.5, y - d->size * 0.4, width,
                            row * (double)rows + d->size * 0.4, PAPER);
    for (size_t i = 0; i < d->panel->series_count; i++) {
        const ecd_plot_series *s = &d->panel->series[i];
        if (!s->name)
            continue;
        double middle = y + row / 2, line[4] = {left, middle, left + d->size * 2, middle};
        if (s->kind == ECD_PLOT_BARS)
            d->calls->rectangle(d->canvas, left, middle - d->size * 0.4, d->size * 2, d->size * 0.8, s->color);
        else
            d->calls->line(d->canvas, line, 2, d->size / 6, s->color, s->dashed);
        if (s->kind == ECD_PLOT_DOTS)
            d->calls->dot(d->canvas, left + d->size, middle, d->size * 0.3, s->color);
        text(d, left + d->size * 2.6, middle + d->size * 0.35, ECD_PLOT_LEFT, s->name);
        y += row;
    }
}

static void draw_titles(const drawing *d)
{
    ecd_plot_text how = {
        .x = d->left, .y = d->panel->top + d->size * 1.3, .size = d->size * 1.1, .bold = true, .color = INK};
    if (d->panel->title)
        d->calls->text(d->canvas, &how, d->panel->title);
    how = (ecd_plot_text){.x = d->left, .y = d->panel->top + d->size * 2.7, .size = d->size, .color = FAINT};
    if (d->panel->note)
        d->calls->text(d->canvas, &how, d->panel->note);
}

static ecd_status draw_panel(drawing *d, ecd_diag *diag)
{
    const ecd_plot_panel *p = d->panel;
    ecd_status status = ECD_OK;
    d->size = p->text_size > 0 ? p->text_size : 13;
    double above = d->size * (p->note ? 3.6 : p->title ? 2.2 : 0.8), beside = d->size * (p->y.label ? 5.2 : 3.4);
    d->left = p->left + beside;
    d->top = p->top + above;
    d->width = p->width - beside - d->size;
    d->height = p->height - above - d->size * (p->x.label ? 3.6 : 2.2);
    draw_titles(d);
    draw_axes(d);
    for (size_t i = 0; !status && i < p->series_count; i++) {
        if (p->series[i].kind == ECD_PLOT_BARS)
            draw_bars(d, &p->series[i]);
        else
            status = draw_line(d, &p->series[i], diag);
    }
    draw_frame(d);
    if (p->legend)
        draw_legend(d);
    return status;
}

ecd_status ecd_plot_write(const char *path, const ecd_plot *plot, ecd_diag *diag)
{
    ecd_status status = ecd_plot_check(path, diag);
    if (status)
        return status;
    drawing d = {.calls = calls_of(path)};
    status = d.calls->open(path, plot->width, plot->height, &d.canvas, diag);
    if (status)
        return status;
    d.calls->rectangle(d.canvas, 0, 0, plot->width, plot->height, PAPER);
    const ecd_plot_text title = {.x = 20, .y = 30, .size = 19, .bold = true, .color = INK};
    if (plot->title)
        d.calls->text(d.canvas, &title, plot->title);
    for (size_t i = 0; !status && i < plot->panel_count; i++) {
        d.panel = &plot->panels[i];
        status = draw_panel(&d, diag);
    }
    ecd_status closed = d.calls->close(d.canvas, !status, diag);
    return status ? status : closed;
}
