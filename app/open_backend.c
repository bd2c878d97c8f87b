#include "app/open_backend.h"

#include <stdlib.h>

#include "app/generate.h"
#include "lib/budget.h"

ecd_status ecd_app_backend_open(int name, int compute, int threads, ecd_backend **out, ecd_diag *diag)
{
    char *algorithms = ecd_cache_file("cuda_algorithms");
    const ecd_backend_options options = {.name = ecd_backend_names[name],
                                         .compute = (ecd_compute)compute,
                                         .threads = threads,
                                         .algorithms_file = algorithms};
    ecd_status status = ecd_backend_open(&options, out, diag);
    free(algorithms);
    return status;
}
