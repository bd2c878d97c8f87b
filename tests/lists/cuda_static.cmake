# What the compiler makes of the decoders and attention, held by tests/cuda_static/bounds.json. Skipped where nvcc or cuobjdump
# are not.
find_program(ECD_PYTHON3 python3)
if(ECD_PYTHON3 AND ECD_CUDA AND NOT CMAKE_C_FLAGS MATCHES "-fsanitize")
    set(static_archs 90)
    if(ECD_CUDA_ALL)
        set(static_archs 80,89,90,100)
    endif()
    set(static_objects)
    if(TARGET ecd_cuda AND NOT ECD_CUDA_BULK_COPIES) # what is bounded are the defaults
        set(static_objects "--objects=$<TARGET_OBJECTS:ecd_cuda>")
    endif()
    add_test(NAME cuda_static COMMAND ${ECD_PYTHON3} ${CMAKE_CURRENT_SOURCE_DIR}/cuda_static/measure.py --bounds --arch
        ${static_archs} --nvcc=${ECD_NVCC} ${static_objects})
    set_tests_properties(cuda_static PROPERTIES LABELS check TIMEOUT 900 SKIP_RETURN_CODE 77)
endif()
