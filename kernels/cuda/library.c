#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static void *load(const char *file)
{
    return dlopen(*file ? file : NULL, RTLD_NOW | RTLD_LOCAL);
}

// By name, then beside the toolkit that the program was built with: its folder is often not on the loader's path.
static void *load_usual(const char *const *usual)
{
    void *library = NULL;
    for (int i = 0; !library && usual[i]; i++)
        library = load(usual[i]);
#if defined(ECD_CUDA_LIBRARY_FOLDER)
    char path[1024];
    for (int i = 0; !library && usual[i]; i++)
        if ((size_t)snprintf(path, sizeof path, "%s/%s", ECD_CUDA_LIBRARY_FOLDER, usual[i]) < sizeof path)
            library = load(path);
#endif
    return library;
}

ecd_status ecd_library_open(const char *file, const char *const *usual, const ecd_symbol *symbols, int count,
                            void **out, ecd_diag *diag)
{
    *out = file ? load(file) : load_usual(usual);
    if (!*out) {
        const char *why = dlerror();
        return ecd_fail(diag, ECD_RESOURCE, "backend cuda: cannot load %s: %s", file ? file : usual[0],
                        why ? why : "unknown");
    }
    for (int i = 0; i < count; i++) {
        void *symbol = dlsym(*out, symbols[i].name);
        if (!symbol) {
            ecd_library_close(*out);
            *out = NULL;
            return ecd_fail(diag, ECD_RESOURCE, "backend cuda: %s has no %s", file ? file : usual[0], symbols[i].name);
        }
        memcpy(symbols[i].to, &symbol, sizeof symbol); // C has no cast from object to function pointers
    }
    return ECD_OK;
}

void ecd_library_close(void *library)
{
    if (library)
        dlclose(library);
}
