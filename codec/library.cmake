# The libraries made of ecf8_sources, and what is installed of them (component ecf8).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# ecf8.h has the version; the soname is its first number.
set(ecf8_version "")
foreach(part MAJOR MINOR PATCH)
    file(STRINGS ecf8.h line REGEX "^#define ECF8_VERSION_${part} [0-9]+$")
    string(REGEX REPLACE ".* " "" ecf8_${part} "${line}")
    list(APPEND ecf8_version ${ecf8_${part}})
endforeach()
string(REPLACE ";" "." ecf8_version "${ecf8_version}")

# Compiled once for both libraries. Includes name their file from the folder above this one.
get_filename_component(ecf8_root ${CMAKE_CURRENT_SOURCE_DIR}/.. ABSOLUTE)
add_library(ecf8_objects OBJECT ${ecf8_sources})
target_include_directories(ecf8_objects PRIVATE ${ecf8_root})
target_compile_options(ecf8_objects PRIVATE -Wall -Wextra -ffp-contract=off)
set_target_properties(ecf8_objects PROPERTIES C_STANDARD 17 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
    C_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)

# In the tree everything links the static library, whose hidden symbols tests can reach.
add_library(ecf8 STATIC $<TARGET_OBJECTS:ecf8_objects>)
add_library(ecf8_shared SHARED $<TARGET_OBJECTS:ecf8_objects>)
set_target_properties(ecf8 PROPERTIES EXPORT_NAME ecf8_static)
set_target_properties(ecf8_shared PROPERTIES EXPORT_NAME ecf8 OUTPUT_NAME ecf8 VERSION ${ecf8_version}
    SOVERSION ${ecf8_MAJOR})
foreach(target ecf8 ecf8_shared)
    set_target_properties(${target} PROPERTIES LINKER_LANGUAGE C)
    target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${ecf8_root}>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
target_link_libraries(ecf8 PUBLIC m)
target_link_libraries(ecf8_shared PRIVATE m)

# ---- what others get: two headers, two libraries, files for pkg-config and CMake, the licence

if(EXISTS ${ecf8_root}/LICENSE)
    install(FILES ${ecf8_root}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/ecf8 COMPONENT ecf8)
endif()
install(TARGETS ecf8 ecf8_shared EXPORT ecf8Targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ecf8
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ecf8 NAMELINK_COMPONENT ecf8)
install(FILES ecf8.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT ecf8)
if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/published.h)
    # Installed headers lie side by side.
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS published.h)
    file(READ published.h text)
    string(REPLACE "\"codec/ecf8.h\"" "<ecf8.h>" text "${text}")
    file(CONFIGURE OUTPUT ecf8_published.h CONTENT "${text}" @ONLY)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ecf8_published.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT ecf8)
endif()

set(ecf8_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ecf8)
install(EXPORT ecf8Targets NAMESPACE ecf8:: DESTINATION ${ecf8_package_dir} COMPONENT ecf8)
configure_package_config_file(ecf8Config.cmake.in ecf8Config.cmake INSTALL_DESTINATION ${ecf8_package_dir})
write_basic_package_version_file(ecf8ConfigVersion.cmake VERSION ${ecf8_version} COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ecf8Config.cmake ${CMAKE_CURRENT_BINARY_DIR}/ecf8ConfigVersion.cmake
    DESTINATION ${ecf8_package_dir} COMPONENT ecf8)

# pkg-config finds the rest from where its file lies, so that the folder can be moved and `cmake --install --prefix` works.
set(ecf8_pc_libdir \${prefix}/${CMAKE_INSTALL_LIBDIR})
set(ecf8_pc_includedir \${prefix}/${CMAKE_INSTALL_INCLUDEDIR})
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(ecf8_pc_libdir ${CMAKE_INSTALL_LIBDIR})
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(ecf8_pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
endif()
file(RELATIVE_PATH ecf8_pc_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(ecf8.pc.in ecf8.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ecf8.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT ecf8)
