#include "codec/ecf8.h"

uint32_t ecf8_version(void)
{
    return ECF8_VERSION;
}
