// Opening what computes, as the options say.
#ifndef ECD_APP_OPEN_BACKEND_H
#define ECD_APP_OPEN_BACKEND_H

#include "kernels/backend.h"

// name, compute: places in ecd_backend_names and ecd_compute_names. A device's chosen algorithms are kept in the cache folder.
ecd_status ecd_app_backend_open(int name, int compute, int threads, ecd_backend **out, ecd_diag *diag);

#endif
