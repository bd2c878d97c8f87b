ecd_test(test_bench SOURCES unit/test_bench.c LINK ecd_app)

# The program as a user meets it: transcripts of commands, tests/cli/*.case.
foreach(name selftest usage data same init tile json texts single prompts ranks inspect diff interrupt full_disk bench budget budget_peak cgroup shrink pictures levels)
    add_test(NAME cli_${name}
        COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cli/run.sh $<TARGET_FILE:ecdit> ${CMAKE_CURRENT_SOURCE_DIR}/cli/${name}.case)
    set_tests_properties(cli_${name} PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77)
endforeach()

# A library whose reading and writing fail, for failing_io.case.
add_library(ecd_fail_io MODULE cli/fail_io.c)
target_link_libraries(ecd_fail_io PRIVATE ${CMAKE_DL_LIBS})
add_test(NAME cli_failing_io
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/cli/run.sh $<TARGET_FILE:ecdit> ${CMAKE_CURRENT_SOURCE_DIR}/cli/failing_io.case)
set_tests_properties(cli_failing_io PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT "ECD_FAIL_IO=$<TARGET_FILE:ecd_fail_io>")
