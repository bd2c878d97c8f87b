// What tensors of a model's components are called in other programs' files: internal to weights/.
#ifndef ECD_WEIGHTS_COMPONENT_NAMES_H
#define ECD_WEIGHTS_COMPONENT_NAMES_H

#include <stdbool.h>
#include <stddef.h>

enum { ECD_COMPONENT_PARTS = 4, ECD_COMPONENT_WAYS = 6 };

// A module (rename.h: patterns end with ".*", which is the tensor of it), and what it is in diffusers: one module, or
// several whose rows stand one below the other, or one whose two halves of rows stand the other way round.
typedef struct ecd_component_rule {
    const char *from;
    const char *to[ECD_COMPONENT_PARTS];       // the rest is NULL
    unsigned char shares[ECD_COMPONENT_PARTS]; // of the rows, where `to` has several
    bool swapped;
} ecd_component_rule;

typedef struct ecd_component_names {
    const char *component;                    // diffusers' folder
    const char *weights;                      // its file there
    const char *prefixes[ECD_COMPONENT_WAYS]; // of its tensors in a file that holds several components; the last is ""
    const char *markers[ECD_COMPONENT_WAYS];  // names that begin so are this component's
    const char *beside[ECD_COMPONENT_WAYS];   // files that hold it alone, as programs that keep single files name them
    const char *levels;                       // the largest number of this pattern is what "~" counts from
    const ecd_component_rule *rules;
    size_t rule_count;
} ecd_component_names;

enum { ECD_COMPONENTS = 4 };
extern const ecd_component_names ecd_component_table[ECD_COMPONENTS];

const ecd_component_names *ecd_component_names_of(const char *component); // NULL: not in the table

#endif
