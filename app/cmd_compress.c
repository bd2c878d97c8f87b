#include "app/common.h"
#include "app/work.h"

int ecd_cmd_compress(int argc, char **argv)
{
    static const ecd_work_command command = {
        .names = "SRC DST", .done = "compressed", .call = ecd_compress, .encodes = true};
    return ecd_work_command_run(&command, argc, argv);
}
