#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/common.h"
#include "app/inspect.h"
#include "app/options.h"
#include "app/plot.h"

typedef struct report {
    cJSON *tensors; // NULL: lines of text are printed
    bool failed;    // memory is out
    bool what_if;
    ecd_inspect_histograms *plots; // NULL: none is wanted
    ecd_inspect_totals totals;
} report;

static bool add_row(void *opaque, const ecd_inspect_tensor *row)
{
    report *r = opaque;
    ecd_diag diag = {0};
    if (r->tensors)
        r->failed |= !cJSON_AddItemToArray(r->tensors, ecd_inspect_row_json(row, r->what_if));
    else
        ecd_inspect_print_row(row, r->what_if, !r->totals.tensors);
    ecd_inspect_add(&r->totals, row);
    if (r->plots)
        ecd_inspect_plot_add(r->plots, row);
    return r->failed || ecd_interrupt_check(&diag) != ECD_OK;
}

static bool print_json(cJSON *root, const report *r)
{
    char *text = ecd_inspect_totals_json(root, &r->totals, r->what_if) ? cJSON_Print(root) : NULL;
    if (text)
        puts(text);
    cJSON_free(text);
    return text != NULL;
}

// Also where tensors are bad: the report says which.
static void print_end(cJSON *root, report *r)
{
    if (root)
        r->failed = !print_json(root, r);
    else
        ecd_inspect_print_totals(&r->totals, r->what_if);
}

int ecd_cmd_inspect(int argc, char **argv)
{
    static const char *const what_ifs[] = {"e4m3", "ecf8", NULL};
    bool json = false;
    int first = 0, what_if = 0;
    const char *plot = NULL, *tokens = NULL;
    ecd_diag diag = {0};
    report r = {0};
    cJSON *root = NULL;
    const ecd_option options[] = {
        {.name = "json", .kind = ECD_OPTION_FLAG, .value = &json},
        {.name = "plot", .kind = ECD_OPTION_TEXT, .value = &plot},
        {.name = "tokens", .kind = ECD_OPTION_ANY_TEXT, .value = &tokens},
        {.name = "what-if", .kind = ECD_OPTION_CHOICE, .value = &what_if, .given = &r.what_if, .choices = what_ifs},
    };
    ecd_status status = ecd_options_parse(argc, argv, options, sizeof options / sizeof *options, &first, &diag);
    if (!status && argc - first != 1)
        status = ecd_fail(&diag, ECD_USAGE, "%d arguments, expected 1: inspect PATH", argc - first);
    if (!status && tokens && (plot || r.what_if))
        status = ecd_fail(&diag, ECD_USAGE, "--tokens: not with --plot or --what-if, which look at weights");
    if (!status && plot)
        status = ecd_plot_check(plot, &diag);
    if (!status && tokens)
        status = ecd_inspect_tokens(argv[first], tokens, json, &diag);
    if (status || tokens)
        goto out;
    if (json) {
        root = cJSON_CreateObject();
        r.tensors = root ? cJSON_AddArrayToObject(root, "tensors") : NULL;
        r.failed = !r.tensors;
    }
    if (plot) {
        r.plots = calloc(1, sizeof *r.plots);
        r.failed |= !r.plots;
    }
    if (!r.failed) {
        ecd_inspect_options inspect = {.what_if = r.what_if, .what_if_e4m3 = r.what_if && what_if == 0};
        status = ecd_inspect(argv[first], &inspect, add_row, &r, &diag);
    }
    if (!r.failed && (!status || (status == ECD_DATA && r.totals.faults)))
        print_end(root, &r);
    if (!r.failed && !status && plot)
        status = ecd_inspect_plot_write(plot, argv[first], r.plots, &diag);
    if (r.failed)
        status = ecd_fail_memory(&diag, 1024, "the report");
    if (!status)
        status = ecd_app_flush_stdout(&diag);
out:
    free(r.plots);
    cJSON_Delete(root);
    return status ? ecd_app_fail(&diag) : ECD_OK;
}
