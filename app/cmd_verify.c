#include "app/common.h"
#include "app/work.h"

int ecd_cmd_verify(int argc, char **argv)
{
    static const ecd_work_command command = {
        .names = "A B", .done = "equal", .call = ecd_verify};
    return ecd_work_command_run(&command, argc, argv);
}
