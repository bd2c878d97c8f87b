// Plots as files: what an SVG holds, and that a PNG shows it.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/plot.h"
#include "base/file.h"
#include "lib/image.h"

// What cairo's library for fonts keeps is not ours to give back.
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void); // the sanitizer looks it up
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig";
}

static const double budgets[] = {100, 200, 500, 1000, 2000};
static const double seconds[] = {9, 7, NAN, 3, 2};
static const double parts[] = {0, 1, 2}, weights[] = {20, 30, 40}, buffers[] = {30, 45, 50};
static const char *const names[] = {"ecf8", "raw <FP8>", "both"};

static const ecd_plot_series lines[] = {
    {.kind = ECD_PLOT_DOTS, .name = "time & <more>", .color = ECD_PLOT_BLUE, .x = budgets, .y = seconds, .count = 5},
    {.kind = ECD_PLOT_LINE,
     .name = "dashed",
     .color = ECD_PLOT_GREEN,
     .x = budgets,
     .y = budgets,
     .count = 5,
     .dashed = true},
};
static const ecd_plot_series bars[] = {
    {.kind = ECD_PLOT_BARS,
     .name = "weights",
     .color = ECD_PLOT_ORANGE,
     .x = parts,
     .y = weights,
     .count = 3,
     .bar_width = 0.6},
    {.kind = ECD_PLOT_BARS,
     .name = "buffers",
     .color = ECD_PLOT_GREY,
     .x = parts,
     .y = buffers,
     .base = weights,
     .count = 3,
     .bar_width = 0.6},
};
static const ecd_plot_panel panels[] = {
    {.left = 0,
     .top = 44,
     .width = 400,
     .height = 300,
     .title = "Latency",
     .note = "a note",
     .x = {.label = "budget", .low = 100, .high = 2000, .logarithmic = true},
     .y = {.label = "seconds", .low = 0, .high = 10},
     .series = lines,
     .series_count = 2,
     .legend = true},
    {.left = 400,
     .top = 44,
     .width = 400,
     .height = 300,
     .title = "Memory",
     .x = {.low = -0.5, .high = 2.5, .names = names, .name_count = 3},
     .y = {.label = "MiB", .low = 0, .high = 60},
     .series = bars,
     .series_count = 2,
     .legend = true,
     .legend_left = true},
};
static const ecd_plot plot = {.width = 800, .height = 344, .title = "A plot", .panels = panels, .panel_count = 2};

static size_t count(const char *text, const char *what)
{
    size_t found = 0;
    while ((text = strstr(text, what))) {
        text += strlen(what);
        found++;
    }
    return found;
}

static void draws_svg(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_file file;
    assert_int_equal(ecd_plot_write("plot.svg", &plot, &diag), ECD_OK);
    assert_int_equal(ecd_file_map("plot.svg", &file, &diag), ECD_OK);
    char *text = calloc(1, file.size_bytes + 1);
    memcpy(text, file.data, file.size_bytes);
    ecd_file_unmap(&file);
    assert_int_equal(count(text, "<circle"), 4 + 1); // the NaN has none; the legend has one
    assert_int_equal(count(text, "#d55e00"), 3 + 1);
    assert_int_equal(count(text, "#b4b4b4"), 3 + 1);
    assert_int_equal(count(text, "stroke-dasharray"), 1 + 1);
    assert_int_equal(count(text, "time &amp; &lt;more&gt;"), 1);
    assert_int_equal(count(text, "raw &lt;FP8&gt;"), 1);
    assert_int_equal(count(text, ">100<") + count(text, ">1000<") + count(text, ">2000<"), 3);
    assert_int_equal(count(text, "nan") + count(text, "inf"), 0);
    assert_int_equal(count(text, "</svg>"), 1);
    free(text);
    unlink("plot.svg");
}

static void draws_png(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_image image;
    if (ecd_plot_check("plot.png", &diag)) {
        assert_int_equal(diag.status, ECD_RESOURCE);
        skip(); // no cairo here
    }
    assert_int_equal(ecd_plot_write("plot.png", &plot, &diag), ECD_OK);
    assert_int_equal(ecd_image_read_png("plot.png", &image, NULL, &diag), ECD_OK);
    assert_int_equal(image.width, 800);
    assert_int_equal(image.height, 344);
    size_t orange = 0, blue = 0;
    for (int64_t i = 0; i < image.width * image.height; i++) {
        const uint8_t *p = image.pixels + 3 * i;
        orange += p[0] == 0xd5 && p[1] == 0x5e && p[2] == 0;
        blue += p[0] == 0 && p[1] == 0x72 && p[2] == 0xb2;
    }
    assert_true(orange > 5000); // three bars of 70 pixels
    assert_true(blue > 100);
    ecd_image_free(&image);
    unlink("plot.png");
}

static void refuses(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    assert_int_equal(ecd_plot_check("plot.pdf", &diag), ECD_USAGE);
    assert_int_equal(ecd_plot_check("plot", &diag), ECD_USAGE);
    assert_int_equal(ecd_plot_check("x.SVG", &diag), ECD_OK);
    assert_int_not_equal(ecd_plot_write("no/such/folder/plot.svg", &plot, &diag), ECD_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(draws_svg), cmocka_unit_test(draws_png),
                                       cmocka_unit_test(refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
