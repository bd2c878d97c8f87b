// The list of the original files' SHA-256, in the form of sha256sum(1): "<sum>  <path>", with a backslash before the line
// where the path's newlines and backslashes are escaped.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/compress_internal.h"

static const size_t MANIFEST_MAX_BYTES = 1 << 28;

ecd_status ecd_manifest_add(ecd_manifest *manifest, const char *path, const char *sum, ecd_diag *diag)
{
    if (manifest->count == manifest->capacity) {
        size_t capacity = manifest->capacity ? 2 * manifest->capacity : 64;
        char **paths = realloc(manifest->paths, capacity * sizeof *paths);
        if (paths)
            manifest->paths = paths;
        char(*sums)[ECD_HASH_TEXT] = paths ? realloc(manifest->sums, capacity * sizeof *sums) : NULL;
        if (!sums)
            return ecd_fail_memory(diag, capacity * sizeof *sums, "a list of files");
        manifest->sums = sums;
        manifest->capacity = capacity;
    }
    char *copy = strdup(path);
    if (!copy)
        return ecd_fail_memory(diag, strlen(path), "a path");
    manifest->paths[manifest->count] = copy;
    memcpy(manifest->sums[manifest->count++], sum, ECD_HASH_TEXT);
    return ECD_OK;
}

const char *ecd_manifest_find(const ecd_manifest *manifest, const char *path)
{
    for (size_t i = 0; i < manifest->count; i++)
        if (!strcmp(manifest->paths[i], path))
            return manifest->sums[i];
    return NULL;
}

static bool print_line(FILE *out, const char *path, const char *sum)
{
    bool escaped = strpbrk(path, "\\\n\r") != NULL;
    if (fprintf(out, "%s%s  ", escaped ? "\\" : "", sum) < 0)
        return false;
    for (; *path; path++) {
        const char *text = *path == '\\' ? "\\\\" : *path == '\n' ? "\\n" : *path == '\r' ? "\\r" : NULL;
        if (text ? fputs(text, out) < 0 : fputc(*path, out) == EOF)
            return false;
    }
    return fputc('\n', out) != EOF;
}

ecd_status ecd_manifest_write(const ecd_manifest *manifest, const char *path, ecd_diag *diag)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    bool ok = stream != NULL;
    for (size_t i = 0; ok && i < manifest->count; i++)
        ok = print_line(stream, manifest->paths[i], manifest->sums[i]);
    if (stream && fclose(stream))
        ok = false;
    ecd_status status = ok ? ecd_file_write(path, text, size, diag) : ecd_fail_memory(diag, 1024, "a list of files");
    free(text);
    return status;
}

static void unescape(char *path)
{
    char *to = path;
    for (const char *at = path; *at; at++) {
        if (*at == '\\' && at[1])
            at++, *to++ = (char)(*at == 'n' ? '\n' : *at == 'r' ? '\r' : *at);
        else
            *to++ = *at;
    }
    *to = 0;
}

// One line without its end. false: not as sha256sum writes it.
static ecd_status read_line(char *line, ecd_manifest *out, bool *good, ecd_diag *diag)
{
    bool escaped = *line == '\\';
    line += escaped;
    *good = strspn(line, "0123456789abcdef") == ECD_HASH_TEXT - 1 && line[ECD_HASH_TEXT - 1] == ' ' &&
            (line[ECD_HASH_TEXT] == ' ' || line[ECD_HASH_TEXT] == '*') && line[ECD_HASH_TEXT + 1];
    if (!*good)
        return ECD_OK;
    line[ECD_HASH_TEXT - 1] = 0;
    char *path = line + ECD_HASH_TEXT + 1;
    if (escaped)
        unescape(path);
    return ecd_manifest_add(out, path, line, diag);
}

ecd_status ecd_manifest_read(const char *path, ecd_manifest *out, ecd_diag *diag)
{
    char *text = NULL, *end;
    bool good = true;
    *out = (ecd_manifest){0};
    if (!ecd_path_exists(path))
        return ECD_OK;
    ecd_status status = ecd_file_read_text(path, MANIFEST_MAX_BYTES, &text, NULL, diag);
    for (char *at = text; !status && *at; at = end + 1) {
        end = strchr(at, '\n');
        if (end)
            *end = 0;
        if (end)
            status = read_line(at, out, &good, diag);
        if (!status && (!end || !good)) {
            status = ecd_fail(diag, ECD_DATA, "not a line of sha256sum, expected 64 hexadecimal digits, two blanks, a path");
            ecd_diag_file(diag, path);
            ecd_diag_offset(diag, (uint64_t)(at - text));
        }
    }
    free(text);
    if (status)
        ecd_manifest_free(out);
    return status;
}

void ecd_manifest_free(ecd_manifest *manifest)
{
    for (size_t i = 0; i < manifest->count; i++)
        free(manifest->paths[i]);
    free(manifest->paths);
    free(manifest->sums);
    *manifest = (ecd_manifest){0};
}
