#include "base/grow.h"

#include <stdint.h>
#include <stdlib.h>

enum { FIRST = 64 };

void *ecd_grow(void *list, size_t wanted, size_t *capacity, size_t element_bytes)
{
    if (wanted <= *capacity)
        return list;
    size_t more = *capacity > SIZE_MAX / 2 ? wanted : 2 * *capacity;
    more = more < FIRST ? FIRST : more;
    more = more < wanted ? wanted : more;
    void *grown = more > SIZE_MAX / element_bytes ? NULL : realloc(list, more * element_bytes);
    if (grown)
        *capacity = more;
    return grown;
}
