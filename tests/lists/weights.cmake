ecd_test(test_safetensors unit/test_safetensors.c LIBS ecd_weights)
ecd_test(test_model_folder unit/test_model_folder.c LIBS ecd_weights)
foreach(test test_store test_compress) # they make folders and delays: POSIX beside C17
    ecd_test(${test} unit/${test}.c LIBS ecd_weights)
    if(TARGET ${test})
        target_compile_definitions(${test} PRIVATE _GNU_SOURCE)
    endif()
endforeach()
