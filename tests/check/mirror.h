// A backend whose memory is not the host's, as the checks see one whose memory is: each operation's operands are copied to
// the device, at addresses of the same alignment and into allocations that end where they end, and what it wrote is copied
// back. So the same checks (and canaries) serve, and a read or write outside of an operand is one outside of an allocation.
#ifndef ECD_TESTS_CHECK_MIRROR_H
#define ECD_TESTS_CHECK_MIRROR_H

#include "kernels/backend.h"

// Closes `inner` with itself. `before`, if there is one, is called before each operation.
ecd_backend *ecd_mirror_open(ecd_backend *inner, void (*before)(void));

#endif
