// The pictures' files: from -o, its pattern, or the class or prompt.
#define _GNU_SOURCE
#include "app/generate.h"

#include "base/file.h"
#include "lib/image.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SLUG = 64, PROMPT_SLUG = 40 };

// A class' name or a prompt as part of a file name: small ASCII letters and digits, everything else one dash.
static void make_slug(const ecd_picture *picture, char out[SLUG])
{
    const char *text = picture->prompt ? picture->prompt : picture->label ? picture->label : "";
    size_t used = 0, most = picture->prompt ? PROMPT_SLUG : SLUG;
    bool gap = false;
    for (const char *c = text; *c && used + 2 < most; c++) {
        char small = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
        bool plain = (small >= 'a' && small <= 'z') || (small >= '0' && small <= '9');
        if (plain && gap && used)
            out[used++] = '-';
        gap = !plain;
        if (plain)
            out[used++] = small;
    }
    out[used] = 0;
    if (!used && picture->prompt)
        snprintf(out, SLUG, "picture");
    else if (!used)
        snprintf(out, SLUG, "class-%" PRId64, picture->request.class_id);
}

// "-ID" where another class of this run has the same file name (ImageNet's two cranes), else "".
static void make_distinction(const ecd_generate *g, const ecd_picture *picture, const char *slug, char out[24])
{
    char other[SLUG];
    out[0] = 0;
    for (size_t i = 0; !picture->prompt && i < g->count; i++) {
        if (g->pictures[i].request.class_id == picture->request.class_id)
            continue;
        make_slug(&g->pictures[i], other);
        if (!strcmp(other, slug))
            snprintf(out, 24, "-%" PRId64, picture->request.class_id);
    }
}

// The number of a picture in the run, from 1, with zeros before it so that names sort.
static void put_index(const ecd_generate *g, size_t index, FILE *out)
{
    int digits = 1;
    for (size_t most = g->count; most >= 10; most /= 10)
        digits++;
    fprintf(out, "%0*zu", digits, index + 1);
}

static const struct {
    const char *name;
    enum { KEY_INDEX, KEY_SEED, KEY_NAME } key;
} keys[] = {{"{index}", KEY_INDEX}, {"{seed}", KEY_SEED}, {"{name}", KEY_NAME}};

enum { KEYS = sizeof keys / sizeof *keys };

static bool is_pattern(const char *output)
{
    for (int k = 0; output && k < KEYS; k++)
        if (strstr(output, keys[k].name))
            return true;
    return false;
}

// Replaces the keys of a pattern; what else stands in braces stays as it is.
static char *fill_pattern(const ecd_generate *g, size_t index, const char *pattern)
{
    const ecd_picture *picture = &g->pictures[index];
    char *out = NULL, slug[SLUG];
    size_t size = 0;
    FILE *text = open_memstream(&out, &size);
    if (!text)
        return NULL;
    for (const char *at = pattern; *at;) {
        int key = 0;
        while (key < KEYS && strncmp(at, keys[key].name, strlen(keys[key].name)) != 0)
            key++;
        if (key == KEYS) {
            fputc(*at++, text);
            continue;
        }
        at += strlen(keys[key].name);
        make_slug(picture, slug);
        if (keys[key].key == KEY_INDEX)
            put_index(g, index, text);
        else if (keys[key].key == KEY_SEED)
            fprintf(text, "%" PRIu64, picture->request.seed);
        else
            fputs(slug, text);
    }
    bool lost = ferror(text);
    lost = fclose(text) || lost;
    if (lost) {
        free(out);
        return NULL;
    }
    return out;
}

// What -o says, or leaves out, as a pattern; "%s" where a class' distinction comes. The caller frees.
static char *pattern_of(const ecd_generate *g)
{
    const ecd_settings *s = &g->settings;
    bool folder = s->output && ecd_path_is_folder(s->output);
    const char *name = s->prompts ? "{index}-{name}-{seed}" : "{name}%s-{seed}";
    char *out = NULL;
    int length;
    if (s->output && !folder && (g->count == 1 || is_pattern(s->output))) {
        return strdup(s->output);
    } else if (s->output && !folder) {
        const char *dot = strrchr(s->output, '.');
        length = asprintf(&out, "%.*s-%s%s", (int)(dot - s->output), s->output, name, dot);
    } else {
        size_t end = folder ? strlen(s->output) : 0;
        length = asprintf(&out, "%s%s%s%s.png", folder ? s->output : "", folder && s->output[end - 1] != '/' ? "/" : "",
                          name, s->replay ? "-replay" : "");
    }
    return length < 0 ? NULL : out;
}

