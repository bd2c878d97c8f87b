#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/plot_internal.h"
#include "base/file.h"

struct ecd_plot_canvas {
    ecd_writer writer;
    ecd_status status; // the first failure; then nothing is written any more
    ecd_diag diag;
};

static void put(ecd_plot_canvas *c, const char *text)
{
    if (!c->status)
        c->status = ecd_writer_write(&c->writer, text, strlen(text), &c->diag);
}

__attribute__((format(printf, 2, 3))) static void print(ecd_plot_canvas *c, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(c, text);
}

static ecd_status svg_open(const char *path, double width, double height, ecd_plot_canvas **out, ecd_diag *diag)
{
    ecd_plot_canvas *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c)
        return ecd_fail_memory(diag, sizeof *c, "a plot");
    ecd_status status = ecd_writer_open(path, &c->writer, diag);
    if (status) {
        free(c);
        return status;
    }
    print(c,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
          "font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\">\n",
          width, height, width, height);
    *out = c;
    return ECD_OK;
}

static void svg_rectangle(ecd_plot_canvas *c, double x, double y, double width, double height, unsigned color)
{
    print(c, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#%06x\"/>\n", x, y, width, height,
          color);
}

static void svg_line(ecd_plot_canvas *c, const double *xy, size_t points, double width, unsigned color, bool dashed)
{
    print(c, "<polyline fill=\"none\" stroke=\"#%06x\" stroke-width=\"%.2f\" stroke-linejoin=\"round\"%s points=\"",
          color, width, dashed ? " stroke-dasharray=\"6 4\"" : "");
    for (size_t i = 0; i < points; i++)
        print(c, "%s%.2f,%.2f", i ? " " : "", xy[2 * i], xy[2 * i + 1]);
    put(c, "\"/>\n");
}

static void svg_dot(ecd_plot_canvas *c, double x, double y, double radius, unsigned color)
{
    print(c, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"%.2f\" fill=\"#%06x\"/>\n", x, y, radius, color);
}

static void put_escaped(ecd_plot_canvas *c, const char *text)
{
    for (; *text; text++) {
        char one[2] = {*text, 0};
        if ((unsigned char)*text < 0x20)
            continue; // XML has no control characters
        put(c, *text == '&' ? "&amp;" : *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : one);
    }
}

static void svg_text(ecd_plot_canvas *c, const ecd_plot_text *how, const char *text)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    print(c, "<text x=\"%.2f\" y=\"%.2f\" font-size=\"%.1f\" text-anchor=\"%s\" fill=\"#%06x\"%s", how->x, how->y,
          how->size, anchors[how->anchor], how->color, how->bold ? " font-weight=\"bold\"" : "");
    if (how->upwards)
        print(c, " transform=\"rotate(-90 %.2f %.2f)\"", how->x, how->y);
    put(c, ">");
    put_escaped(c, text);
    put(c, "</text>\n");
}

static ecd_status svg_close(ecd_plot_canvas *c, bool keep, ecd_diag *diag)
{
    put(c, "</svg>\n");
    ecd_status status = c->status;
    if (status || !keep) {
        if (status && keep)
            *diag = c->diag;
        ecd_writer_abandon(&c->writer);
    } else {
        status = ecd_writer_commit(&c->writer, diag);
    }
    free(c);
    return status;
}

const ecd_plot_calls ecd_plot_svg_calls = {svg_open, svg_rectangle, svg_line, svg_dot, svg_text, svg_close};
