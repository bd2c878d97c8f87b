ecd_test(test_image SOURCES unit/test_image.c LINK ecd_app)
ecd_test(test_img2img SOURCES unit/test_img2img.c LINK ecd_app)
ecd_test(test_preview SOURCES unit/test_preview.c LINK ecd_app)
ecd_test(test_texts SOURCES unit/test_texts.c LINK ecd_app)
ecd_test(test_plot SOURCES unit/test_plot.c LINK ecd_app)
ecd_test(test_synthetic SOURCES unit/test_synthetic.c LINK ecd_app)

# libecdit on small models; and as it is installed. Instrumented objects would want their runtime in the programs.
ecd_test(test_ecdit SOURCES unit/test_ecdit.c LINK ecd_lib)
find_program(ECDIT_TEST_CXX NAMES c++ g++ clang++)
if(TARGET ecdit_shared AND ECDIT_TEST_CXX)
    add_test(NAME ecdit_install COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/install/ecdit.sh ${PROJECT_BINARY_DIR}
        ${PROJECT_SOURCE_DIR} ${CMAKE_C_COMPILER} ${ECDIT_TEST_CXX})
    set_tests_properties(ecdit_install PROPERTIES LABELS install TIMEOUT 300)
endif()