static ecd_status name_picture(const ecd_generate *g, size_t index, const char *pattern, bool own, ecd_diag *diag)
{
    ecd_picture *picture = &g->pictures[index];
    char slug[SLUG], distinction[24], *plain = NULL;
    const char *mark = own ? NULL : strstr(pattern, "{name}%s");
    if (mark) {
        make_slug(picture, slug);
        make_distinction(g, picture, slug, distinction);
        if (asprintf(&plain, "%.*s%s%s", (int)(mark - pattern) + 6, pattern, distinction, mark + 8) < 0)
            return ecd_fail_memory(diag, SLUG, "a file name");
    }
    picture->file = fill_pattern(g, index, plain ? plain : pattern);
    free(plain);
    return picture->file ? ECD_OK : ecd_fail_memory(diag, SLUG, "a file name");
}

static int compare_files(const void *a, const void *b)
{
    return strcmp((*(const ecd_picture *const *)a)->file, (*(const ecd_picture *const *)b)->file);
}

// One would overwrite the other.
static ecd_status check_different(const ecd_generate *g, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    const ecd_picture **sorted = malloc(g->count * sizeof *sorted);
    if (!sorted)
        return ecd_fail_memory(diag, g->count * sizeof *sorted, "the file names");
    for (size_t i = 0; i < g->count; i++)
        sorted[i] = &g->pictures[i];
    qsort(sorted, g->count, sizeof *sorted, compare_files);
    for (size_t i = 1; !status && i < g->count; i++)
        if (!strcmp(sorted[i - 1]->file, sorted[i]->file))
            status = ecd_fail(diag, ECD_USAGE,
                              "-o: two pictures would be %.200s, expected a pattern that tells them apart ({index}, {seed}, "
                              "{name})",
                              sorted[i]->file);
    free(sorted);
    return status;
}

static ecd_status name_sheet(ecd_generate *g, ecd_diag *diag)
{
    const char *output = g->settings.output;
    if (!output)
        output = "sheet.png";
    g->sheet_file = ecd_path_is_folder(output) ? ecd_path_join(output, "sheet.png") : strdup(output);
    return g->sheet_file ? ECD_OK : ecd_fail_memory(diag, strlen(output), "a file name");
}

// Creates and removes the writer's temporary file: nothing short of that tells whether the folder takes one.
static ecd_status check_writable(const char *path, ecd_diag *diag)
{
    struct stat info;
    ecd_writer writer;
    if (!stat(path, &info) && !S_ISREG(info.st_mode)) {
        ecd_fail(diag, ECD_USAGE, "exists and is no regular file");
        ecd_diag_file(diag, path);
        return ECD_USAGE;
    }
    ecd_status status = ecd_writer_open(path, &writer, diag);
    if (!status)
        ecd_writer_abandon(&writer);
    return status;
}

static ecd_status name_pictures(ecd_generate *g, ecd_diag *diag)
{
    bool own = is_pattern(g->settings.output) || (g->settings.output && g->count == 1);
    char *pattern = pattern_of(g);
    ecd_status status = pattern ? ECD_OK : ecd_fail_memory(diag, 0, "a file name");
    for (size_t i = 0; !status && i < g->count; i++)
        status = name_picture(g, i, pattern, own, diag);
    free(pattern);
    if (!status)
        status = check_different(g, diag);
    if (!status) // as a rule all lie in one folder: one probe is enough
        status = check_writable(g->pictures[0].file, diag);
    return status;
}

ecd_status ecd_generate_plan_files(ecd_generate *g, ecd_diag *diag)
{
    ecd_image_format format = ECD_IMAGE_PNG;
    const char *output = g->settings.output;
    ecd_status status = ECD_OK;
    if (output && !ecd_path_is_folder(output))
        status = ecd_image_format_of(output, &format, diag);
    if (!status && g->settings.resume && format != ECD_IMAGE_PNG)
        status = ecd_fail(diag, ECD_USAGE, "--resume: only .png files say what they show");
    if (!status && g->settings.grid && g->ranks.count > 1)
        status = ecd_fail(diag, ECD_USAGE, "--grid: not with several processes, which share out the pictures");
    if (status)
        return status;
    if (!g->settings.grid)
        return name_pictures(g, diag);
    status = name_sheet(g, diag);
    return status ? status : check_writable(g->sheet_file, diag);
}
