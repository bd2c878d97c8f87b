# The rules of the repository; each check comes with a test that shows it fail on bad examples.
function(ecd_lint check)
    add_test(NAME lint_${check} COMMAND ${PROJECT_SOURCE_DIR}/tests/lint/check_${check}.sh ${ARGN})
    add_test(NAME lint_${check}_selftest COMMAND ${PROJECT_SOURCE_DIR}/tests/lint/selftest.sh ${check})
    set_tests_properties(lint_${check} lint_${check}_selftest PROPERTIES LABELS lint TIMEOUT 300
        ENVIRONMENT "CC=${CMAKE_C_COMPILER}")
endfunction()

ecd_lint(layers ${PROJECT_SOURCE_DIR})
ecd_lint(files ${PROJECT_SOURCE_DIR})
# Kernels that are compiled once a level get their vectors' width from the build.
set(header_options -DECD_LANES=8 -DECD_LEVEL=lint -Wno-psabi)
if(EXISTS ${PROJECT_SOURCE_DIR}/.deps/onednn/include)
    list(APPEND header_options -I${PROJECT_SOURCE_DIR}/.deps/onednn/include)
endif()
ecd_lint(headers ${PROJECT_SOURCE_DIR} ${header_options})
if(NOT CMAKE_C_FLAGS MATCHES "-fsanitize") # sanitizers add symbols of their own
    ecd_lint(symbols ${PROJECT_BINARY_DIR})
endif()
find_program(SHELLCHECK shellcheck)
if(SHELLCHECK)
    ecd_lint(scripts ${PROJECT_SOURCE_DIR})
endif()
