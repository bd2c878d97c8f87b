// Pictures drawn together: as many at once as memory has room for, and the texts of each batch.
#ifndef ECD_LIB_BATCH_H
#define ECD_LIB_BATCH_H

#include "lib/texts.h"

enum { ECD_BATCH_MOST = 8 }; // more gain nothing: each decoding is shared already

// Opens a pipeline for options->max_pictures (at most ECD_BATCH_MOST) pictures at once or, while there is no memory for
// them, for half as many. *count says for how many. outside_bytes of the store grow by what `texts` (NULL: none) take
// in a batch, where the budget is of the host's memory.
ecd_status ecd_batch_open(const ecd_pipeline_options *options, const ecd_texts *texts, const ecd_transformer_info *info,
                          int64_t *count, ecd_pipeline **out, ecd_diag *diag);

// ecd_pipeline_draw with the outputs of texts[indices[i]] for picture i; `texts` is NULL for models of classes.
ecd_status ecd_batch_draw(ecd_pipeline *p, const ecd_draw *draw, const ecd_texts *texts, const size_t *indices,
                          ecd_diag *diag);

#endif
