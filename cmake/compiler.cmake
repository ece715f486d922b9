# SPDX-License-Identifier: GPL-2.0-or-later
#
# plyfs_compiler: the flags that all of our own code is compiled and linked with.

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE}")
endif()

add_library(plyfs_compiler INTERFACE)
target_compile_options(plyfs_compiler INTERFACE -Wall -Wextra -Wshadow -Wconversion -Werror)
target_compile_definitions(plyfs_compiler INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # Clang's -Wconversion has the sign conversions in it, which g++ keeps apart for C++.
    target_compile_options(plyfs_compiler INTERFACE -Wno-sign-conversion -Wthread-safety)
endif()

if(PLYFS_SANITIZE)
    list(JOIN PLYFS_SANITIZE "," sanitizers)
    # The check of vptrs asks a pipe whether memory can be read: without a descriptor left, as in
    # the tests of limits, every object is wrong.
    set(flags "-fsanitize=${sanitizers}" -fno-sanitize=vptr -fno-sanitize-recover=all
        -fno-omit-frame-pointer)
    target_compile_options(plyfs_compiler INTERFACE ${flags})
    target_link_options(plyfs_compiler INTERFACE ${flags})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(plyfs_compiler INTERFACE
        -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong)
    target_link_options(plyfs_compiler INTERFACE -Wl,-z,relro,-z,now)
endif()
