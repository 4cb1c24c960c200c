# cmake --install: the library, its headers, a CMake package (find_package(coro) -> coro::coro) and
# a pkg-config file. Everything installed is relocatable.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(CORO_CMAKE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/coro")

install(TARGETS coro coro_checked_statics EXPORT coroTargets
    ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT coroTargets NAMESPACE coro:: DESTINATION "${CORO_CMAKE_DIR}")

# A static library hands its private dependencies to the consumer's linker; a shared one keeps them
# to itself.
get_target_property(_coro_type coro TYPE)
if(_coro_type STREQUAL "STATIC_LIBRARY")
    set(CORO_IS_STATIC TRUE)
    set(CORO_PC_REQUIRES "Requires: liburing\n")
    set(CORO_PC_BOOST " -lboost_context")  # Boost has no pkg-config files
else()
    set(CORO_IS_STATIC FALSE)
    set(CORO_PC_REQUIRES "")  # not even Requires.private: pkg-config --cflags wants to see that too
    set(CORO_PC_BOOST "")
endif()
unset(_coro_type)

configure_package_config_file(
    "${PROJECT_SOURCE_DIR}/cmake/coroConfig.cmake.in" "${PROJECT_BINARY_DIR}/coroConfig.cmake"
    INSTALL_DESTINATION "${CORO_CMAKE_DIR}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/coroConfigVersion.cmake"
    VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES
    "${PROJECT_BINARY_DIR}/coroConfig.cmake"
    "${PROJECT_BINARY_DIR}/coroConfigVersion.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/Findliburing.cmake"
    "${PROJECT_SOURCE_DIR}/cmake/CoroCheck.cmake"
    "${PROJECT_SOURCE_DIR}/tools/coro_check.py"
    DESTINATION "${CORO_CMAKE_DIR}")
install(PROGRAMS "${PROJECT_SOURCE_DIR}/tools/coro_check.py"
    DESTINATION "${CMAKE_INSTALL_BINDIR}" RENAME coro-check)
if(TARGET coro_doctor)
    # A shared library it looks for from its own place, so that the prefix can be moved.
    cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_LIBDIR
        BASE_DIRECTORY "${CMAKE_INSTALL_FULL_BINDIR}" OUTPUT_VARIABLE _coro_way_to_library)
    if(BUILD_SHARED_LIBS)
        set_target_properties(coro_doctor PROPERTIES
            INSTALL_RPATH "\$ORIGIN/${_coro_way_to_library}")
    endif()
    unset(_coro_way_to_library)
    # Optional: whoever builds `--target coro` only installs the library without it.
    install(TARGETS coro_doctor RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" OPTIONAL)
endif()

cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_INCLUDEDIR BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}"
    OUTPUT_VARIABLE CORO_PC_INCLUDEDIR)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_LIBDIR BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}"
    OUTPUT_VARIABLE CORO_PC_LIBDIR)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX
    BASE_DIRECTORY "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" OUTPUT_VARIABLE CORO_PC_PREFIX)
configure_file("${PROJECT_SOURCE_DIR}/cmake/coro.pc.in" "${PROJECT_BINARY_DIR}/coro.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/coro.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

# The build tree is a package as well: find_package(coro PATHS build/debug).
export(EXPORT coroTargets NAMESPACE coro:: FILE "${PROJECT_BINARY_DIR}/coroTargets.cmake")
configure_file("${PROJECT_SOURCE_DIR}/cmake/Findliburing.cmake"
    "${PROJECT_BINARY_DIR}/Findliburing.cmake" COPYONLY)
configure_file("${PROJECT_SOURCE_DIR}/cmake/CoroCheck.cmake"
    "${PROJECT_BINARY_DIR}/CoroCheck.cmake" COPYONLY)
configure_file("${PROJECT_SOURCE_DIR}/tools/coro_check.py"
    "${PROJECT_BINARY_DIR}/coro_check.py" COPYONLY)
