# The libraries that are installed (component libecdit): libecdit.so and libecdit.a, of objects that are there already.
include(CMakePackageConfigHelpers)

foreach(part MAJOR MINOR PATCH)
    file(STRINGS ecdit.h line REGEX "^#define ECDIT_VERSION_${part} [0-9]+$")
    string(REGEX REPLACE ".* " "" ecdit_${part} "${line}")
endforeach()
set(ecdit_version ${ecdit_MAJOR}.${ecdit_MINOR}.${ecdit_PATCH})
if(NOT ecdit_version VERSION_EQUAL PROJECT_VERSION)
    message(FATAL_ERROR "ecdit.h has version ${ecdit_version}, the project ${PROJECT_VERSION}")
endif()

# Shared: this folder's objects, which have the calls, and of the other folders what they need. Nothing else is seen.
add_library(ecdit_shared SHARED $<TARGET_OBJECTS:ecd_lib>)
target_link_libraries(ecdit_shared PRIVATE ${lib_parts} ecf8 PkgConfig::NETTLE PkgConfig::PNG PkgConfig::CJSON m
    ${CMAKE_DL_LIBS})
target_link_options(ecdit_shared PRIVATE -Wl,--no-undefined
    -Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/ecdit.map)
set_target_properties(ecdit_shared PROPERTIES EXPORT_NAME ecdit OUTPUT_NAME ecdit VERSION ${ecdit_version}
    SOVERSION ${ecdit_MAJOR} LINKER_LANGUAGE C LINK_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/ecdit.map)
target_include_directories(ecdit_shared INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

# Static: all objects in one archive, libecf8's too; the linker takes what a program needs.
get_target_property(levels ecd_kernels SOURCES)
list(FILTER levels INCLUDE REGEX "TARGET_OBJECTS")
set(objects ${levels} $<TARGET_OBJECTS:ecf8_objects>)
foreach(part ecd_lib ${lib_parts})
    list(APPEND objects $<TARGET_OBJECTS:${part}>)
endforeach()

# What libecdit.a is linked with: modules of pkg-config, and the rest.
set(ecdit_modules libcjson libzip nettle libpng libutf8proc libpcre2-8)
set(ecdit_libraries -pthread -lm -ldl)
set(ecdit_cmake_libraries -pthread m dl)
get_target_property(linked ecd_kernels LINK_LIBRARIES)
if("OneDNN::OneDNN" IN_LIST linked)
    list(APPEND ecdit_libraries -lgomp)
    list(APPEND ecdit_cmake_libraries gomp)
    if(onednn_file) # the private copy
        list(APPEND ecdit_libraries \${libdir}/ecdit/libdnnl.so.3 -Wl,-rpath,\${libdir}/ecdit)
        list(APPEND ecdit_cmake_libraries \${ecdit_libdir}/ecdit/libdnnl.so.3 -Wl,-rpath,\${ecdit_libdir}/ecdit)
        set_target_properties(ecdit_shared PROPERTIES INSTALL_RPATH "$ORIGIN/ecdit")
        install(FILES ${onednn_file} DESTINATION ${CMAKE_INSTALL_LIBDIR}/ecdit RENAME libdnnl.so.3 COMPONENT libecdit)
    else()
        list(APPEND ecdit_libraries -ldnnl)
        list(APPEND ecdit_cmake_libraries dnnl)
    endif()
endif()
if(TARGET ecd_cuda)
    find_package(CUDAToolkit REQUIRED)
    list(APPEND objects $<TARGET_OBJECTS:ecd_cuda>)
    list(APPEND ecdit_libraries -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -lrt)
    list(APPEND ecdit_cmake_libraries ${CUDAToolkit_LIBRARY_DIR}/libcudart_static.a rt)
endif()
add_library(ecdit_archive STATIC ${objects})
set_target_properties(ecdit_archive PROPERTIES OUTPUT_NAME ecdit LINKER_LANGUAGE C)

install(TARGETS ecdit_shared EXPORT ecditTargets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT libecdit NAMELINK_COMPONENT libecdit)
install(TARGETS ecdit_archive ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT libecdit)
install(FILES ecdit.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT libecdit)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/THIRD_PARTY.md DESTINATION ${CMAKE_INSTALL_DOCDIR}
    COMPONENT libecdit)

# As libecf8's, pkg-config finds the rest from where its file lies.
file(RELATIVE_PATH pc_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
foreach(folder LIBDIR INCLUDEDIR)
    string(TOLOWER pc_${folder} variable)
    set(${variable} \${prefix}/${CMAKE_INSTALL_${folder}})
    if(IS_ABSOLUTE "${CMAKE_INSTALL_${folder}}")
        set(${variable} ${CMAKE_INSTALL_${folder}})
    endif()
endforeach()
list(JOIN ecdit_libraries " " pc_libraries)
list(JOIN ecdit_modules " " pc_modules)
# As shared libraries, which Requires.private would not have: with --static it also names what they were made with (libzip: bz2, ssl).
execute_process(COMMAND ${PKG_CONFIG_EXECUTABLE} --libs ${ecdit_modules} OUTPUT_VARIABLE pc_shared
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
configure_file(ecdit.pc.in ecdit.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ecdit.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT libecdit)

set(ecdit_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ecdit)
set(ecdit_install_libdir ${CMAKE_INSTALL_LIBDIR})
set(ecdit_install_includedir ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT ecditTargets NAMESPACE ecdit:: DESTINATION ${ecdit_package_dir} COMPONENT libecdit)
configure_package_config_file(ecditConfig.cmake.in ecditConfig.cmake INSTALL_DESTINATION ${ecdit_package_dir}
    PATH_VARS ecdit_install_libdir ecdit_install_includedir)
write_basic_package_version_file(ecditConfigVersion.cmake VERSION ${ecdit_version} COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ecditConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/ecditConfigVersion.cmake
    DESTINATION ${ecdit_package_dir} COMPONENT libecdit)
