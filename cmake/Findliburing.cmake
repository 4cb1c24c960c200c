# Finds liburing, which ships a pkg-config file and no CMake package. Defines the target
# liburing::liburing. Installed beside coroConfig.cmake, because a static coro needs it in the
# consumer's link.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
    pkg_check_modules(PC_LIBURING QUIET liburing)
endif()

find_path(liburing_INCLUDE_DIR liburing.h HINTS ${PC_LIBURING_INCLUDE_DIRS})
find_library(liburing_LIBRARY NAMES uring HINTS ${PC_LIBURING_LIBRARY_DIRS})
mark_as_advanced(liburing_INCLUDE_DIR liburing_LIBRARY)

set(liburing_VERSION "${PC_LIBURING_VERSION}")
set(_liburing_header "${liburing_INCLUDE_DIR}/liburing/io_uring_version.h")
if(NOT liburing_VERSION AND EXISTS "${_liburing_header}")
    file(STRINGS "${_liburing_header}" _liburing_lines REGEX "VERSION_(MAJOR|MINOR) +[0-9]+")
    string(REGEX REPLACE ".*MAJOR +([0-9]+).*MINOR +([0-9]+).*" "\\1.\\2"
        liburing_VERSION "${_liburing_lines}")
    unset(_liburing_lines)
endif()
unset(_liburing_header)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(liburing
    REQUIRED_VARS liburing_LIBRARY liburing_INCLUDE_DIR
    VERSION_VAR liburing_VERSION
    REASON_FAILURE_MESSAGE "install the package liburing-dev")

if(liburing_FOUND AND NOT TARGET liburing::liburing)
    add_library(liburing::liburing UNKNOWN IMPORTED)
    set_target_properties(liburing::liburing PROPERTIES
        IMPORTED_LOCATION "${liburing_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${liburing_INCLUDE_DIR}")
endif()
