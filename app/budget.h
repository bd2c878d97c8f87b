// How much memory a run may take, and where measured rates are kept.
#ifndef ECD_APP_BUDGET_H
#define ECD_APP_BUDGET_H

#include "base/status.h"

// What the machine, or the cgroup, has free, less a margin; with what this process holds already.
uint64_t ecd_default_budget(void);

// $XDG_CACHE_HOME/ecdit/rates.json (or ~/.cache/...), its folder made; NULL where there is no such place. The caller
// frees.
char *ecd_rates_file(void);

#endif
