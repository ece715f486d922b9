# SPDX-License-Identifier: GPL-2.0-or-later
#
# The libraries of others. Each is an imported target, so that its headers are system headers.

file(GLOB prefixes LIST_DIRECTORIES true "${PLYFS_DEPS}/*")
list(PREPEND CMAKE_PREFIX_PATH ${prefixes})

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Boost 1.74 REQUIRED COMPONENTS filesystem)
find_package(TBB REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(ACL REQUIRED IMPORTED_TARGET libacl)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
# 2.3 is the first liburing with what a ring of one thread needs (IORING_SETUP_DEFER_TASKRUN).
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing>=2.3)

# 3.17 is the first libfuse with passthrough.
pkg_check_modules(FUSE3 REQUIRED IMPORTED_TARGET fuse3>=3.17)
if(FUSE3_VERSION VERSION_GREATER_EQUAL 3.18)
    set(fuse_use_version 318)
else()
    set(fuse_use_version 317)
endif()
target_compile_definitions(PkgConfig::FUSE3 INTERFACE FUSE_USE_VERSION=${fuse_use_version})
message(STATUS "libfuse ${FUSE3_VERSION}, FUSE_USE_VERSION ${fuse_use_version}")

# Older yaml-cpp packages have no namespaced target.
if(NOT TARGET yaml-cpp::yaml-cpp)
    add_library(yaml-cpp::yaml-cpp ALIAS yaml-cpp)
endif()

if(PLYFS_TESTS)
    find_package(Catch2 3 REQUIRED)
endif()
