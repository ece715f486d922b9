# SPDX-License-Identifier: GPL-2.0-or-later
#
# plyfs_layer(NAME [SOURCES file...] [LAYERS layer...] [LIBRARIES target...])
# One static library, plyfs_NAME, per folder of src/. LAYERS are the folders directly below it;
# tests/check/includes holds the #includes against the same order.

configure_file("${PROJECT_SOURCE_DIR}/cmake/plyfs_version.h.in"
    "${PROJECT_BINARY_DIR}/generated/plyfs_version.h" @ONLY)

function(plyfs_layer name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LAYERS;LIBRARIES")
    list(TRANSFORM arg_LAYERS PREPEND plyfs_)
    if(arg_SOURCES)
        add_library(plyfs_${name} STATIC ${arg_SOURCES})
        set(visibility PUBLIC)
    else()
        add_library(plyfs_${name} INTERFACE)
        set(visibility INTERFACE)
    endif()
    # For "sys/stat.h" only: as -I, src/ would also answer for the system's <sys/stat.h>.
    target_compile_options(plyfs_${name} ${visibility} "SHELL:-iquote ${PROJECT_SOURCE_DIR}/src"
        "SHELL:-iquote ${PROJECT_BINARY_DIR}/generated")
    target_link_libraries(plyfs_${name} ${visibility}
        plyfs_compiler ${arg_LAYERS} ${arg_LIBRARIES})
endfunction()
