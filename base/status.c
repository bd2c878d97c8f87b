#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void copy_name(char *out, const char *name)
{
    snprintf(out, ECD_DIAG_NAME, "%s", name ? name : "");
}

ecd_status ecd_fail(ecd_diag *diag, ecd_status status, const char *format, ...)
{
    if (!diag)
        return status;
    // `format`'s arguments may point into the diagnosis itself (rewording an inner error): build aside first.
    char text[ECD_DIAG_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    *diag = (ecd_diag){.status = status};
    memcpy(diag->what, text, sizeof text);
    return status;
}

ecd_status ecd_fail_memory(ecd_diag *diag, uint64_t size_bytes, const char *what_for)
{
    return ecd_fail(diag, ECD_RESOURCE, "out of memory: %llu bytes for %s", (unsigned long long)size_bytes, what_for);
}

static ecd_status status_of_errno(int error)
{
    switch (error) {
    case ENOSPC: case EDQUOT: case EIO: case ENOMEM: case EMFILE: case ENFILE: case EROFS: case EFBIG:
        return ECD_RESOURCE;
    case ENOENT: case EACCES: case EPERM: case ENOTDIR: case EISDIR: case ENAMETOOLONG: case EEXIST:
        return ECD_USAGE;
    default:
        return ECD_DATA;
    }
}

ecd_status ecd_fail_errno(ecd_diag *diag, const char *path, const char *doing)
{
    int error = errno;
    ecd_status status = ecd_fail(diag, status_of_errno(error), "cannot %s: %s", doing, strerror(error));
    ecd_diag_file(diag, path);
    return status;
}

void ecd_diag_file(ecd_diag *diag, const char *path)
{
    if (diag && !diag->file[0])
        copy_name(diag->file, path);
}

void ecd_diag_tensor(ecd_diag *diag, const char *name)
{
    if (diag && !diag->tensor[0])
        copy_name(diag->tensor, name);
}

void ecd_diag_offset(ecd_diag *diag, uint64_t offset_bytes)
{
    if (diag && !diag->has_offset) {
        diag->offset_bytes = offset_bytes;
        diag->has_offset = true;
    }
}

// Names come from hostile files: a newline or an escape sequence in one must not reach the terminal.
static void escape_controls(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

size_t ecd_diag_format(const ecd_diag *diag, char *out, size_t size)
{
    char tensor[ECD_DIAG_NAME + 16] = "", offset[40] = "";
    if (diag->tensor[0])
        snprintf(tensor, sizeof tensor, "tensor %s: ", diag->tensor);
    if (diag->has_offset)
        snprintf(offset, sizeof offset, "at byte %llu: ", (unsigned long long)diag->offset_bytes);
    int length = snprintf(out, size, "%s%s%s%s%s", diag->file, diag->file[0] ? ": " : "", tensor, offset, diag->what);
    if (size)
        escape_controls(out);
    return length < 0 ? 0 : (size_t)length;
}
