// How much memory a run may take, and where is kept what later runs gain by: measured rates, chosen algorithms.
#ifndef ECD_LIB_BUDGET_H
#define ECD_LIB_BUDGET_H

#include "kernels/backend.h"

// What the machine, or the cgroup, has free, less a margin; with what this process holds already. Of a backend with memory of
// its own: of that.
uint64_t ecd_default_budget(ecd_backend *be);

// $XDG_CACHE_HOME/ecdit/NAME (or ~/.cache/...), its folder made; NULL where there is no such place. The caller frees.
char *ecd_cache_file(const char *name);
char *ecd_rates_file(void); // rates.json

#endif
