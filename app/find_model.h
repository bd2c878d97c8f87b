// Where a model lies that is named by its folder's path, by its name alone, or not at all.
#ifndef ECD_APP_FIND_MODEL_H
#define ECD_APP_FIND_MODEL_H

#include "base/status.h"

#define ECD_DEFAULT_MODEL "emoji"

// A path is taken as it is. A bare name (no slash) that is no folder here is looked for in
//   each folder of $ECDIT_MODELS (between colons),
//   weights/NAME of the source tree that the program was built in (beside or above the executable),
//   ../share/ecdit/NAME from the executable: where an installation puts it.
// NULL means ECD_DEFAULT_MODEL. The caller frees *out. ECD_USAGE if it is nowhere, naming the places.
ecd_status ecd_find_model(const char *name, char **out, ecd_diag *diag);

// The last part of a path, without trailing slashes; the caller frees it. NULL when memory is out.
char *ecd_model_name(const char *path);

#endif
