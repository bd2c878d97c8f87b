#include "app/common.h"
#include "app/work.h"

int ecd_cmd_decompress(int argc, char **argv)
{
    static const ecd_work_command command = {
        .names = "SRC DST", .done = "decompressed", .call = ecd_decompress};
    return ecd_work_command_run(&command, argc, argv);
}
